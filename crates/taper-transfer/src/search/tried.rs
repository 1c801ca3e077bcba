//! What a search tried, and what it skipped and why.

use serde::{Deserialize, Serialize};
use taper_learn::Interval;

/// A candidate of a search: its score, or why it was skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriedCandidate {
    /// Its name, such as `ridge, whole image`.
    pub name: String,
    /// Its accuracy on folds of the training images; `None` if it was skipped.
    pub accuracy: Option<Interval>,
    /// Images that it classified in cross-validation.
    pub decisions: usize,
    /// Seconds of trying it.
    pub seconds: f64,
    /// Why it was skipped; `None` if it was scored.
    pub skipped: Option<String>,
}
