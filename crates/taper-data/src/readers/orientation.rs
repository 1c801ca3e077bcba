//! Which way up a picture is, from its EXIF or XMP metadata: as Pillow's `ImageOps.exif_transpose`.

use super::limits::METADATA;
use exif::{In, Reader, Tag};
use flate2::read::ZlibDecoder;
use image::metadata::Orientation;
use std::io::Read;

/// The metadata that may say which way up a picture is.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// A TIFF block, `Exif\0\0` before it or not.
    pub(super) exif: Option<Vec<u8>>,
    /// An EXIF block that a PNG keeps as text in hexadecimal.
    pub(super) raw_profile: Option<Vec<u8>>,
    /// An XMP packet.
    pub(super) xmp: Option<Vec<u8>>,
}

impl Metadata {
    /// How the stored picture is brought upright. EXIF goes first; XMP counts where EXIF says
    /// nothing; values other than 1 to 8 turn nothing.
    pub(super) fn orientation(&self) -> Orientation {
        let exif = self.exif.as_deref().or(self.raw_profile.as_deref());
        let number = exif.and_then(in_exif).or_else(|| self.xmp.as_deref().and_then(in_xmp));
        let number = number.and_then(|number| u8::try_from(number).ok());
        number.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
    }

    /// Keeps what a text of a PNG, its keyword and value, says about the orientation.
    pub(super) fn keep_text(&mut self, keyword: &[u8], value: &[u8]) {
        match keyword {
            b"XML:com.adobe.xmp" => self.xmp = Some(value.to_vec()),
            b"Raw profile type exif" => self.raw_profile = hexadecimal(value),
            _ => {}
        }
    }
}

/// The orientation in an EXIF block. Pillow takes `Exif\0\0` off once or twice.
fn in_exif(block: &[u8]) -> Option<u32> {
    let mut block = block;
    while let Some(rest) = block.strip_prefix(b"Exif\0\0") {
        block = rest;
    }
    let read = Reader::new().continue_on_error(true).read_raw(block.to_vec());
    let exif = read.or_else(|error| error.distill_partial_result(|_| {})).ok()?;
    exif.get_field(Tag::Orientation, In::PRIMARY)?.value.get_uint(0)
}

/// The orientation in an XMP packet, an attribute or an element: Pillow's
/// `tiff:Orientation(="|>)([0-9])`.
fn in_xmp(packet: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let behind = packet.windows(NAME.len()).enumerate().filter(|(_, word)| *word == NAME);
    behind.map(|(place, _)| &packet[place + NAME.len()..]).find_map(|rest| match rest {
        [b'=', b'"', digit @ b'0'..=b'9', ..] | [b'>', digit @ b'0'..=b'9', ..] => Some(u32::from(digit - b'0')),
        _ => None,
    })
}

/// The bytes of a raw profile: a line break, its name, its length, then hexadecimal digits in lines.
fn hexadecimal(profile: &[u8]) -> Option<Vec<u8>> {
    let lines = profile.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> = lines.flatten().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|value| value as u8);
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Keyword and value of a PNG's `tEXt`, `zTXt` or `iTXt` chunk, unpacked to at most [`METADATA`] bytes.
pub(super) fn png_text(name: &[u8; 4], chunk: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (keyword, rest) = split(chunk)?;
    let value = match (name, rest) {
        (b"tEXt", value) => value.to_vec(),
        (b"zTXt", [0, packed @ ..]) => unpack(packed)?,
        (b"iTXt", [packed, _, rest @ ..]) => {
            let (_, rest) = split(rest)?;
            let (_, value) = split(rest)?;
            if *packed == 0 { value.to_vec() } else { unpack(value)? }
        }
        _ => return None,
    };
    Some((keyword.to_vec(), value))
}

/// What is before and after the first zero.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..zero], &bytes[zero + 1..]))
}

fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    ZlibDecoder::new(packed).take(METADATA).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TIFF block of one entry: the orientation as a SHORT (kind 3) or LONG (4).
    fn tiff(value: u8, kind: u8, big: bool) -> Vec<u8> {
        let number = |value: u8, bytes: usize| {
            let mut number = vec![0; bytes];
            number[if big { bytes - 1 } else { 0 }] = value;
            number
        };
        let value = if kind == 3 { [number(value, 2), vec![0, 0]].concat() } else { number(value, 4) };
        let mark: &[u8] = if big { b"MM" } else { b"II" };
        let tag: &[u8] = if big { &[1, 0x12] } else { &[0x12, 1] };
        let parts: [&[u8]; 9] =
            [mark, &number(42, 2), &number(8, 4), &number(1, 2), tag, &number(kind, 2), &number(1, 4), &value, &[0; 4]];
        parts.concat()
    }

    fn of(exif: Option<Vec<u8>>, xmp: Option<&str>) -> Orientation {
        Metadata { exif, raw_profile: None, xmp: xmp.map(|text| text.as_bytes().to_vec()) }.orientation()
    }

    #[test]
    fn exif_is_read_in_both_orders_and_widths_with_its_mark_none_once_or_twice() {
        for (kind, big) in [(3, false), (3, true), (4, false), (4, true)] {
            for mark in [&b""[..], b"Exif\0\0", b"Exif\0\0Exif\0\0"] {
                assert_eq!(of(Some([mark, &tiff(6, kind, big)].concat()), None), Orientation::Rotate90);
            }
        }
    }

    #[test]
    fn values_out_of_range_and_damaged_blocks_turn_nothing() {
        for block in
            [tiff(0, 3, false), tiff(9, 3, false), tiff(6, 3, false)[..12].to_vec(), vec![], b"Exif\0\0".to_vec()]
        {
            assert_eq!(of(Some(block), None), Orientation::NoTransforms);
        }
    }

    #[test]
    fn xmp_counts_where_exif_says_nothing() {
        let attribute = "<rdf:Description tiff:Orientation=\"8\"/>";
        assert_eq!(of(None, Some(attribute)), Orientation::Rotate270);
        assert_eq!(of(None, Some("<tiff:Orientation>3</tiff:Orientation>")), Orientation::Rotate180);
        assert_eq!(of(Some(tiff(1, 3, false)), Some(attribute)), Orientation::NoTransforms);
        assert_eq!(of(Some(vec![1, 2]), Some(attribute)), Orientation::Rotate270);
    }

    #[test]
    fn a_raw_profile_in_hexadecimal_is_exif() {
        let digits: String =
            [b"Exif\0\0", &tiff(6, 3, false)[..]].concat().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut metadata = Metadata::default();
        let text = format!("\nexif\n      32\n{}\n{}\n", &digits[..20], &digits[20..]);
        metadata.keep_text(b"Raw profile type exif", text.as_bytes());
        assert_eq!(metadata.orientation(), Orientation::Rotate90);
    }
}
