//! What a candidate is: a head or fine-tuning, on which copies of the images.

use std::fmt;

/// Which part of an image the network sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CropPolicy {
    /// As in the preprocessing, such as a center crop.
    #[default]
    AsGiven,
    /// The whole image.
    Whole,
}

/// Which versions of the images a candidate learns from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputVariant {
    /// Which part of an image the network sees.
    pub crop: CropPolicy,
    /// Whether it also learns from mirrored copies.
    pub mirrored: bool,
}

/// How a classifier is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approach {
    /// A head on frozen features, by its method's name.
    Head(String),
    /// Fine-tuning from a stage on, by the stage's name.
    FineTune(String),
}

/// What a candidate is. Its text is its name in tables and files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CandidateSpec {
    /// How the classifier is made.
    pub approach: Approach,
    /// Which versions of the images it learns from.
    pub variant: InputVariant,
}

impl CandidateSpec {
    /// A head on frozen features.
    pub(crate) fn head(name: &str, variant: InputVariant) -> Self {
        Self { approach: Approach::Head(name.to_string()), variant }
    }
}

impl fmt::Display for CandidateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.approach {
            Approach::Head(name) => f.write_str(name)?,
            Approach::FineTune(stage) => write!(f, "fine-tune from {stage}")?,
        }
        f.write_str(if self.variant.crop == CropPolicy::Whole { ", whole image" } else { "" })?;
        f.write_str(if self.variant.mirrored { ", mirrored too" } else { "" })
    }
}
