//! What a training loop tells, and to whom.

use crate::{Progress, Result};
use std::collections::BTreeMap;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Save and stop.
    Stop,
}

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was taken.
    Step {
        /// Steps taken so far, this one included.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Mean loss of the step's items.
        loss: f64,
        /// Means of other figures.
        metrics: &'a BTreeMap<&'static str, f64>,
        /// The rate it was taken at.
        learning_rate: f64,
    },
    /// The state was scored on validation data.
    Validated {
        /// Steps taken so far.
        step: u64,
        /// The score, higher is better.
        score: f64,
        /// Is it the best so far?
        best: bool,
    },
    /// A good moment to save.
    Checkpoint(&'a Progress),
    /// Something the user should know, and the report repeats.
    Warning(String),
}

/// Who is told.
pub trait Observer {
    /// Something happened; says whether to go on.
    fn on(&mut self, event: Event<'_>) -> Result<Flow>;
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopObserver;

impl Observer for NoopObserver {
    fn on(&mut self, _event: Event<'_>) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}
