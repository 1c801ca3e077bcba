//! What an image file's first bytes say: its format, its size, which way up it is.

use image::metadata::Orientation;
use std::io::{self, Read};

/// Larger images are refused, before anything of their size is allocated: 64 million pixels.
const LARGEST: u64 = 1 << 26;

/// The format of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    Gif,
}

/// An image file's format and the size `(c, h, w)` that it has when decoded and upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) size: (usize, usize, usize),
    /// How the stored image is brought upright.
    pub(super) orientation: Orientation,
}

impl Header {
    /// Reads no more than it needs. The error says what is wrong and what to do.
    pub(super) fn read(source: &mut dyn Read) -> Result<Self, String> {
        let mut source = io::BufReader::new(source);
        let mut first = [0; 2];
        let found = match source.read_exact(&mut first) {
            Err(_) => return Err("is empty, copy it again or remove it".to_string()),
            Ok(()) => match first {
                [0x89, b'P'] => png(&mut source),
                [0xff, 0xd8] => jpeg(&mut source),
                [b'G', b'I'] => gif(&mut source),
                _ => Ok(None),
            },
        };
        let (format, channels, height, width, orientation) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Err("is no PNG, JPEG or GIF image, convert or remove it".to_string()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err("is cut short, copy it again or remove it".to_string());
            }
            Err(error) => return Err(format!("can't be read ({error}), copy it again or remove it")),
        };
        if width == 0 || height == 0 {
            return Err("has no pixels, replace or remove it".to_string());
        }
        if u64::from(width) * u64::from(height) > LARGEST {
            return Err(format!("has {width}x{height} pixels, more than {LARGEST} in all, scale it down"));
        }
        let (height, width) = if turned(orientation) { (width, height) } else { (height, width) };
        Ok(Self { format, size: (channels, height as usize, width as usize), orientation })
    }
}

/// Format, channels, height, width and orientation as stored.
type Found = Option<(Format, usize, u32, u32, Orientation)>;

fn png(source: &mut impl Read) -> io::Result<Found> {
    let start: [u8; 6] = bytes(source)?;
    if &start != b"NG\r\n\x1a\n" {
        return Ok(None);
    }
    let [_, _, _, _, b'I', b'H', b'D', b'R'] = bytes(source)? else { return Ok(None) };
    let (width, height) = (u32::from_be_bytes(bytes(source)?), u32::from_be_bytes(bytes(source)?));
    let [_, color, ..]: [u8; 9] = bytes(source)?;
    // Color types 0 and 4 are gray, without and with alpha; 2, 3 and 6 have colors.
    let channels = if [0, 4].contains(&color) { 1 } else { 3 };
    let mut orientation = Orientation::NoTransforms;
    loop {
        let length = u32::from_be_bytes(bytes(source)?);
        let name: [u8; 4] = bytes(source)?;
        match &name {
            b"IDAT" | b"IEND" => return Ok(Some((Format::Png, channels, height, width, orientation))),
            b"eXIf" if length < 1 << 20 => orientation = exif(&read(source, length as usize)?),
            _ => skip(source, u64::from(length))?,
        }
        skip(source, 4)?;
    }
}

fn jpeg(source: &mut impl Read) -> io::Result<Found> {
    let mut orientation = Orientation::NoTransforms;
    loop {
        let [0xff] = bytes(source)? else { return Ok(None) };
        let mut marker = 0xff;
        while marker == 0xff {
            [marker] = bytes(source)?;
        }
        match marker {
            0x01 | 0xd0..=0xd8 => continue,
            // The scan or the end before any frame.
            0x00 | 0xd9 | 0xda => return Ok(None),
            _ => {}
        }
        let Some(length) = u16::from_be_bytes(bytes(source)?).checked_sub(2) else { return Ok(None) };
        match marker {
            // Start of a frame; C4, C8 and CC in the same range are something else.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) => {
                let [_, h1, h0, w1, w0, components]: [u8; 6] = bytes(source)?;
                let channels = if components == 1 { 1 } else { 3 };
                let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                return Ok(Some((Format::Jpeg, channels, side(h1, h0), side(w1, w0), orientation)));
            }
            0xe1 => {
                let segment = read(source, usize::from(length))?;
                if let Some(chunk) = segment.strip_prefix(b"Exif\0\0") {
                    orientation = exif(chunk);
                }
            }
            _ => skip(source, u64::from(length))?,
        }
    }
}

fn gif(source: &mut impl Read) -> io::Result<Found> {
    let [b'F', b'8', _, b'a', w0, w1, h0, h1] = bytes(source)? else { return Ok(None) };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]));
    Ok(Some((Format::Gif, 3, side(h0, h1), side(w0, w1), Orientation::NoTransforms)))
}

/// Has a JPEG file its end? The decoder fills up with gray what a file cut short lacks.
pub(super) fn jpeg_is_whole(file: &[u8]) -> bool {
    let mut place = 2;
    while let Some(&[0xff, marker, ref rest @ ..]) = file.get(place..) {
        let length = match marker {
            0xda => return file[place..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]),
            0xff => 0,
            0x01 | 0xd0..=0xd8 => 1,
            _ => match rest {
                [high, low, ..] => 1 + usize::from(u16::from_be_bytes([*high, *low])),
                _ => return false,
            },
        };
        place += 1 + length;
    }
    false
}

fn exif(chunk: &[u8]) -> Orientation {
    Orientation::from_exif_chunk(chunk).unwrap_or(Orientation::NoTransforms)
}

/// Do height and width change places?
fn turned(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

fn bytes<const N: usize>(source: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read(source: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    source.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(source: &mut impl Read, length: u64) -> io::Result<()> {
    if io::copy(&mut source.take(length), &mut io::sink())? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
