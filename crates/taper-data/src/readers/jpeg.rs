//! Reading JPEG files as libjpeg does, bit for bit: so did the programs that published weights were
//! trained with, and a network's outputs depend on less than a gray level.
//!
//! libjpeg fills what a damaged file lacks with gray, and reads on behind a picture that lacks its
//! end mark. So [`Layout`] finds where the picture ends, and [`Padded`] notices when libjpeg needs
//! more than is there.

use super::header::{Found, bytes, damaged, read, skip};
use super::limits::{METADATA, SCANS, check_memory};
use super::orientation::Metadata;
use image::{DynamicImage, GrayImage, RgbImage};
use mozjpeg::{ColorSpace, Decompress};
use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// The header up to the first frame. Junk between segments is passed over, as libjpeg does.
pub(super) fn header(source: &mut impl BufRead) -> io::Result<Found> {
    let _: [u8; 2] = bytes(source)?;
    let mut metadata = Metadata::default();
    loop {
        let mut byte = 0;
        while byte != 0xff {
            [byte] = bytes(source)?;
        }
        while byte == 0xff {
            [byte] = bytes(source)?;
        }
        match byte {
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            0xd9 | 0xda => return Err(damaged("a JPEG without a frame")),
            _ => {}
        }
        let Some(length) = u16::from_be_bytes(bytes(source)?).checked_sub(2) else {
            return Err(damaged("a JPEG segment of no length"));
        };
        if is_frame(byte) {
            let [_, h1, h0, w1, w0, components]: [u8; 6] = bytes(source)?;
            let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
            return Ok(Found {
                channels: if components == 1 { 1 } else { 3 },
                height: side(h1, h0),
                width: side(w1, w0),
                orientation: metadata.orientation(),
            });
        }
        if byte != 0xe1 {
            skip(source, length.into())?;
            continue;
        }
        let segment = read(source, length.into())?;
        if let Some(block) = segment.strip_prefix(b"Exif\0\0") {
            // A long block goes on in the next segment
            match &mut metadata.exif {
                Some(exif) if exif.len() as u64 > METADATA => {}
                Some(exif) => exif.extend(block),
                None => metadata.exif = Some(segment),
            }
        } else if let Some(packet) = segment.strip_prefix(XMP) {
            metadata.xmp = Some(packet.to_vec());
        }
    }
}

/// Whether a marker starts a frame; C4, C8 and CC in the same range are something else.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && ![0xc4, 0xc8, 0xcc].contains(&marker)
}

/// Where the parts of a JPEG's first picture are.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// Behind the last scan's data.
    end: usize,
    /// Whether an end mark follows it.
    pub(super) ended: bool,
    /// Bytes behind the end mark.
    pub(super) behind: usize,
    /// Scans of the picture.
    scans: usize,
    /// Whether one scan holds all of the picture's data.
    one_scan: bool,
    /// Whether the scans together hold all bits of all coefficients.
    complete: bool,
    /// Whether Adobe's mark is there: inks are stored inverted.
    adobe: bool,
    /// Bytes that the coefficients take per pixel, when all are kept until the last scan.
    coefficients: f64,
}

