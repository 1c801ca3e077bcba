//! What a long job reports, and who receives it.

use crate::ranks::{OneProcess, Ranks};
use crate::{LearnError, Progress, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Whether to continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Continue.
    Continue,
    /// Save a checkpoint and stop.
    Stop,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A training stage begins, or resumes after `step` steps.
    Started {
        /// The stage's name, which is also its checkpoint's.
        stage: &'a str,
        /// Steps taken in earlier sessions.
        step: u64,
        /// Steps in total.
        steps: u64,
    },
    /// A step was taken.
    Step {
        /// Steps taken so far, this one included.
        step: u64,
        /// Steps in total.
        steps: u64,
        /// Mean loss of the step's items.
        loss: f64,
        /// Means of other figures, by name.
        metrics: &'a BTreeMap<&'static str, f64>,
        /// The learning rate of the step.
        learning_rate: f64,
    },
    /// The state was scored on validation data.
    Validated {
        /// Steps taken so far.
        step: u64,
        /// The score, higher is better.
        score: f64,
        /// `true` if it is the best so far.
        best: bool,
    },
    /// Progress to save.
    Checkpoint(&'a Progress),
    /// A training stage ended.
    Finished {
        /// The stage's name.
        stage: &'a str,
    },
    /// Part of a long computation is done.
    Advanced {
        /// What is computed, such as `features`.
        what: &'a str,
        /// Items done.
        done: usize,
        /// Items in total.
        total: usize,
    },
    /// A JSON object for programs, as a run directory's `metrics.jsonl` holds it.
    Record(&'a serde_json::Value),
    /// A result for people, as soon as it is known, such as an epoch's accuracy.
    Line(String),
    /// Something the user should know.
    Note(String),
    /// Something the user should know, which the report repeats.
    Warning(String),
}

/// Receives the events of a job, and may stop it.
pub trait Observer {
    /// Receives an event and says whether to continue.
    fn on(&mut self, event: Event<'_>) -> Result<Flow>;

    /// The processes that share the job. An observer that wraps another returns the other's.
    fn ranks(&self) -> Arc<dyn Ranks> {
        Arc::new(OneProcess)
    }

    /// What becomes true when the job should stop, for computations that send no events meanwhile. An observer that wraps
    /// another returns the other's.
    fn stop(&self) -> Option<&'static AtomicBool> {
        None
    }

    /// Reports progress of a computation that can only be stopped between its items.
    ///
    /// # Errors
    /// Returns [`LearnError::Stopped`] if the observer asks to stop.
    fn advanced(&mut self, what: &str, done: usize, total: usize) -> Result<()> {
        match self.on(Event::Advanced { what, done, total })? {
            Flow::Continue => Ok(()),
            Flow::Stop => Err(LearnError::Stopped { at: format!("{done} of {total} {what}") }),
        }
    }

    /// Reports something the user should know.
    ///
    /// # Errors
    /// Returns an error if the observer does.
    fn note(&mut self, text: String) -> Result<()> {
        self.on(Event::Note(text)).map(|_| ())
    }
}

/// Ignores every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {
    fn on(&mut self, _event: Event<'_>) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}
