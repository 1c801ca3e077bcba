//! What a search tried, and what it skipped and why.

use super::progress::SCORES;
use crate::candidate::CandidateScore;
use serde::{Deserialize, Serialize};
use std::path::Path;
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

impl TriedCandidate {
    pub(super) fn of_score(score: CandidateScore) -> Self {
        Self {
            accuracy: score.left_out.is_none().then(|| score.interval()),
            decisions: score.decisions(),
            seconds: score.seconds,
            name: score.name,
            skipped: score.left_out,
        }
    }

    /// What the search of a run directory has scored so far, the first first; nothing if nothing can be read. The run is
    /// neither locked nor changed.
    pub fn in_run(run: &Path) -> Vec<Self> {
        let text = std::fs::read(run.join(SCORES)).unwrap_or_default();
        let scores: Vec<CandidateScore> = serde_json::from_slice(&text).unwrap_or_default();
        scores.into_iter().map(Self::of_score).collect()
    }
}
