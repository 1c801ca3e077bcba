//! Options of a classification problem.

use super::HeadShape;
use serde::{Deserialize, Serialize};
use taper_data::Transform;
use taper_models::Architecture;

/// Options of a classification problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ProblemOptions {
    /// The network; `None` takes that of the pretrained weights, or conv4-64 without weights.
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub backbone: Option<Architecture>,
    /// What replaces the network's head.
    #[serde(with = "taper_learn::text")]
    pub head: HeadShape,
    /// Side of the images that the network sees, in pixels; `None` for the network's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Steps from image to input; `None` takes those of the pretrained weights, or chooses them from
    /// the images.
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
    /// Share of each class's images to validate on, if the data set has no validation part.
    pub validation: f64,
    /// Seed of every random choice: the parts, the fresh head, folds and training.
    #[serde(with = "taper_learn::text")]
    pub seed: u64,
}

impl Default for ProblemOptions {
    fn default() -> Self {
        Self { backbone: None, head: HeadShape::default(), image_size: None, transform: None, validation: 0.2, seed: 0 }
    }
}
