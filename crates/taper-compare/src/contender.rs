//! A method that is scored.

use crate::Start;
use std::sync::Arc;
use taper_data::Inputs;
use taper_learn::{Adapt, Model, methods::Kind};

/// A method after one training run, ready to be scored.
pub(crate) struct Contender {
    /// What tables call it.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) start: Start,
    pub(crate) trained_on: String,
    pub(crate) train_seconds: f64,
    /// Whether it was trained in this comparison.
    pub(crate) trained_here: bool,
    pub(crate) learner: Box<dyn Adapt>,
    /// Validation tasks as it sees them.
    pub(crate) validation: Arc<dyn Inputs>,
    /// Test tasks as it sees them.
    pub(crate) test: Arc<dyn Inputs>,
    /// What is kept if it is chosen; `None` if there is nothing to keep.
    pub(crate) model: Option<Model>,
}
