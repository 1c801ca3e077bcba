//! What can go wrong with learning.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, LearnError>;

/// What can go wrong with learning.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The loss is no number any more.
    #[error(
        "the loss is {loss} at step {step}: lower the learning rate (now {learning_rate}) or clip gradients; the last good checkpoint is kept"
    )]
    Diverged {
        /// Where.
        step: u64,
        /// Infinite or NaN.
        loss: f64,
        /// The rate at that step.
        learning_rate: f64,
    },
    /// An inner loop whose loss is no number any more.
    #[error("the inner loop of a task from {task} diverges at inner step {step} (loss {loss}): lower --inner-lr")]
    InnerDiverged {
        /// Where the task's classes come from; empty where that is not known.
        task: String,
        /// The inner step, from 1.
        step: usize,
        /// Infinite or NaN.
        loss: f64,
    },
    /// A training step's inner loop whose loss is no number any more.
    #[error("at step {step} {problem}; the last good checkpoint is kept")]
    StepDiverged {
        /// The training step, from 1.
        step: u64,
        /// Which task, where in its inner loop, and what to do.
        problem: String,
    },
    /// A deadline came before the end.
    #[error("the time was over before the end: allow more")]
    OutOfTime,
    /// A run directory that can't be used as asked.
    #[error("{path}: {problem}")]
    Run {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Data failed.
    #[error(transparent)]
    Data(#[from] taper_data::DataError),
    /// A network failed.
    #[error(transparent)]
    Model(#[from] taper_models::ModelError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