impl Layout {
    /// The layout of a file; `None` if it has no scan.
    pub(super) fn of(file: &[u8]) -> Option<Self> {
        let mut layout = Self::default();
        let (mut frame, mut progressive) = (Vec::new(), false);
        // For each component and coefficient, the lowest bit that is known.
        let mut known: Vec<[u8; 64]> = Vec::new();
        let mut place = 2;
        let next_mark = |place: usize| file.get(place..)?.iter().position(|&byte| byte == 0xff);
        while let Some(found) = next_mark(place) {
            place += found;
            while file.get(place) == Some(&0xff) {
                place += 1;
            }
            let Some(&marker) = file.get(place) else { break };
            place += 1;
            match marker {
                0x00 | 0x01 | 0xd0..=0xd8 => continue,
                0xd9 => {
                    layout.ended = layout.scans > 0;
                    layout.behind = file.len() - place;
                    break;
                }
                _ => {}
            }
            // Behind a scan only these go on with the picture; anything else is another file
            let goes_on = matches!(marker, 0xc4 | 0xcc | 0xda..=0xdd | 0xe0..=0xef | 0xfe);
            if layout.scans > 0 && !goes_on {
                break;
            }
            let length = file.get(place..place + 2).map(|pair| usize::from(u16::from_be_bytes([pair[0], pair[1]])));
            let Some(segment) = length.and_then(|length| file.get(place + 2..(place + length).max(place + 2))) else {
                break;
            };
            place += 2 + segment.len();
            match (marker, segment) {
                (0xee, [b'A', b'd', b'o', b'b', b'e', ..]) if segment.len() >= 12 => layout.adobe = true,
                (0xda, [count, selectors @ ..]) if frame.len() <= 4 && !frame.is_empty() => {
                    let count = usize::from(*count);
                    layout.scans += 1;
                    layout.one_scan = !progressive && count == frame.len();
                    if let Some(&[first, last, bits]) = selectors.get(2 * count..2 * count + 3) {
                        let (band, low) = if progressive { (first..=last.min(63), bits & 15) } else { (0..=63, 0) };
                        for selector in selectors.iter().step_by(2).take(count) {
                            let component = frame.iter().position(|id| id == selector);
                            component
                                .into_iter()
                                .for_each(|at| band.clone().for_each(|k| known[at][usize::from(k)] = low));
                        }
                    }
                    place += entropy_coded(&file[place..]);
                    layout.end = place;
                }
                (_, [_, _, _, _, _, _, components @ ..]) if is_frame(marker) => {
                    progressive = [0xc2, 0xc6, 0xca, 0xce].contains(&marker);
                    frame = components.iter().step_by(3).copied().collect();
                    known = vec![[0xff; 64]; frame.len()];
                    let factors: Vec<u8> = components.iter().skip(1).step_by(3).copied().collect();
                    let most = |shift: u8| factors.iter().map(|pair| pair >> shift & 15).max().unwrap_or(1).max(1);
                    let area: u32 = factors.iter().map(|pair| u32::from(pair >> 4) * u32::from(pair & 15)).sum();
                    layout.coefficients = 2.0 * f64::from(area) / f64::from(u32::from(most(4)) * u32::from(most(0)));
                }
                _ => {}
            }
        }
        layout.complete = known.iter().flatten().all(|&bit| bit == 0);
        (layout.scans > 0).then_some(layout)
    }
}

/// The length of the entropy-coded data at the start of `bytes`: up to the next marker but restarts.
fn entropy_coded(bytes: &[u8]) -> usize {
    let mut place = 0;
    while let Some(found) = bytes[place..].iter().position(|&byte| byte == 0xff) {
        place += found;
        match bytes.get(place + 1) {
            Some(0x00 | 0xd0..=0xd7) => place += 2,
            Some(0xff) => place += 1,
            Some(_) => return place,
            None => break,
        }
    }
    bytes.len()
}

/// What libjpeg makes of the file's first picture, as stored.
///
/// The error says what is wrong with the file and what to do.
pub(super) fn decode(file: &[u8], pixels: u64) -> Result<DynamicImage, String> {
    let cut = || "is cut short: copy it again or remove it".to_string();
    let layout = Layout::of(file).ok_or_else(cut)?;
    if layout.scans > SCANS {
        return Err(format!("has {} scans, more than {SCANS}: save it again as a plain JPEG", layout.scans));
    }
    let kept = if layout.one_scan { 0.0 } else { layout.coefficients };
    check_memory(pixels, kept + 7.0)?;
    // Several scans are whole if the end mark is there and, where something else follows, which may
    // be the rest of a damaged scan, all bits are.
    if !layout.one_scan && !(layout.ended && (layout.behind == 0 || layout.complete)) {
        return Err(cut());
    }
    let missing = Rc::new(Cell::new(false));
    let source = Padded { rest: &file[..layout.end], pad: usize::from(!layout.one_scan), missing: missing.clone() };
    let broken = |problem: &str| format!("can't be decoded ({problem}): replace or remove it");
    // libjpeg's errors unwind; outside its wrapper they are words
    let image = match catch_unwind(AssertUnwindSafe(|| samples(source, layout.adobe))) {
        Ok(Ok(image)) => image,
        Ok(Err(error)) => return Err(broken(&error.to_string())),
        Err(thrown) => return Err(broken(thrown.downcast_ref::<String>().map_or("it is damaged", String::as_str))),
    };
    if layout.one_scan && missing.get() { Err(cut()) } else { Ok(image) }
}

/// Eight bytes of ones, each 0xff followed by the 0 that tells it from a marker. Ones are no Huffman
/// code: libjpeg takes 17 of them for a zero, so that they fill at most two blocks.
const PAD: [u8; 16] = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];

/// A picture's bytes, then [`PAD`], then an end mark. libjpeg reads up to seven bytes ahead: if it
/// comes to the end mark before all of a single scan is decoded, data are missing. Only the last two
/// blocks of the picture may be missing without notice.
struct Padded<'a> {
    rest: &'a [u8],
    /// How many pads were given.
    pad: usize,
    missing: Rc<Cell<bool>>,
}

impl Read for Padded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Padded<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.rest = if self.pad == 0 { &PAD } else { &[0xff, 0xd9] };
            self.missing.set(self.pad > 0);
            self.pad += 1;
        }
        Ok(self.rest)
    }

    fn consume(&mut self, amount: usize) {
        self.rest = &self.rest[amount..];
    }
}

