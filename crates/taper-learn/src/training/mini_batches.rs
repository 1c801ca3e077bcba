//! Mini-batches of a training set, epoch after epoch.

use crate::{LearnError, Result};
use taper_ops::{permutation, rng};

/// How a training set is split into mini-batches, one epoch after the other: reshuffled for every
/// epoch, with a smaller last batch if the images do not fill it.
///
/// A step of several batches (gradient accumulation) may need more batches than the images fill;
/// an epoch's last batches then begin again with its first images.
///
/// ```
/// use taper_learn::training::MiniBatches;
///
/// let batches = MiniBatches::new(10, 4)?;
/// assert_eq!(batches.per_epoch(), 3);
/// let sizes: Vec<usize> = (0..3).map(|number| batches.places(0, number).len()).collect();
/// assert_eq!(sizes, [4, 4, 2]);
/// assert_eq!(batches.epoch(3), 1);
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MiniBatches {
    images: usize,
    size: usize,
    per_step: usize,
}

impl MiniBatches {
    /// Batches of `size` images, of `images` in total.
    ///
    /// # Errors
    /// Returns an error if either is 0.
    pub fn new(images: usize, size: usize) -> Result<Self> {
        if images == 0 || size == 0 {
            return Err(LearnError::Invalid(format!(
                "batches of {size} of {images} images train nothing: use 1 image or more in each"
            )));
        }
        Ok(Self { images, size, per_step: 1 })
    }

    /// The same for steps of `batches` batches each, with a whole number of steps per epoch.
    ///
    /// # Errors
    /// Returns an error if `batches` is 0.
    pub fn accumulated(self, batches: usize) -> Result<Self> {
        if batches == 0 {
            return Err(LearnError::Invalid("a step of 0 batches trains nothing: use 1 or more".into()));
        }
        Ok(Self { per_step: batches, ..self })
    }

    /// Batches per epoch.
    pub fn per_epoch(&self) -> u64 {
        self.steps_per_epoch() * self.per_step as u64
    }

    /// Steps per epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.images.div_ceil(self.size * self.per_step) as u64
    }

    /// The epoch of batch `number`, both counted from 0.
    pub fn epoch(&self, number: u64) -> u64 {
        number / self.per_epoch()
    }

    /// The places of batch `number` of a run, in the order that `seed` shuffles its epoch into.
    pub fn places(&self, seed: u64, number: u64) -> Vec<usize> {
        let order = permutation(&mut rng(seed, "epoch", self.epoch(number)), self.images);
        self.places_of(&order, number)
    }

    /// The places of batch `number` in its epoch's own `order`, which has as many places as there
    /// are images.
    pub fn places_of(&self, order: &[usize], number: u64) -> Vec<usize> {
        let first = (number % self.per_epoch()) as usize * self.size;
        let left = order.len().saturating_sub(first);
        let count = if left == 0 { self.size } else { left.min(self.size) };
        order.iter().cycle().skip(first).take(count).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_each_image_once_and_its_last_batch_is_what_is_left() {
        let batches = MiniBatches::new(9, 4).unwrap();
        for epoch in 0..2 {
            let all: Vec<Vec<usize>> = (0..3).map(|place| batches.places(7, 3 * epoch + place)).collect();
            assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 1]);
            let mut images = all.concat();
            images.sort_unstable();
            assert_eq!(images, (0..9).collect::<Vec<_>>());
        }
        assert_ne!(batches.places(7, 0), batches.places(7, 3), "epochs are shuffled anew");
        assert_eq!(batches.places(7, 4), batches.places(7, 4));
        assert!(MiniBatches::new(0, 4).is_err() && MiniBatches::new(4, 0).is_err());
    }

    #[test]
    fn steps_of_several_batches_fill_an_epoch_by_beginning_again() {
        let batches = MiniBatches::new(10, 4).unwrap().accumulated(2).unwrap();
        assert_eq!((batches.per_epoch(), batches.steps_per_epoch(), batches.epoch(4)), (4, 2, 1));
        let order: Vec<usize> = (0..10).collect();
        assert_eq!(batches.places_of(&order, 2), [8, 9]);
        assert_eq!(batches.places_of(&order, 3), [2, 3, 4, 5]);
    }
}
