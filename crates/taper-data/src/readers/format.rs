//! What a file is, by its first bytes. Its name plays no part.

/// Bytes from the start of a file that [`recognize`] needs to see, or all of a shorter file.
pub(crate) const FIRST_BYTES: usize = 512;

/// The formats that can be read, for messages.
pub(super) const READABLE: &str = "PNG, JPEG, GIF, WebP, TIFF, BMP, PNM or QOI";

/// An image format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Portable Network Graphics, also animated (the default image).
    Png,
    /// JPEG, also with more pictures or a film behind the first one.
    Jpeg,
    /// Graphics Interchange Format (the first frame).
    Gif,
    /// WebP, lossy or lossless (the first frame).
    WebP,
    /// Windows bitmap.
    Bmp,
    /// Tagged Image File Format (the first page).
    Tiff,
    /// Portable anymap: PBM, PGM, PPM or PAM.
    Pnm,
    /// Quite OK Image.
    Qoi,
    /// High Efficiency Image File, as phones write it (only with the feature `heic`).
    Heic,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Pnm => "PNM",
            Self::Qoi => "QOI",
            Self::Heic => "HEIC",
        })
    }
}

/// What the first bytes of a file say about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// An image that can be read.
    Image(Format),
    /// An image of a format that can't be read: what it is, and what to do.
    OtherImage(&'static str, &'static str),
    /// Something known that is not an image: what it is, and what to do.
    NoImage(&'static str, &'static str),
    /// Text of no known kind.
    Text,
    /// Nothing: the file is empty.
    Empty,
    /// None of the above.
    Unknown,
}

impl Content {
    /// Whether it is an image, of a format that can be read or not.
    pub(crate) fn is_image(self) -> bool {
        matches!(self, Self::Image(_) | Self::OtherImage(..))
    }

    /// The format, or an error that says what the file is and what to do.
    pub(crate) fn readable(self) -> Result<Format, String> {
        match self {
            Self::Image(format) => Ok(format),
            Self::OtherImage(what, remedy) | Self::NoImage(what, remedy) => Err(format!("is {what}: {remedy}")),
            Self::Text => Err("is text, not an image: replace or remove it".to_string()),
            Self::Empty => Err("is empty: copy it again or remove it".to_string()),
            Self::Unknown => Err(format!("is not a {READABLE} image: convert or remove it")),
        }
    }
}

const HEIF_CONVERT: &str = "convert it with `heif-convert FILE out.jpg`, or let the phone export JPEG";
const MAGICK: &str = "convert it with `magick FILE out.png`";
const FEATURE: &str = "convert it to PNG, or build taper-data with the feature that reads it";