fn samples(source: Padded, adobe: bool) -> io::Result<DynamicImage> {
    let decompress = Decompress::new_reader(source)?;
    let space = match decompress.color_space() {
        ColorSpace::JCS_GRAYSCALE => ColorSpace::JCS_GRAYSCALE,
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => ColorSpace::JCS_CMYK,
        _ => ColorSpace::JCS_RGB,
    };
    let mut started = decompress.to_colorspace(space)?;
    let (width, height) = (started.width() as u32, started.height() as u32);
    let samples: Vec<u8> = started.read_scanlines::<u8>()?;
    // Without `finish`, which would read on to an end mark
    let image = match space {
        ColorSpace::JCS_GRAYSCALE => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        ColorSpace::JCS_CMYK => RgbImage::from_raw(width, height, from_inks(&samples, adobe)).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
    };
    image.ok_or_else(|| damaged("fewer samples than pixels"))
}

/// Red, green and blue of cyan, magenta, yellow and black, in Pillow's arithmetic. Adobe's programs
/// store inks inverted.
fn from_inks(inks: &[u8], inverted: bool) -> Vec<u8> {
    let flip = if inverted { 255 } else { 0 };
    let mut colors = Vec::with_capacity(inks.len() / 4 * 3);
    for pixel in inks.chunks_exact(4) {
        let light = 255 - u32::from(pixel[3] ^ flip);
        colors.extend(pixel[..3].iter().map(|&ink| {
            let product = u32::from(ink ^ flip) * light + 128;
            light.saturating_sub(((product >> 8) + product) >> 8) as u8
        }));
    }
    colors
}

#[cfg(test)]
mod tests {
    use super::super::{golden, samples};
    use super::*;
    use image::RgbImage;

    fn golden(name: &str) -> Vec<u8> {
        golden::files().find(|(known, ..)| *known == name).map(|(_, file, _)| file).unwrap()
    }

    /// A noisy JPEG and where its data begin and end.
    fn noisy() -> (Vec<u8>, usize, usize) {
        let noise = |x: u32, y: u32| (x * x * 7 + y * 31 + x * y * 13) as u8;
        let file = samples::jpeg(RgbImage::from_fn(64, 64, |x, y| image::Rgb([noise(x, y), noise(y, x), 90])));
        let scan = file.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        let end = Layout::of(&file).unwrap().end;
        (file, scan + 14, end)
    }

    fn decoded(file: &[u8]) -> Result<DynamicImage, String> {
        decode(file, 64 * 64)
    }

    #[test]
    fn a_picture_without_its_end_mark_is_whole_whatever_follows() {
        let (file, _, end) = noisy();
        let whole = decoded(&file).unwrap();
        for behind in
            [&b""[..], b"\xff", b"\xff\xd9", b"\0\0\0\x18ftypmp42\xff\xda\xff\x12", b"\xff\x90\xff", &[0; 999], &file]
        {
            let found = decoded(&[&file[..end], behind].concat());
            assert_eq!(found.as_ref(), Ok(&whole), "{:x?}", &behind[..behind.len().min(9)]);
        }
    }

    #[test]
    fn data_that_end_too_early_are_noticed_with_and_without_an_end_mark() {
        let (file, start, end) = noisy();
        for missing in [500, 900, end - start - 9] {
            for behind in [&b""[..], b"\xff\xd9", b"\xff\xd9 and more \xff\xd9"] {
                let mut cut = file[..end - missing].to_vec();
                cut.pop_if(|byte| *byte == 0xff);
                cut.extend(behind);
                let found = decoded(&cut).map(drop);
                assert_eq!(
                    found,
                    Err("is cut short: copy it again or remove it".to_string()),
                    "{missing} bytes missing"
                );
            }
        }
    }

    #[test]
    fn scans_without_end_are_refused() {
        let file = golden("jpeg-progressive-film-behind");
        let layout = Layout::of(&file).unwrap();
        assert!(!layout.one_scan && layout.complete && layout.scans == 10 && layout.behind == 111, "{layout:?}");
        let last = file[..layout.end].windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
        let many = [&file[..layout.end], &file[last..layout.end].repeat(SCANS), b"\xff\xd9"].concat();
        let error = decode(&many, 273).unwrap_err();
        assert!(error.starts_with("has 110 scans"), "{error}");
        // Of a progressive picture whose last scans are missing only a coarse one would be left
        let coarse = [&file[..last], b"\xff\xd9, then something"].concat();
        assert!(decode(&coarse, 273).unwrap_err().starts_with("is cut short"));
    }
}
