//! What a file is, by its first bytes.

use super::pickle;

/// First bytes that are read to recognize a file.
pub(super) const START_BYTES: usize = 512;

/// A kind of file that holds weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Safetensors,
    Zip,
    Legacy,
    /// An index of shards, or another text in JSON.
    Json,
}

/// The kind of a file of weights.
///
/// Fails for other files with the end of a sentence that says what the file is and what to do.
pub(super) fn kind(start: &[u8]) -> Result<Kind, &'static str> {
    if start.is_empty() {
        return Err("is empty: download it again");
    }
    if start.starts_with(b"PK\x03\x04") {
        return Ok(Kind::Zip);
    }
    if pickle::legacy_start(start).is_some() {
        return Ok(Kind::Legacy);
    }
    // a page in HTML would pass for a long header otherwise
    if let Some(stranger) = stranger(start) {
        return Err(stranger);
    }
    if start.get(8) == Some(&b'{') {
        return Ok(Kind::Safetensors);
    }
    if start.trim_ascii_start().starts_with(b"{") {
        return Ok(Kind::Json);
    }
    Err("is not a weight file: give a safetensors file, or a checkpoint that torch.save wrote")
}

/// Known files that do not hold weights in a form that is read here.
fn stranger(start: &[u8]) -> Option<&'static str> {
    let signatures: [(usize, &[u8], &str); 21] = [
        (0, b"version https://git-lfs.github.com/spec/", LFS),
        (
            0,
            b"\x89HDF\r\n\x1a\n",
            "is an HDF5 file, which Keras writes: export the weights from PyTorch, or as safetensors",
        ),
        (0, b"GGUF", "is a GGUF file of a language model: get the model's safetensors file"),
        (4, b"TFL3", "is a TensorFlow Lite model: get the PyTorch weights or a safetensors file"),
        (0, b"\x93NUMPY", "is a NumPy array: save the weights as safetensors, by name"),
        (0, b"\x1f\x8b", "is compressed with gzip: unpack it first"),
        (0, b"BZh", "is compressed with bzip2: unpack it first"),
        (0, b"\xfd7zXZ\0", "is compressed with xz: unpack it first"),
        (0, b"\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it first"),
        (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it first"),
        (0, b"Rar!", "is a RAR archive: unpack it first"),
        (257, b"ustar", TAR),
        (0, b"PK\x05\x06", "is an empty zip archive: download it again"),
        (0, b"%PDF", "is a PDF document: give a weight file"),
        (0, b"\x89PNG", "is a picture: give a weight file"),
        (0, b"\xff\xd8\xff", "is a picture: give a weight file"),
        (0, b"GIF8", "is a picture: give a weight file"),
        (4, b"ftyp", "is a video or a picture: give a weight file"),
        (0, b"\x7fELF", "is a program: give a weight file"),
        (0, b"PAR1", "is a Parquet table: give a weight file"),
        (0, b"\x80", "is a Python pickle that torch.save did not write: load it in Python and save a state dict"),
    ];
    let found = signatures.into_iter().find(|(at, signature, _)| {
        start.get(*at..).is_some_and(|rest| rest.starts_with(signature)) && start.get(8) != Some(&b'{')
    });
    found.map(|(_, _, what)| what).or_else(|| is_page(start).then_some(PAGE))
}

const LFS: &str = "is a Git LFS pointer, not the file itself: run `git lfs pull` in the repository, or download the file \
                   with the repository's download button";
const TAR: &str = "is a tar archive: unpack it and use the weight file inside; one from PyTorch before 0.1.10 must be \
                   saved again with a newer version";
const PAGE: &str = "is a web page, not the file itself: open the link in a browser, download the file there and check \
                    its size";

/// Whether the text is HTML or XML, as servers send in place of a file.
fn is_page(start: &[u8]) -> bool {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let text: Vec<u8> = text.iter().take(16).map(u8::to_ascii_lowercase).collect();
    ["<!doctype", "<html", "<head", "<body", "<?xml", "<!--", "<script"]
        .iter()
        .any(|tag| text.starts_with(tag.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_called_what_they_are() {
        for (start, what) in [
            (b"".as_slice(), "is empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab", "Git LFS pointer"),
            (b"<!DOCTYPE html><html>", "web page"),
            (b"\xef\xbb\xbf  <HTML lang=en>", "web page"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"\x80\x04\x95\x0a", "Python pickle"),
            (b"\0\0\0\x20ftypisom", "video"),
            (&[0; 64], "is not a weight file"),
        ] {
            let said = kind(start).unwrap_err();
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn a_header_length_that_looks_like_another_format_is_a_safetensors_file() {
        assert_eq!(kind(b"\x80\x01\0\0\0\0\0\0{\"a\""), Ok(Kind::Safetensors));
        assert_eq!(kind(b"\x1f\x8b\0\0\0\0\0\0{\"a\""), Ok(Kind::Safetensors));
        assert_eq!(kind(b"{\"weight_map\": {}}"), Ok(Kind::Json));
    }
}
