//! Names of files and folders: how they are compared and how they are shown.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The name as text. A name that is not UTF-8 keeps its other bytes as `\xNN`, so different names
/// stay different; in a valid name that already reads so, the backslash is doubled.
pub(crate) fn text(name: &OsStr) -> String {
    bytes_text(name.as_encoded_bytes())
}

/// [`text`] of a name's bytes.
pub(crate) fn bytes_text(name: &[u8]) -> String {
    let valid = std::str::from_utf8(name).is_ok();
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        if valid && !chunk.valid().contains("\\x") {
            text.push_str(chunk.valid());
        } else {
            text.push_str(&chunk.valid().replace("\\x", "\\\\x"));
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The path as text on one line, for people: different paths give different texts, also where they
/// are not UTF-8 (their other bytes are written as `\xNN`).
pub fn path_text(path: &Path) -> String {
    one_line(&text(path.as_os_str())).into_owned()
}

/// The composed Unicode form (NFC), in which names are compared: macOS stores `é` as two code
/// points, other systems as one.
pub(crate) fn composed(name: &str) -> Cow<'_, str> {
    if is_nfc(name) { Cow::Borrowed(name) } else { Cow::Owned(name.nfc().collect()) }
}

/// The composed form in lower case, which names that differ in case only share.
pub(crate) fn folded(name: &str) -> String {
    composed(name).to_lowercase()
}

/// The name on one line: control characters, line and paragraph separators and characters that
/// change the direction of text are written as escapes (`\n`, `\u{202e}`), so that a name can't break
/// a table or a terminal.
pub fn one_line(name: &str) -> Cow<'_, str> {
    let breaks = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !name.chars().any(breaks) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().fold(String::with_capacity(name.len() + 8), |mut shown, c| {
        if breaks(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    }))
}

/// Whether the name is a number, or a number behind letters that say nothing of their own, such as
/// `character01`, `7` or `class_12`.
pub(crate) fn is_numbered(name: &str) -> bool {
    name.ends_with(|c: char| c.is_ascii_digit())
}

/// Endings of picture files, read or not: a file that is called so is expected to be a picture.
const ENDINGS: [&str; 26] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "dib", "webp", "tif", "tiff", "avif", "heic", "heif", "ppm",
    "pgm", "pbm", "pnm", "qoi", "jp2", "jxl", "svg", "tga", "ico", "psd", "apng",
];

/// Whether a file of this name is called a picture.
pub(crate) fn is_called_a_picture(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// `N things: a, b, c, …`: how many there are, and the names of the first three.
pub(crate) fn some_of<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    const SHOWN: usize = 3;
    let mut shown = String::new();
    for (place, name) in names.into_iter().enumerate() {
        if place == SHOWN {
            shown.push_str(", …");
            break;
        }
        let separator = if place == 0 { "" } else { ", " };
        let _ = write!(shown, "{separator}{}", one_line(name.as_ref()));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_utf_8_stay_apart() {
        assert_eq!(bytes_text(b"caf\xe9"), "caf\\xe9");
        assert_eq!(bytes_text(b"caf\xe8"), "caf\\xe8");
        assert_eq!(bytes_text(b"caf\\xe9"), "caf\\\\xe9", "a valid name that looks escaped is another name");
        assert_eq!(bytes_text("a\\b é".as_bytes()), "a\\b é");
    }

    #[test]
    fn accents_are_compared_in_one_form() {
        assert_eq!(composed("cafe\u{301}"), "café");
        assert_eq!(folded("CAFE\u{301}"), "café");
    }

    #[test]
    fn an_ending_calls_a_file_a_picture_in_any_case() {
        assert!(is_called_a_picture("a.JPG") && !is_called_a_picture("a") && !is_called_a_picture("a.txt"));
    }

    #[test]
    fn no_name_breaks_a_line() {
        assert_eq!(one_line("new\nline"), "new\\nline");
        assert_eq!(one_line("a\u{2028}b\u{202e}c\x1b[0m"), "a\\u{2028}b\\u{202e}c\\u{1b}[0m");
        assert_eq!(one_line("émoji 🦊 עברית"), "émoji 🦊 עברית");
        assert_eq!(some_of(["a", "b\n", "c", "d"]), "a, b\\n, c, …");
    }
}
