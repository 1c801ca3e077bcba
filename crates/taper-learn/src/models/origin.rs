//! How a model was made.

use crate::methods::SettingValues;
use serde::{Deserialize, Serialize};

/// How a model was made, in words, which determines how it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The method's name in the registry; `classifier` for a network with a classification head.
    pub method: String,
    /// The training data, in words.
    pub on: String,
    /// Full names of the classes it was trained on. Two data sets may use one name for different
    /// classes: [`Provenance`](crate::provenance::Provenance) identifies the images.
    pub classes: Vec<String>,
    /// The method's settings, such as `inner-lr`.
    pub settings: SettingValues,
    /// Whose statistics normalize a task: `support`, `batch` or `stored`.
    pub norm: String,
    /// Whether images or classes were added, removed or renamed since: figures from when it was made are not its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revised: bool,
}