/// What a file is that starts with these bytes: [`FIRST_BYTES`] of them, or all of a shorter file.
pub(crate) fn recognize(first: &[u8]) -> Content {
    use Content::{Empty, Image, NoImage, OtherImage};
    let starts = |magic: &[u8]| first.starts_with(magic);
    let at = |place: usize, magic: &[u8]| first.get(place..place + magic.len()) == Some(magic);
    if first.is_empty() {
        return Empty;
    }
    if starts(b"\x89PNG\r\n\x1a\n") {
        return Image(Format::Png);
    }
    if starts(&[0xff, 0xd8, 0xff]) {
        return Image(Format::Jpeg);
    }
    if starts(b"GIF87a") || starts(b"GIF89a") {
        return Image(Format::Gif);
    }
    if starts(b"RIFF") && at(8, b"WEBP") {
        return if cfg!(feature = "webp") { Image(Format::WebP) } else { OtherImage("a WebP image", FEATURE) };
    }
    if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0\x08\0\0\0") || starts(b"MM\0+\0\x08\0\0") {
        if at(8, b"CR\x02") {
            return OtherImage("a raw photograph (CR2)", "develop it to JPEG or PNG");
        }
        return if cfg!(feature = "tiff") { Image(Format::Tiff) } else { OtherImage("a TIFF image", FEATURE) };
    }
    // "BM" alone starts many texts: the size of a known header follows at 14
    if starts(b"BM") && (at(15, &[0, 0, 0]) && [12, 16, 40, 52, 56, 64, 108, 124].contains(&first[14])) {
        return Image(Format::Bmp);
    }
    if is_pnm(first) {
        return Image(Format::Pnm);
    }
    if starts(b"qoif") {
        return Image(Format::Qoi);
    }
    if at(4, b"ftyp") {
        return iso_media(first);
    }
    if starts(b"\0\0\0\x0cjP  ") || starts(&[0xff, 0x4f, 0xff, 0x51]) {
        return OtherImage("a JPEG 2000 image", MAGICK);
    }
    if starts(&[0xff, 0x0a]) || starts(b"\0\0\0\x0cJXL ") {
        return OtherImage("a JPEG XL image", "convert it with `djxl FILE out.png`");
    }
    if starts(b"8BPS") {
        return OtherImage("a Photoshop document", "export it as PNG");
    }
    if starts(&[0, 0, 1, 0]) && at(5, &[0]) {
        return OtherImage("an icon (ICO)", MAGICK);
    }
    if starts(b"v/1\x01") {
        return OtherImage("an OpenEXR image", MAGICK);
    }
    if starts(b"DDS ") {
        return OtherImage("a DDS texture", MAGICK);
    }
    if starts(b"#?RADIANCE") {
        return OtherImage("a Radiance HDR image", MAGICK);
    }
    if first.len() >= 132 && at(128, b"DICM") {
        return OtherImage("a DICOM image", "convert it with `dcm2pnm FILE out.png`");
    }
    if starts(b"SIMPLE  =") {
        return OtherImage("a FITS image", MAGICK);
    }
    if starts(b"%PDF") {
        return NoImage("a PDF document", "extract its images with `pdfimages -png FILE out`, or remove it");
    }
    if let Some((_, what, remedy)) = OTHERS.iter().find(|(magic, ..)| starts(magic)) {
        return NoImage(what, remedy);
    }
    if starts(b"RIFF") && at(8, b"WAVE") {
        return NoImage("a sound file", "remove it");
    }
    if starts(b"\x1aE\xdf\xa3") || starts(b"\0\0\x01\xba") || (starts(b"RIFF") && at(8, b"AVI ")) {
        return NoImage("a video", "extract its frames, or remove it");
    }
    if starts(b"version https://git-lfs") {
        return NoImage("a Git LFS pointer", "fetch the file with `git lfs pull`");
    }
    if starts(&[0, 5, 0x16, 7]) {
        return NoImage("an AppleDouble file, metadata of macOS", "remove it");
    }
    if first.iter().all(|&byte| byte == 0) {
        return NoImage("zeros only", "copy it again or remove it");
    }
    text(first)
}

/// The first bytes of files that are not images, what such a file is, and what to do.
const OTHERS: [(&[u8], &str, &str); 13] = [
    (b"PK\x03\x04", "a zip", "unpack it"),
    (b"PK\x05\x06", "an empty zip", "remove it"),
    (&[0x1f, 0x8b], "a gzip", "unpack it"),
    (b"BZh", "a packed file", "unpack it"),
    (b"\xfd7zXZ", "a packed file", "unpack it"),
    (b"7z\xbc\xaf", "a packed file", "unpack it"),
    (b"Rar!", "a packed file", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "a packed file", "unpack it"),
    (b"OggS", "a sound or video file", "remove it"),
    (b"ID3", "a sound file", "remove it"),
    (b"\x93NUMPY", "a NumPy array", "save its rows as PNG, or remove it"),
    (b"\x89HDF", "an HDF5 file", "save its images as PNG, or remove it"),
    (b"SQLite format 3", "a database", "remove it"),
];

/// `P1` to `P7`, a white space, and a number, a comment or (`P7`) a keyword.
fn is_pnm(first: &[u8]) -> bool {
    let [b'P', number @ b'1'..=b'7', rest @ ..] = first else { return false };
    let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    match rest.get(space) {
        Some(b'#') => true,
        Some(next) if space > 0 => next.is_ascii_digit() || (*number == b'7' && next.is_ascii_uppercase()),
        _ => false,
    }
}

