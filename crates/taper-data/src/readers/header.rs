//! What an image file's first bytes say: its format, its size, which way up it is.

use super::format::{Content, FIRST_BYTES, Format, recognize};
use super::growing::Growing;
use super::limits::{FILE, METADATA, PIXELS};
use super::orientation::{Metadata, png_text};
use super::{heic, jpeg, webp};
use image::metadata::Orientation;
use image::{ImageDecoder, ImageError, ImageFormat, ImageReader};
use std::io::{self, BufRead, Read, Seek};

/// An image file's format and the size `(c, h, w)` that it has when decoded and upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) size: (usize, usize, usize),
    /// How the stored image is brought upright.
    pub(super) orientation: Orientation,
}

/// What a format's reader finds: channels, height and width as stored, and the orientation.
pub(super) struct Found {
    pub(super) channels: usize,
    pub(super) height: u32,
    pub(super) width: u32,
    pub(super) orientation: Orientation,
}

impl Header {
    /// The header of the file that `source` reads. The file is recognized by its first bytes, before
    /// anything else is read; no more is read than the format needs (of a PNG or WebP all of it: its
    /// orientation may come last). The error says what is wrong and what to do.
    pub(super) fn read(source: &mut dyn Read) -> Result<Self, String> {
        let mut first = Vec::with_capacity(FIRST_BYTES);
        (&mut *source).take(FIRST_BYTES as u64).read_to_end(&mut first).map_err(|error| problem(&error))?;
        let format = match recognize(&first) {
            // A name that promised an image, and a start that a longer file would have kept
            Content::Unknown | Content::Text if is_start_of_a_format(&first) => {
                return Err("is cut short: copy it again or remove it".to_string());
            }
            content => content.readable()?,
        };
        let whole = io::Cursor::new(first).chain(source).take(FILE);
        let found = match format {
            Format::Png => png(&mut io::BufReader::new(whole)),
            Format::Jpeg => jpeg::header(&mut io::BufReader::new(whole)),
            Format::Gif => gif(&mut io::BufReader::new(whole)),
            Format::WebP => webp::header(&mut io::BufReader::new(whole)),
            Format::Heic => return Self::checked(format, heic::header(&mut { whole })?),
            _ => return Self::checked(format, by_decoder(format, &mut { whole })?),
        };
        Self::checked(format, found.map_err(|error| problem(&error))?)
    }

    fn checked(format: Format, found: Found) -> Result<Self, String> {
        let Found { channels, height, width, orientation } = found;
        if width == 0 || height == 0 {
            return Err("has no pixels: replace or remove it".to_string());
        }
        if u64::from(width) * u64::from(height) > PIXELS {
            return Err(format!("has {width}x{height} pixels, more than {PIXELS} in all: scale it down"));
        }
        let (height, width) = if turned(orientation) { (width, height) } else { (height, width) };
        Ok(Self { format, size: (channels, height as usize, width as usize), orientation })
    }

    /// The number of pixels.
    pub(super) fn pixels(&self) -> u64 {
        (self.size.1 * self.size.2) as u64
    }
}

fn problem(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short: copy it again or remove it".to_string(),
        io::ErrorKind::InvalidData => format!("is damaged ({error}): replace or remove it"),
        _ => format!("can't be read ({error}): copy it again or remove it"),
    }
}

/// Whether a file this short could be the start of an image.
fn is_start_of_a_format(first: &[u8]) -> bool {
    let magics: [&[u8]; 5] = [b"\x89PNG\r\n\x1a\n", &[0xff, 0xd8, 0xff], b"GIF89a", b"GIF87a", b"II*\0"];
    magics.iter().any(|magic| first.len() < magic.len() && magic.starts_with(first))
}

/// A damaged file.
pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn png(source: &mut impl Read) -> io::Result<Found> {
    let _: [u8; 8] = bytes(source)?;
    let [_, _, _, _, b'I', b'H', b'D', b'R'] = bytes(source)? else {
        return Err(damaged("a PNG without its header"));
    };
    let (width, height) = (u32::from_be_bytes(bytes(source)?), u32::from_be_bytes(bytes(source)?));
    let [_, color, ..]: [u8; 9] = bytes(source)?;
    // Color types 0 and 4 are gray, without and with alpha; 2, 3 and 6 have colors.
    let channels = if [0, 4].contains(&color) { 1 } else { 3 };
    let mut metadata = Metadata::default();
    // A file may end behind its pixels; whether it has them all is for the decoder to say
    if let Err(error) = png_metadata(source, &mut metadata)
        && error.kind() != io::ErrorKind::UnexpectedEof
    {
        return Err(error);
    }
    Ok(Found { channels, height, width, orientation: metadata.orientation() })
}

fn png_metadata(source: &mut impl Read, metadata: &mut Metadata) -> io::Result<()> {
    loop {
        let length = u32::from_be_bytes(bytes(source)?);
        let name: [u8; 4] = bytes(source)?;
        match &name {
            b"IEND" => return Ok(()),
            b"eXIf" if u64::from(length) <= METADATA => metadata.exif = Some(read(source, length as usize)?),
            b"tEXt" | b"zTXt" | b"iTXt" if u64::from(length) <= METADATA => {
                if let Some((keyword, value)) = png_text(&name, &read(source, length as usize)?) {
                    metadata.keep_text(&keyword, &value);
                }
            }
            _ => skip(source, u64::from(length))?,
        }
        skip(source, 4)?;
    }
}

