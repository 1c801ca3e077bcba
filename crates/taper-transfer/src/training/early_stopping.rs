//! The training images that decide when training stops.

use crate::{Result, TransferError};
use taper_learn::{
    evaluation::Labeled,
    training::{HoldOut, hold_out},
};

/// Training images in two parts: those to train on, and those that decide when to stop.
pub(super) struct StoppingSplit {
    pub(super) training: Labeled,
    pub(super) stopping: Labeled,
}

impl StoppingSplit {
    /// Holds out a tenth of `training`, class by class, but never a class's only image. Fails if every class
    /// has a single image.
    pub(super) fn new(training: &Labeled, seed: u64) -> Result<Self> {
        const SHARE: f64 = 0.1;
        let HoldOut { held_out, rest, .. } = hold_out(&training.labels, SHARE, seed)?;
        if held_out.is_empty() {
            return Err(TransferError::NothingToHoldOut);
        }
        Ok(Self { training: training.select(&rest), stopping: training.select(&held_out) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labeled(labels: Vec<u32>) -> Labeled {
        let ways = labels.iter().max().map_or(0, |&last| last as usize + 1);
        Labeled { images: (100..100 + labels.len()).collect(), labels, ways }
    }

    #[test]
    fn a_class_s_only_training_image_is_never_held_out() {
        for seed in 0..50 {
            let labels: Vec<u32> = (0..7).chain([7; 12]).chain([8, 8]).collect();
            let split = StoppingSplit::new(&labeled(labels), seed).unwrap();
            assert!((0..9).all(|class| split.training.labels.contains(&class)), "seed {seed}");
            assert!(!split.stopping.images.is_empty() && split.stopping.labels.iter().all(|&label| label >= 7));
            let all: std::collections::BTreeSet<usize> =
                split.training.images.iter().chain(&split.stopping.images).copied().collect();
            assert_eq!(all.len(), 21, "each image is in one part");
        }
        assert!(matches!(StoppingSplit::new(&labeled(vec![0, 1, 2]), 0), Err(TransferError::NothingToHoldOut)));
    }

    #[test]
    fn a_tenth_is_held_out() {
        let split = StoppingSplit::new(&labeled((0..200).map(|image| image % 4).collect()), 1).unwrap();
        assert_eq!((split.training.images.len(), split.stopping.images.len()), (180, 20));
    }
}
