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

/// At what size the network sees an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scale {
    /// As in the preprocessing.
    #[default]
    AsGiven,
    /// About one and a half times as large: networks are trained on objects that look larger than at the size that they
    /// are published for (Touvron et al. 2019).
    Larger,
}

/// In how many views the network sees an image. A head on stages learns from the features of each, and classifies their
/// mean; fine-tuning learns from the first two, and classifies the image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Views {
    /// The image.
    #[default]
    One,
    /// The image and its mirror image.
    Two,
    /// The image, its mirror image, and the centers of both.
    Four,
}

/// Which versions of the images a candidate learns from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputVariant {
    /// Which part of an image the network sees.
    pub crop: CropPolicy,
    /// At what size.
    pub scale: Scale,
    /// In how many views.
    pub views: Views,
}

/// How a classifier is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approach {
    /// A head on the frozen network's own features, by its method's name.
    Head(String),
    /// A head on features of several of the frozen network's stages (see [`taper_models::StageFeatures`]), by its
    /// method's name.
    Staged(String),
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
    /// A head on features of several stages.
    pub(crate) fn staged(name: &str, variant: InputVariant) -> Self {
        Self { approach: Approach::Staged(name.to_string()), variant }
    }

    /// A head on the network's own features.
    pub(crate) fn head(name: &str, variant: InputVariant) -> Self {
        Self { approach: Approach::Head(name.to_string()), variant }
    }
}

impl fmt::Display for CandidateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.approach {
            Approach::Head(name) => f.write_str(name)?,
            Approach::Staged(name) => write!(f, "{name} on stages")?,
            Approach::FineTune(stage) => write!(f, "fine-tune from {stage}")?,
        }
        f.write_str(if self.variant.crop == CropPolicy::Whole { ", whole image" } else { "" })?;
        f.write_str(if self.variant.scale == Scale::Larger { ", larger" } else { "" })?;
        f.write_str(match self.variant.views {
            Views::One => "",
            Views::Two => ", two views",
            Views::Four => ", four views",
        })
    }
}
