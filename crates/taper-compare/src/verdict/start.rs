//! What a method had learned from before a comparison.

use serde::{Deserialize, Serialize};

/// What a method had learned from before this comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Nothing: it was trained here, on this comparison's training classes, or not at all.
    Nothing,
    /// Weights trained elsewhere, on data of this description.
    Elsewhere(String),
}
