//! Opening a data set, whatever its layout.

use crate::readers::{
    Content, FIRST_BYTES, holds_cifar, holds_idx, holds_shards, is_npz, is_vector_safetensors, npy_in, numpy,
    open_archive, open_cifar, open_folder, open_idx_file, open_idx_folder, open_npy, open_npz, open_safetensors,
    open_tar, open_tars, recognize, starts_as_idx, starts_as_tar,
};
use crate::{DataError, Dataset, Result};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Opens the data set at `path`, which may be:
///
/// - a folder of class folders of images, nested to any depth: the innermost folder is the class,
///   those around it its group (`Greek/alpha`);
/// - the same in parts: folders named train, validation and test in any common spelling
///   (`Training`, `dev`, `test_set`) with the same classes. Images outside the training part are
///   [`held_out`](Dataset::held_out), and [`part`](Dataset::part) distinguishes validation from test;
/// - images in one folder and a table of their labels, see
///   [`open_with_labels`](crate::open_with_labels);
/// - a zip of class folders, such as Omniglot's as published, which stays packed;
/// - a tar of class folders; or WebDataset's tars, one or a folder of shards, whose samples have their labels in
///   `.cls`, `.json` or `.txt` files;
/// - Parquet files with encoded images and labels, as the Hugging Face hub has them, one or a folder of shards
///   (only with the feature `parquet`);
/// - vectors with labels: an `.npz` or safetensors file with `features` and `labels`, or `features.npy` beside
///   `labels.npy` (`X` and `y`, `embeddings` and other usual names);
/// - MNIST's format IDX, gzipped or plain: the folder, or one of its files;
/// - the folder of CIFAR-10's or CIFAR-100's binary version.
///
/// Folders that hold only one folder are skipped. Which level is the class is decided from how
/// the folders' names repeat; [`reading`](Dataset::reading) says what was decided and why, and lists
/// everything that was skipped.
///
/// Classes and images are sorted by name, so numbers are the same on every machine. In sets of more
/// than 200 MiB only unreadable headers are found here, and other damage when the image is read.
///
/// # Errors
///
/// Returns an error if the path does not exist or holds none of these, if a class has no image that
/// can be read, if a zip's names lead outside of it or its entries overlap, and if a file is larger
/// than the limits of its format.
pub fn open(path: &Path) -> Result<Arc<dyn Dataset>> {
    let metadata = fs::metadata(path).map_err(|_| DataError::NoSuchPath(path.to_path_buf()))?;
    if metadata.is_dir() {
        if let Some(vectors) = npy_in(path) {
            return open_npy(&vectors);
        }
        return match path {
            _ if holds_idx(path) => open_idx_folder(path),
            _ if holds_cifar(path) => open_cifar(path),
            _ if holds_shards(path, "parquet") => parquets(path),
            _ if holds_shards(path, "tar") => open_tars(path),
            _ => open_folder(path),
        };
    }
    if !metadata.is_file() {
        let found = "it is a pipe, socket or device".to_string();
        return Err(DataError::NotADataset { path: path.to_path_buf(), found });
    }
    let mut first = Vec::with_capacity(FIRST_BYTES);
    File::open(path).and_then(|file| file.take(FIRST_BYTES as u64).read_to_end(&mut first)).map_err(|error| {
        DataError::BadFile {
            path: path.to_path_buf(),
            problem: format!("can't be read ({error}): check its permissions"),
        }
    })?;
    if first.starts_with(b"PK\x03\x04") || first.starts_with(b"PK\x05\x06") {
        return if is_npz(path) { open_npz(path) } else { open_archive(path) };
    }
    if numpy::starts_as_array(&first) {
        return open_npy(path);
    }
    if is_vector_safetensors(path) {
        return open_safetensors(path);
    }
    if first.starts_with(b"PAR1") {
        return parquet(path);
    }
    if starts_as_tar(&first) {
        return open_tar(path);
    }
    if starts_as_idx(path) {
        return open_idx_file(path);
    }
    let found = match recognize(&first) {
        Content::Image(format) => format!("it is a single {format} image"),
        Content::OtherImage(what, remedy) | Content::NoImage(what, remedy) => format!("it is {what} ({remedy})"),
        Content::Empty => "the file is empty".to_string(),
        Content::Text => "it is a text file (give the folder of the images that it labels)".to_string(),
        Content::Unknown => "it is a file of an unknown kind".to_string(),
    };
    Err(DataError::NotADataset { path: path.to_path_buf(), found })
}

#[cfg(feature = "parquet")]
use crate::readers::{open_parquet as parquet, open_parquets as parquets};

/// A build without the feature cannot read these files.
#[cfg(not(feature = "parquet"))]
fn parquet(path: &Path) -> Result<Arc<dyn Dataset>> {
    let problem = "is a Parquet file, which this build does not read: build it with the feature parquet";
    Err(DataError::BadFile { path: path.to_path_buf(), problem: problem.to_string() })
}

#[cfg(not(feature = "parquet"))]
use parquet as parquets;
