//! What can go wrong with data: each error is one line that ends with what to do.

use crate::path_text;
use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, DataError>;

/// What can go wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The path does not exist.
    #[error("{}: no such file or folder: check the path", path_text(.0))]
    NoSuchPath(PathBuf),
    /// The path exists but holds nothing that a reader supports.
    #[error(
        "{}: {found}: give a folder or zip of class folders, images with a table of labels, or MNIST (IDX) or CIFAR binary files",
        path_text(.path)
    )]
    NotADataset {
        /// The path given.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// A file could not be read or understood.
    #[error("{}: {problem}", path_text(.path))]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// No group of classes can fill the task asked for.
    #[error("no group can fill a task of {asked}: {limit}")]
    Unfillable {
        /// The shape asked for.
        asked: String,
        /// What limits it, and the largest shape that would fit.
        limit: String,
        /// The most classes that a task can have; `None` if it is the images per class that don't suffice.
        ways: Option<usize>,
    },
    /// A class has fewer images than a task takes of each.
    #[error("{dataset}: class `{class}` has {images} image(s), but tasks take {needed} per class: {}", fits(*.images, *.shots))]
    ClassTooSmall {
        /// The data set.
        dataset: String,
        /// The class.
        class: String,
        /// Its number of images.
        images: usize,
        /// Images that a task takes of each class.
        needed: usize,
        /// Support images per class that would fit, 0 if none do; the rest would be queries.
        shots: usize,
    },
    /// An invalid value.
    #[error("{0}")]
    Invalid(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// What to do about a class that is too small for a task.
fn fits(images: usize, shots: usize) -> String {
    match shots {
        0 => "add images or remove the class".into(),
        _ => format!("use {shots} shot(s) and {} queries: add images or remove the class", images - shots),
    }
}