/// What a file of ISO media boxes holds, by its brands.
fn iso_media(first: &[u8]) -> Content {
    let length = first.get(..4).map_or(0, |bytes| bytes.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte)));
    let end = length.clamp(12, 64).min(first.len());
    let brands = || first.get(8..end).unwrap_or_default().chunks_exact(4);
    let has = |names: &[&[u8]]| brands().any(|brand| names.contains(&brand));
    if has(&[b"avif", b"avis"]) {
        return Content::OtherImage("an AVIF image", "convert it with `avifdec FILE out.png`");
    }
    if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        return match cfg!(feature = "heic") {
            true => Content::Image(Format::Heic),
            false => Content::OtherImage("a HEIC image", HEIF_CONVERT),
        };
    }
    if has(&[b"crx "]) {
        return Content::OtherImage("a raw photograph (CR3)", "develop it to JPEG or PNG");
    }
    Content::NoImage("a video", "extract its frames, or remove it")
}

/// What a text is; [`Content::Unknown`] for bytes that are not text.
fn text(first: &[u8]) -> Content {
    let start = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    let lower = start.to_ascii_lowercase();
    let holds = |word: &[u8]| lower.windows(word.len()).any(|part| part == word);
    if lower.starts_with(b"<") && holds(b"<svg") {
        return Content::OtherImage("an SVG drawing", "draw it with `rsvg-convert FILE -o out.png`");
    }
    if lower.starts_with(b"<!doctype html")
        || lower.starts_with(b"<html")
        || (lower.starts_with(b"<") && holds(b"<html"))
    {
        return Content::NoImage("a web page", "the download failed, fetch the image again or remove it");
    }
    if is_text(first) { Content::Text } else { Content::Unknown }
}

/// Whether the bytes are UTF-8 without control characters; the last character may be cut in two at
/// [`FIRST_BYTES`].
fn is_text(first: &[u8]) -> bool {
    let valid = match std::str::from_utf8(first) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && first.len() >= FIRST_BYTES => {
            std::str::from_utf8(&first[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.chars().any(|c| c.is_control() && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_real_format_and_what_to_do() {
        let heic: &[u8] = b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic";
        let mut cases: Vec<(&[u8], &str, &str)> = vec![
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "an AVIF image", "avifdec"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a video", "remove it"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image", "magick"),
            (b" <?xml version='1.0'?>\n<svg xmlns='x'/>", "an SVG drawing", "rsvg-convert"),
            (b"<!DOCTYPE html><html><body>404</body></html>", "a web page", "fetch the image again"),
            (b"%PDF-1.4\n", "a PDF document", "pdfimages"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
            (b"", "empty", "copy it again"),
            (b"BM, said the text", "text, not an image", "remove it"),
            (b"P4 is not bold\n", "text, not an image", "remove it"),
            ("größe".as_bytes(), "text, not an image", "remove it"),
            (&[0; 40], "zeros only", "copy it again"),
            (b"\x93NUMPY\x01\0", "a NumPy array", "save its rows"),
            (&[0x92, 0xff, 3], "not a PNG, JPEG", "convert or remove it"),
            (b"\xff\xd8hello", "not a PNG, JPEG", "convert or remove it"),
        ];
        if cfg!(not(feature = "heic")) {
            cases.push((heic, "a HEIC image", "heif-convert"));
        } else {
            assert_eq!(recognize(heic), Content::Image(Format::Heic));
        }
        for (first, what, remedy) in cases {
            let error = recognize(first).readable().unwrap_err();
            assert!(error.starts_with(&format!("is {what}")) && error.contains(remedy), "{error}");
        }
    }

    #[test]
    fn a_few_bytes_of_anything_are_recognized_without_a_panic() {
        let starts: [&[u8]; 6] = [b"RIFF\0\0\0\0WEBP", b"BM", b"\0\0\0\x18ftyp", b"<", b"P6 ", b"\0\0\x01\0"];
        for start in starts {
            for length in 0..=start.len() {
                let _ = recognize(&start[..length]);
            }
        }
    }
}
