//! Reading data sets of the layouts that people have.

mod archive;
mod cifar;
mod decode;
mod depth;
mod files;
mod folder;
mod format;
mod gif;
#[cfg(test)]
mod golden;
mod ground;
mod growing;
mod header;
mod heic;
mod idx;
mod jpeg;
mod labels;
mod layout;
mod levels;
pub mod limits;
#[cfg(any(test, feature = "mutation"))]
pub mod mutation;
mod names;
pub(crate) mod numpy;
mod orientation;
#[cfg(feature = "parquet")]
mod parquet;
mod part_word;
mod raw;
mod recent;
#[cfg(test)]
mod samples;
mod shards;
mod source;
mod system;
mod table;
mod tar;
#[cfg(test)]
mod tests;
mod tree;
mod vector_files;
mod walk;
mod webp;

pub(crate) use archive::{damaged, entries, open_archive};
pub(crate) use cifar::{holds_cifar, open_cifar};
pub use decode::Decoded;
pub(crate) use decode::{decode, decode_noted};
pub(crate) use folder::open_folder;
pub use format::Format;
pub(crate) use format::{Content, FIRST_BYTES, recognize};
pub use ground::Ground;
pub(crate) use idx::{holds_idx, open_idx_file, open_idx_folder, starts_as_idx};
pub(crate) use limits::PIXELS;
pub(crate) use names::{composed, some_of};
pub use names::{one_line, path_text};
#[cfg(feature = "parquet")]
pub(crate) use parquet::{open_parquet, open_parquets};
pub(crate) use shards::holds_shards;
pub(crate) use source::regular;
pub use system::is_left_behind;
pub use table::{Columns, open_with_labels};
pub(crate) use tar::{open_tar, open_tars, starts_as_tar};
pub(crate) use vector_files::{is_npz, is_vector_safetensors, npy_in, open_npy, open_npz, open_safetensors};
pub use walk::{Found, Walk, walk, walk_images};

use crate::{DataError, Image, Part, Result};
use part_word::{PartWord, Says};
use std::io::Read;
use std::path::Path;

/// The image in a file of any format that can be read, by its contents and not its name: upright by
/// its EXIF or XMP orientation, 8 bits per sample, laid over a ground where it is transparent.
///
/// # Errors
/// Returns an error if the file is not a regular file, can't be read, or can't be decoded within the
/// bounds on memory.
pub fn read_image(path: &Path) -> Result<Image> {
    Ok(read_image_noted(path)?.image)
}

/// [`read_image`], with the file's format and what was done to its pixels.
///
/// # Errors
/// Returns an error if [`read_image`] does.
pub fn read_image_noted(path: &Path) -> Result<Decoded> {
    let fail = |error: std::io::Error| unreadable(path, &error);
    // Opening a pipe would wait for a writer
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() {
        return Err(bad_file(path, "is not a regular file: give an image file"));
    }
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.by_ref().take(FIRST_BYTES as u64).read_to_end(&mut bytes).map_err(fail)?;
    if let Content::Image(_) = recognize(&bytes) {
        if metadata.len() > limits::FILE {
            return Err(bad_file(path, format!("is larger than {} MiB: scale it down", limits::FILE >> 20)));
        }
        file.take(limits::FILE).read_to_end(&mut bytes).map_err(fail)?;
    }
    decode_noted(&bytes).map_err(|problem| bad_file(path, problem))
}

/// The image in the bytes of a file of any format that can be read, as by [`read_image_noted`].
///
/// # Errors
/// Returns an error if the bytes can't be decoded within the bounds on memory, which says what they are.
pub fn decode_image(bytes: &[u8]) -> Result<Decoded> {
    decode_noted(bytes).map_err(|problem| DataError::Invalid(format!("the picture {problem}")))
}

/// The part that a word says, in any usual spelling; `None` for other words.
pub(crate) fn part_of_word(word: &str) -> Option<Part> {
    match PartWord::of(word)?.says {
        Says::Part(part) => Some(part),
        Says::Unlabeled => None,
    }
}

/// An error about a file: what is wrong, and what to do.
fn bad_file(path: &Path, problem: impl Into<String>) -> DataError {
    DataError::BadFile { path: path.to_path_buf(), problem: problem.into() }
}

/// An error of the file system about a file.
fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    bad_file(path, format!("can't be read ({error}): check its permissions and the disk"))
}

#[cfg(all(test, unix))]
mod file_tests {
    use super::*;

    #[test]
    fn devices_and_folders_are_refused_without_reading() {
        for path in ["/dev/zero", "/"] {
            assert!(read_image(Path::new(path)).unwrap_err().to_string().contains("is not a regular file"));
        }
    }
}
