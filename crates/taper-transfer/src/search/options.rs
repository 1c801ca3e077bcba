//! Options of a search.

use serde::{Deserialize, Serialize};

/// Options of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct SearchOptions {
    /// Time for the whole search with its report, in seconds. What earlier sessions of a run spent on candidates that
    /// they finished is included.
    pub budget: f64,
    /// Tries only what keeps the published network: heads on its own features, in one view, and fine-tuning. Other
    /// programs know such classifiers, and they take less time per image.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plain: bool,
}

impl Default for SearchOptions {
    /// Five minutes.
    fn default() -> Self {
        Self { budget: 300.0, plain: false }
    }
}
