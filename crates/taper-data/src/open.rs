//! Opening a data set, whatever its layout.

use crate::readers::{
    holds_cifar, holds_idx, open_archive, open_cifar, open_folder, open_idx_file, open_idx_folder, starts_as_idx,
};
use crate::{DataError, Dataset, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Opens the data set at `path`, by what is there:
///
/// - a folder of class folders of PNG, JPEG or GIF images, nested to any depth: the innermost
///   folder is the class, those around it its group (`Greek/alpha`); or with `train/` and
///   `val/`, `valid/`, `validation/` or `test/` parts of the same classes, then images outside
///   `train/` are [`held_out`](Dataset::held_out);
/// - a zip of the same, such as Omniglot's as published, which stays packed;
/// - MNIST's format IDX, gzipped or plain: the folder, or one of its files;
/// - the folder of CIFAR-10's or CIFAR-100's binary version.
///
/// Classes and images are sorted by name, so numbers are the same on every machine. Images that
/// can't be read are [`skipped`](Dataset::skipped); in sets of more than 200 MiB only unreadable
/// headers are found here, and other damage when the image is asked for.
///
/// Errs when the path does not exist or holds none of these, when a class has no image that can
/// be read, and when a zip's names lead outside of it.
pub fn open(path: &Path) -> Result<Arc<dyn Dataset>> {
    let metadata = fs::metadata(path).map_err(|_| DataError::NoSuchPath(path.to_path_buf()))?;
    if metadata.is_dir() {
        return match path {
            _ if holds_idx(path) => open_idx_folder(path),
            _ if holds_cifar(path) => open_cifar(path),
            _ => open_folder(path),
        };
    }
    let mut first = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut first)).map_err(|error| DataError::BadFile {
        path: path.to_path_buf(),
        problem: format!("can't be read ({error}), check its permissions"),
    })?;
    if first == b"PK\x03\x04" || first == b"PK\x05\x06" {
        return open_archive(path);
    }
    if starts_as_idx(path) {
        return open_idx_file(path);
    }
    let found = match first.as_slice() {
        [] => "the file is empty",
        [0x89, b'P', ..] | [0xff, 0xd8, ..] | b"GIF8" => "it is a single image",
        [0x1f, 0x8b, ..] | b"BZh9" | [0xfd, b'7', b'z', b'X'] => "it is a packed file but no zip (unpack it)",
        _ => "it is a file of an unknown kind",
    };
    Err(DataError::NotADataset { path: path.to_path_buf(), found: found.to_string() })
}
