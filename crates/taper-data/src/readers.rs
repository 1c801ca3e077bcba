//! Reading data sets of the layouts that people have.

mod archive;
mod cifar;
mod decode;
mod files;
mod folder;
mod header;
mod idx;
mod jpeg;
mod layout;
mod raw;
mod recent;
#[cfg(test)]
mod samples;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use archive::open_archive;
pub(crate) use cifar::{holds_cifar, open_cifar};
pub(crate) use decode::decode;
pub(crate) use folder::open_folder;
pub(crate) use idx::{holds_idx, open_idx_file, open_idx_folder, starts_as_idx};

use crate::{DataError, Image, Result};
use std::path::Path;

/// The image in a file: PNG, JPEG or a GIF's first frame, upright by its EXIF orientation.
///
/// Errs when it can't be read or decoded.
pub fn read_image(path: &Path) -> Result<Image> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    decode(&bytes).map_err(|problem| bad_file(path, problem))
}

/// Is a file of this name an image, by its ending?
pub fn is_image_name(path: &Path) -> bool {
    path.file_name()
        .and_then(std::ffi::OsStr::to_str)
        .is_some_and(|name| !folder::is_hidden(name) && folder::is_image(name))
}

/// An error about a file: what is wrong, and what to do.
fn bad_file(path: &Path, problem: impl Into<String>) -> DataError {
    DataError::BadFile { path: path.to_path_buf(), problem: problem.into() }
}

/// An error of the file system about a file.
fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    bad_file(path, format!("can't be read ({error}), check its permissions and the disk"))
}
