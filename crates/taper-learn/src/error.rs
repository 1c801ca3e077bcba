//! What can go wrong with learning.

use std::path::PathBuf;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, LearnError>;

/// What can go wrong with learning.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The loss is NaN or infinite.
    #[error(
        "the loss is {loss} at step {step}: lower the learning rate (now {learning_rate}) or clip gradients; the last good checkpoint is kept"
    )]
    Diverged {
        /// The training step, from 1.
        step: u64,
        /// Infinite or NaN.
        loss: f64,
        /// The learning rate at that step.
        learning_rate: f64,
    },
    /// A step with a finite loss produced a NaN or infinite value.
    #[error(
        "{what} is not finite after step {step}: lower the learning rate (now {learning_rate}) or clip gradients; the last good checkpoint is kept"
    )]
    NotFinite {
        /// The training step, from 1.
        step: u64,
        /// A parameter, a running statistic or part of the optimizer's state, by name.
        what: String,
        /// The learning rate at that step.
        learning_rate: f64,
    },
    /// The loss of an inner loop is NaN or infinite.
    #[error(
        "the inner loop of a task from {task} diverges at inner step {step} (loss {loss}): lower the inner learning rate"
    )]
    InnerDiverged {
        /// Where the task's classes come from; empty if that is not known.
        task: String,
        /// The inner step, from 1.
        step: usize,
        /// Infinite or NaN.
        loss: f64,
    },
    /// The inner loops of all tasks of a training step have diverged.
    #[error("at step {step} {problem}; the last good checkpoint is kept")]
    StepDiverged {
        /// The training step, from 1.
        step: u64,
        /// Which task, where in its inner loop, and what to do.
        problem: String,
    },
    /// A deadline came before the end.
    #[error("the time budget ran out before the end: allow more time")]
    OutOfTime,
    /// The user asked to stop.
    #[error("stopped after {at}")]
    Stopped {
        /// How far the job got, such as `step 5 of 10 of maml`.
        at: String,
    },
    /// A stage of training failed.
    #[error("training {stage}: {problem}")]
    Stage {
        /// The stage.
        stage: String,
        /// Why it failed.
        problem: Box<LearnError>,
    },
    /// A directory that can't be used as requested.
    #[error("{path}: {problem}")]
    Run {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A checkpoint that can't be resumed from.
    #[error("{path}: {problem}: start the run again")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A directory that holds an earlier run or model, which must not be replaced.
    #[error("{path}: already holds a {what}: replace it or choose another directory")]
    Exists {
        /// The directory.
        path: PathBuf,
        /// `run` or `model`.
        what: &'static str,
    },
    /// A run directory that another process writes to.
    #[error("{path}: is in use by {holder}: wait for its end or choose another directory")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process, its host, and since when.
        holder: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A classifier of which no labeled images were held out.
    #[error(
        "none of the classifier's labeled images were held out when it was made, so it can't be said how often it would \
         be wrong: make it again with at least two images of each class"
    )]
    NothingHeldOut,
    /// Another process of the job failed.
    #[error("rank {rank}: {problem}")]
    Rank {
        /// The process, from 0.
        rank: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Processes of one job differ in what must be the same.
    #[error(
        "rank {rank} and rank 0 differ in their {what}: start every process with the same program, options and data"
    )]
    RanksDiffer {
        /// The first process that differs.
        rank: usize,
        /// What it differs in, such as `options`.
        what: String,
    },
    /// An invalid value.
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
