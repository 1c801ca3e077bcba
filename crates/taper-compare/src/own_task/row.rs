//! A row of the comparison: a method that is ready to learn from labels.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use taper_data::Inputs;
use taper_learn::{Adapt, methods::Kind};

/// What a method has learned from before it sees a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelStart {
    /// Nothing.
    Nothing,
    /// The pretrained weights.
    Weights,
    /// The pretrained weights, then episodes of other images.
    #[serde(rename = "weights+meta")]
    WeightsAndMeta,
}

impl LabelStart {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Weights => "weights",
            Self::WeightsAndMeta => "weights+meta",
        }
    }
}

/// What a method does with pretrained weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approach {
    /// It compares pixels and uses no weights.
    Pixels,
    /// It trains a network from nothing and uses no weights.
    FromScratch,
    /// A head on frozen features.
    FrozenFeatures,
    /// Fine-tuning.
    FineTuning,
    /// Meta-learning on other images.
    MetaLearning,
}

impl Approach {
    /// In a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Self::Pixels => "comparing pixels",
            Self::FromScratch => "training from scratch",
            Self::FrozenFeatures => "frozen features",
            Self::FineTuning => "fine-tuning",
            Self::MetaLearning => "meta-learning",
        }
    }
}

/// A method that is ready to learn from labels.
pub(super) struct Row {
    /// What tables call it.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) approach: Approach,
    /// The method that makes its head from features alone; `None` if it does more.
    pub(super) head: Option<&'static str>,
    pub(super) start: LabelStart,
    pub(super) trained_on: String,
    /// Seconds of training before any label.
    pub(super) train_seconds: f64,
    pub(super) learner: Box<dyn Adapt>,
    /// The images as the learner sees them.
    pub(super) inputs: Arc<dyn Inputs>,
    /// What learning takes, before it was measured.
    pub(super) cost: LearningCost,
}

/// What learning from labels takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum LearningCost {
    /// Little: several draws at once, each on one thread.
    Small,
    /// So many seconds per labeled image, on all threads.
    PerImage(f64),
}

/// A method that was not scored, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What tables call it.
    pub name: String,
    /// Its kind of learning.
    pub kind: Kind,
    /// Why it was not scored.
    pub reason: String,
}

impl Row {
    /// The name of its file in a run.
    pub(super) fn file(&self) -> String {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = self.name.chars().map(letter).collect();
        let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
        format!("scores-{}.json", parts.join("-"))
    }
}
