//! A trained classifier with its report.

use crate::{Expectation, Result, TriedCandidate, ValidationReport};
use taper_learn::{Model, RunDirectory};

/// A trained classifier with its report.
#[derive(Debug)]
pub struct Fitted {
    /// What was trained: the best candidate of a search, or the network.
    pub name: String,
    /// The classifier.
    pub model: Model,
    /// Its score on the validation images.
    pub report: ValidationReport,
    /// Its score on the test images; `None` if the data set has none.
    pub test: Option<ValidationReport>,
    /// The accuracy to expect of new images, from the training images alone; `None` if nothing was searched, or a class
    /// has a single image.
    pub expected: Option<Expectation>,
    /// The candidates of a search; empty if nothing was searched.
    pub candidates: Vec<TriedCandidate>,
    /// Seconds of the final training, summed over all sessions.
    pub train_seconds: f64,
}

impl Fitted {
    /// The same, after the classifier is saved as the run's `model/`, if there is a run.
    pub(crate) fn saved(self, run: Option<&RunDirectory>) -> Result<Self> {
        if let Some(run) = run {
            self.model.save(&run.model_path())?;
        }
        Ok(self)
    }
}
