//! Cross-validation: each labeled image is classified by a learner that
//! was not trained on it.

use crate::{Adapt, LearnError, Result};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use taper_data::{Batch, Inputs};
use taper_ops::map_in_order;

/// Labeled images: their indices in some [`Inputs`], with one label each.
#[derive(Debug, Clone)]
pub struct Labeled {
    /// Indices of the images.
    pub images: Vec<usize>,
    /// One label per image, below `ways`.
    pub labels: Vec<u32>,
    /// The number of classes.
    pub ways: usize,
}

impl Labeled {
    /// The images at these places of the list.
    pub fn select(&self, places: &[usize]) -> Self {
        Self {
            images: places.iter().map(|&place| self.images[place]).collect(),
            labels: places.iter().map(|&place| self.labels[place]).collect(),
            ways: self.ways,
        }
    }

    /// All of them as one batch.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn batch(&self, inputs: &dyn Inputs) -> Result<Batch> {
        Ok(Batch::new(inputs.inputs(&self.images, None)?, &self.labels, self.ways)?)
    }

    /// All images through each of `inputs`, one after the other, as one batch.
    ///
    /// # Errors
    /// Returns an error if `inputs` is empty or an image can't be read.
    pub fn batch_through_each(&self, inputs: &[Arc<dyn Inputs>]) -> Result<Batch> {
        let seen =
            inputs.iter().map(|inputs| inputs.inputs(&self.images, None)).collect::<taper_data::Result<Vec<_>>>()?;
        let all = Batch::new(Tensor::cat(&seen, 0)?, &self.labels.repeat(inputs.len()), self.ways)?;
        Ok(Batch { views: inputs.len(), ..all })
    }
}

/// Adapts `method` to all folds but one and classifies the images of that fold, for each of `folds`: its logits
/// `(n, ways)` and labels. It learns from the images through each of `inputs`, and classifies them through the first. The
/// results are the same on any number of threads.
///
/// # Errors
/// Returns an error if `fold_of` does not have one fold per image, or adapting fails.
pub fn held_out_logits(
    method: &dyn Adapt,
    inputs: &[Arc<dyn Inputs>],
    labeled: &Labeled,
    fold_of: &[usize],
    folds: Range<usize>,
    seed: u64,
) -> Result<Vec<(Tensor, Vec<u32>)>> {
    let Some(plain) = inputs.first().filter(|_| fold_of.len() == labeled.images.len()) else {
        return Err(LearnError::Invalid("each image needs a fold and inputs: make folds of these images".into()));
    };
    let folds: Vec<usize> = folds.collect();
    let made = map_in_order(&folds, |_, &fold| -> Result<(Tensor, Vec<u32>)> {
        let part = |inside: bool| (0..fold_of.len()).filter(|&place| (fold_of[place] == fold) == inside).collect();
        let (left, kept): (Vec<usize>, Vec<usize>) = (part(true), part(false));
        let classifier = method.adapt(&labeled.select(&kept).batch_through_each(inputs)?, seed)?;
        let left = labeled.select(&left);
        let logits = |images: &[usize]| classifier.logits(&plain.inputs(images, None)?);
        let logits = left.images.chunks(BATCH).map(logits).collect::<Result<Vec<_>>>()?;
        Ok((Tensor::cat(&logits, 0)?, left.labels))
    });
    made.into_iter().collect()
}

/// Images classified at once.
const BATCH: usize = 64;

/// Whether each image with these labels is classified correctly by logits `(n, ways)`.
///
/// # Errors
/// Returns an error if the logits are not `(n, ways)`.
pub fn hits_of(logits: &Tensor, labels: &[u32]) -> Result<Vec<bool>> {
    let given = logits.argmax(1)?.to_vec1::<u32>()?;
    // a row with NaN, as of training that diverged, has no largest logit
    let sums = logits.to_dtype(DType::F64)?.sum(1)?.to_vec1::<f64>()?;
    Ok(given.iter().zip(labels).zip(sums).map(|((given, label), sum)| given == label && !sum.is_nan()).collect())
}

/// Correct predictions among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    /// The number of correct predictions.
    pub right: usize,
    /// The number of all predictions.
    pub of: usize,
}

impl Right {
    /// Counts which predictions are correct.
    pub fn of(hits: &[bool]) -> Self {
        Self { right: hits.iter().filter(|hit| **hit).count(), of: hits.len() }
    }

    /// The share of correct predictions.
    pub fn share(self) -> f64 {
        self.right as f64 / self.of as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::NearestNeighbor;
    use candle_core::Device;
    use taper_ops::Rng;

    /// One number per image.
    struct Numbers(Vec<f32>);

    impl Inputs for Numbers {
        fn inputs(&self, indices: &[usize], _: Option<&mut Rng>) -> taper_data::Result<Tensor> {
            let values: Vec<f32> = indices.iter().map(|&index| self.0[index]).collect();
            Ok(Tensor::from_vec(values, (indices.len(), 1), &Device::Cpu)?)
        }
    }

    #[test]
    fn a_row_of_nan_is_no_answer() {
        let logits = Tensor::new(&[[f32::NAN, f32::NAN], [2.0, 1.0], [1.0, 2.0]], &Device::Cpu).unwrap();
        assert_eq!(hits_of(&logits, &[0, 0, 0]).unwrap(), [false, true, false]);
    }

    #[test]
    fn no_image_is_classified_by_a_learner_that_saw_it() {
        // pairs of the same number with different labels: a learner that sees both is always correct
        let numbers = Numbers(vec![0.0, 0.0, 10.0, 10.0]);
        let labeled = Labeled { images: vec![0, 1, 2, 3], labels: vec![0, 1, 0, 1], ways: 2 };
        let inputs: [Arc<dyn Inputs>; 1] = [Arc::new(numbers)];
        let scored = |fold_of: &[usize], folds| -> Result<Vec<Right>> {
            let made = held_out_logits(&NearestNeighbor, &inputs, &labeled, fold_of, folds, 0)?;
            made.iter().map(|(logits, labels)| Ok(Right::of(&hits_of(logits, labels)?))).collect()
        };
        // trained on 1 and 3 only, 0 and 2 become class 1, and vice versa
        assert_eq!(scored(&[0, 1, 0, 1], 0..2).unwrap(), [Right { right: 0, of: 2 }; 2]);
        // a pair in one fold has no twin outside: one of the two is correct, whichever image is near
        assert_eq!(scored(&[0, 0, 1, 1], 1..2).unwrap(), [Right { right: 1, of: 2 }]);
        assert!(scored(&[0, 1], 0..2).is_err());
    }
}
