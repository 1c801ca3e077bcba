//! What a classifier keeps of the labeled images that it was made from, and what that allows: saying that an image is
//! none of the classes, sets of classes that contain the right one at a stated rate, other classes later, and the
//! labeled images that an image resembles most.

mod assessor;
mod class_activation;
mod file;
mod held_out;
mod matched_places;
mod similarity;

pub use assessor::{Assessor, NoveltyRule};
pub use class_activation::class_activation;
pub use held_out::{HeldOut, Rows, features};
pub use matched_places::matched_places;
pub use similarity::{Directions, Similarity};

use crate::{LearnError, Result};
use candle_core::{Device, Tensor};
use taper_data::Hash;

/// The labeled images that a classifier was made from, as features under its head.
#[derive(Debug, Clone)]
pub struct Support {
    /// Features `(n, d)`, f32, by the classifier's network.
    pub features: Tensor,
    /// Labels, one per image.
    pub labels: Vec<u32>,
    /// The images, in the same order.
    pub images: Vec<SupportImage>,
    /// The name of the method that makes the head from such features; `None` if the network itself was fitted to the
    /// classes.
    pub head: Option<String>,
    /// How the classifier did on labeled images that it had not learned from; `None` if a class had a single image.
    pub held_out: Option<HeldOut>,
}

/// A labeled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportImage {
    /// Its path in the data set.
    pub name: String,
    /// Its content.
    pub content: Hash,
}

impl Support {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Without the images of the classes whose place in `renumbered` is `None`; the other classes get these numbers.
    ///
    /// # Errors
    /// Returns an error if a label has no place in `renumbered`.
    pub fn renumbered(&self, renumbered: &[Option<u32>]) -> Result<Self> {
        let mut rows = Vec::new();
        let (mut labels, mut images) = (Vec::new(), Vec::new());
        for (row, (label, image)) in self.labels.iter().zip(&self.images).enumerate() {
            let place = renumbered.get(*label as usize).ok_or_else(|| {
                LearnError::Invalid(format!("class {label} of a labeled image is not one of {}", renumbered.len()))
            })?;
            if let Some(label) = place {
                rows.push(row as u32);
                labels.push(*label);
                images.push(image.clone());
            }
        }
        let features = self.features.index_select(&Tensor::from_slice(&rows, rows.len(), &Device::Cpu)?, 0)?;
        let held_out = self.held_out.as_ref().map(|held_out| held_out.renumbered(renumbered));
        Ok(Self { features, labels, images, head: self.head.clone(), held_out })
    }
}
