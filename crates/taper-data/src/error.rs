//! What can go wrong with data, each said in one line that ends with what to do.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, DataError>;

/// What can go wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The path does not exist.
    #[error("{0}: no such file or folder, check the path")]
    NoSuchPath(PathBuf),
    /// The path exists but holds nothing that a reader knows.
    #[error("{path}: {found}; give a folder of class folders, an Omniglot zip, or MNIST (IDX) or CIFAR binary files")]
    NotADataset {
        /// The path given.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// A file could not be read or made sense of.
    #[error("{path}: {problem}")]
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
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
