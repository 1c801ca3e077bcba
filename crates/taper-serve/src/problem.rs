//! What the page tells a person when a request can't be done.

use serde::Serialize;
use std::io;
use taper_learn::LearnError;

/// Why a request can't be done. The page has words for each, in each language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub(crate) enum Problem {
    /// The name has nothing in it that can be part of a folder's name.
    BadName,
    /// A class or directory of this name exists.
    NameTaken { name: String },
    /// Someone else has just removed or renamed it.
    Gone,
    /// There is nothing to undo.
    NothingToUndo,
    /// The folder has as many classes as are allowed.
    TooManyClasses { most: usize },
    /// The folder has as many examples as are allowed.
    TooManyExamples { most: usize },
    /// The file is too large.
    TooLarge { megabytes: usize },
    /// The bytes are not a picture that can be read.
    NotAPicture { detail: String },
    /// There is nothing on it.
    Blank,
    /// Among drawings, a picture that isn't one.
    NotADrawing,
    /// A drawing for a folder of photographs, or the reverse.
    OtherKind,
    /// A picture that can't be learned from would be left out of the classifier.
    UnusableExamples { count: usize },
    /// A classifier needs two classes with a picture each.
    TooFewClasses,
    /// Photographs need weights that are not on this computer.
    NoWeights,
    /// The model is finished: nothing can be added to it.
    FinishedModel,
    /// The disk is full; nothing was changed.
    FullDisk,
    /// The file system refused.
    Disk { detail: String },
    /// More requests than can be served.
    Busy,
    /// Something else.
    Other { detail: String },
}

/// A result for the page.
pub(crate) type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    /// Any error that has no words of its own.
    pub(crate) fn other(error: impl std::fmt::Display) -> Self {
        Self::Other { detail: error.to_string() }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::FullDisk,
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Disk { detail: error.to_string() },
        }
    }
}

impl From<LearnError> for Problem {
    fn from(error: LearnError) -> Self {
        match error {
            LearnError::File { source, .. } => source.into(),
            error => Self::other(error),
        }
    }
}

impl From<taper_compare::CompareError> for Problem {
    fn from(error: taper_compare::CompareError) -> Self {
        match error {
            taper_compare::CompareError::Learn(error) => error.into(),
            error => Self::other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_full_disk_is_told_as_one_wherever_it_is_met() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(Problem::from(full()), Problem::FullDisk);
        let of_learning = LearnError::File { path: PathBuf::from("a.png"), source: full() };
        assert_eq!(Problem::from(of_learning), Problem::FullDisk);
        let shown = serde_json::to_string(&Problem::NameTaken { name: "heart".into() }).unwrap();
        assert_eq!(shown, r#"{"problem":"name-taken","name":"heart"}"#);
    }
}
