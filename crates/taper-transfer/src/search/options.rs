//! Options of a search.

use serde::{Deserialize, Serialize};

/// Options of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct SearchOptions {
    /// Time for trying candidates, in seconds. Time that earlier sessions of a run spent on candidates
    /// is included.
    pub budget: f64,
}

impl Default for SearchOptions {
    /// Five minutes.
    fn default() -> Self {
        Self { budget: 300.0 }
    }
}