/// A GIF is as large as its screen or, as Pillow has it, as what its first frame covers.
fn gif(source: &mut impl Read) -> io::Result<Found> {
    let [_, _, _, _, _, _, w0, w1, h0, h1, flags, _, _]: [u8; 13] = bytes(source)?;
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]));
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    skip(source, table(flags))?;
    loop {
        let [block] = bytes(source)?;
        match block {
            0x2c => {
                let [x0, x1, y0, y1, fw0, fw1, fh0, fh1] = bytes(source)?;
                let (right, bottom) = (side(x0, x1) + side(fw0, fw1), side(y0, y1) + side(fh0, fh1));
                let (width, height) = (side(w0, w1).max(right), side(h0, h1).max(bottom));
                return Ok(Found { channels: 3, height, width, orientation: Orientation::NoTransforms });
            }
            0x21 => {
                let [_label]: [u8; 1] = bytes(source)?;
                loop {
                    let [length] = bytes(source)?;
                    if length == 0 {
                        break;
                    }
                    skip(source, u64::from(length))?;
                }
            }
            0x3b => return Err(damaged("a GIF without a frame")),
            _ => {} // other bytes are skipped, as Pillow does
        }
    }
}

/// The decoder of a format that the `image` crate reads, from its start.
pub(super) fn decoder<'a>(
    format: Format,
    source: impl BufRead + Seek + 'a,
) -> Result<impl ImageDecoder + 'a, ImageError> {
    let format = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::Gif => ImageFormat::Gif,
        Format::WebP => ImageFormat::WebP,
        Format::Bmp => ImageFormat::Bmp,
        Format::Tiff => ImageFormat::Tiff,
        Format::Pnm => ImageFormat::Pnm,
        Format::Qoi => ImageFormat::Qoi,
        Format::Heic => ImageFormat::Avif,
    };
    let mut reader = ImageReader::with_format(source, format);
    reader.limits(super::decode::limits());
    reader.into_decoder()
}

fn by_decoder(format: Format, source: &mut dyn Read) -> Result<Found, String> {
    let mut source = Growing::new(source);
    let gray = format == Format::Bmp && has_gray_palette(&mut source).unwrap_or(false);
    source.rewind().map_err(|error| problem(&error))?;
    let mut decoder = decoder(format, source).map_err(|error| super::decode::explain(&error))?;
    let ((width, height), color) = (decoder.dimensions(), decoder.color_type());
    let orientation = match format {
        Format::Tiff => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        _ => Orientation::NoTransforms,
    };
    Ok(Found { channels: if color.has_color() && !gray { 3 } else { 1 }, height, width, orientation })
}

/// Whether a bitmap has a palette, of grays only: that is how gray bitmaps are stored.
fn has_gray_palette(source: &mut impl Read) -> io::Result<bool> {
    let head: [u8; 14] = bytes(source)?;
    let pixels_at = u32::from_le_bytes([head[10], head[11], head[12], head[13]]);
    let size = u32::from_le_bytes(bytes(source)?);
    if size < 40 {
        return Ok(false);
    }
    let [.., b0, b1]: [u8; 12] = bytes(source)?;
    let bits = u16::from_le_bytes([b0, b1]);
    let _: [u8; 16] = bytes(source)?;
    let used = u32::from_le_bytes(bytes(source)?);
    skip(source, u64::from(size) - 36)?;
    // Before the pixels there may be room for fewer colors than are promised
    let room = pixels_at.saturating_sub(14 + size) / 4;
    let colors = (if used == 0 { 1 << bits.min(8) } else { used.min(256) }).min(room);
    if bits > 8 || colors == 0 {
        return Ok(false);
    }
    let palette = read(source, 4 * colors as usize)?;
    Ok(palette.chunks_exact(4).all(|color| color[0] == color[1] && color[1] == color[2]))
}

/// Whether a JPEG file seems to have its end. Of a file that does not, the decoder knows.
pub(super) fn jpeg_is_whole(file: &[u8]) -> bool {
    jpeg::Layout::of(file).is_some_and(|layout| layout.ended && layout.behind == 0)
}

/// Whether height and width change places.
pub(super) fn turned(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

pub(super) fn bytes<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The next `length` bytes; memory grows with what is there, not with what is claimed.
pub(super) fn read(source: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if source.by_ref().take(length as u64).read_to_end(&mut bytes)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

pub(super) fn skip(source: &mut impl Read, length: u64) -> io::Result<()> {
    if io::copy(&mut source.take(length), &mut io::sink())? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{jpeg, oriented};
    use super::*;
    use image::GrayImage;

    /// A file that never ends, and how much of it was read.
    struct Endless {
        start: Vec<u8>,
        read: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            for byte in buffer.iter_mut() {
                *byte = self.start.get(self.read).copied().unwrap_or(0);
                self.read += 1;
            }
            Ok(buffer.len())
        }
    }

    #[test]
    fn an_endless_file_is_recognized_by_its_first_bytes() {
        for start in [&b""[..], b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3", b"PK\x03\x04"] {
            let mut source = Endless { start: start.to_vec(), read: 0 };
            assert!(Header::read(&mut source).is_err());
            assert!(source.read <= FIRST_BYTES, "{} bytes", source.read);
        }
        let mut source = Endless { start: jpeg(GrayImage::new(8, 9)), read: 0 };
        assert_eq!(Header::read(&mut source).unwrap().size, (1, 9, 8));
        assert!(source.read < 64 << 10, "{} bytes", source.read);
    }

    #[test]
    fn a_jpeg_s_size_is_the_one_that_it_has_upright() {
        let file = jpeg(GrayImage::new(8, 16));
        let size = |orientation| Header::read(&mut &oriented(&file, orientation)[..]).unwrap().size;
        assert!((1..=4).all(|orientation| size(orientation) == (1, 16, 8)));
        assert!((5..=8).all(|orientation| size(orientation) == (1, 8, 16)));
    }
}
