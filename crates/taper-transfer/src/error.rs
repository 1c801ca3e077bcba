//! What can go wrong with transfer learning.

use std::path::PathBuf;
use taper_learn::LearnError;

/// A result of this crate's searches, trainings and surveys.
pub type Result<T> = std::result::Result<T, TransferError>;

/// What can go wrong with a search, a training or a survey.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A class that can't be in both parts.
    #[error("class `{class}` has {images} image but needs at least 2: one to train on, one to validate")]
    ClassTooSmall {
        /// The class's full name.
        class: String,
        /// Its number of images.
        images: usize,
    },
    /// A class whose images show one picture, which can't be in both parts.
    #[error(
        "class `{class}`: its {images} images all look the same: add a different one, to train on one and validate on the other"
    )]
    ClassOfOnePicture {
        /// The class's full name.
        class: String,
        /// Its number of images.
        images: usize,
    },
    /// A data set of one picture.
    #[error("{dataset}: all images look the same: check how they were made, nothing can be learned from them")]
    OnePicture {
        /// The data set.
        dataset: String,
    },
    /// A data set whose pictures all have several labels.
    #[error("{dataset}: every picture is in more than one class: keep each in one class only")]
    OnlyConflicts {
        /// The data set.
        dataset: String,
    },
    /// A data set whose images are all held out.
    #[error("{dataset}: has no images to train on: add some outside the validation part")]
    NothingToTrainOn {
        /// The data set.
        dataset: String,
    },
    /// A class without training images.
    #[error(
        "class `{class}` is in the validation part but has no images to learn from, or all were left out as copies: add some, or remove it"
    )]
    ClassNotTrained {
        /// The class's full name.
        class: String,
    },
    /// Validation images that are all copies of training images.
    #[error("{dataset}: every validation image is also a training image: validate on other images")]
    OnlyCopies {
        /// The data set.
        dataset: String,
    },
    /// A data set with a single class.
    #[error("{dataset}: has a single class: a classifier needs at least two")]
    SingleClass {
        /// The data set.
        dataset: String,
    },
    /// A share of the images that is not between 0 and 1.
    #[error("{share} is not a share of the images: use a value between 0 and 1, such as 0.2")]
    BadShare {
        /// The share given.
        share: f64,
    },
    /// A search whose time budget does not even cover the features.
    #[error(
        "the time budget of {budget} s is too short: opening the images and computing features of {images} takes about {needed:.1} s"
    )]
    BudgetTooShort {
        /// Seconds given.
        budget: f64,
        /// Seconds that the features take.
        needed: f64,
        /// Images without features.
        images: usize,
    },
    /// A search that ended before any candidate was scored.
    #[error("the time budget ran out before any candidate was scored: allow more time")]
    NothingScored,
    /// A head that is not among the methods offered.
    #[error("unknown head `{name}`: use one of {known}")]
    UnknownHead {
        /// The name given.
        name: String,
        /// All known names.
        known: String,
    },
    /// A network with fewer stages to fine-tune from.
    #[error("can't fine-tune from stage {place}: {network} has {stages} such stages")]
    NoSuchStage {
        /// The stage's place, counted from the uppermost, which is 1.
        place: usize,
        /// The network.
        network: String,
        /// Its number of stages.
        stages: usize,
    },
    /// Early stopping without images to stop on.
    #[error("every class has a single training image, so none can be held out for early stopping: add images")]
    NothingToHoldOut,
    /// A test of learning rates of several phases.
    #[error("a test of learning rates trains the same parameters throughout: don't unfreeze gradually")]
    GradualRateTest,
    /// A test of learning rates without a finite loss.
    #[error("the loss is not finite from the first step on: check the images")]
    NoFiniteLoss,
    /// A damaged file of a run.
    #[error("{path}: is damaged ({problem}): start the run again")]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Options that contradict each other, or an invalid value.
    #[error("{0}")]
    Invalid(String),
    /// Learning failed, or was stopped.
    #[error(transparent)]
    Learn(#[from] LearnError),
}

impl TransferError {
    /// Whether a deadline passed before the end.
    pub(crate) fn is_out_of_time(&self) -> bool {
        matches!(self, Self::Learn(LearnError::OutOfTime))
    }
}

impl From<taper_data::DataError> for TransferError {
    fn from(error: taper_data::DataError) -> Self {
        Self::Learn(error.into())
    }
}

impl From<taper_models::ModelError> for TransferError {
    fn from(error: taper_models::ModelError) -> Self {
        Self::Learn(error.into())
    }
}

impl From<candle_core::Error> for TransferError {
    fn from(error: candle_core::Error) -> Self {
        Self::Learn(error.into())
    }
}
