//! Classifying many images, a batch at a time.

use crate::{Classifier, LearnError, Result};
use candle_core::Tensor;
use taper_data::Inputs;

/// Logits `(n, ways)` of the images `images`, `batch` at a time.
///
/// # Errors
/// Returns an error if there are no images, or an image can't be read or classified.
pub fn classify(classifier: &dyn Classifier, inputs: &dyn Inputs, images: &[usize], batch: usize) -> Result<Tensor> {
    if images.is_empty() {
        return Err(LearnError::Invalid("no images to classify: give at least one".into()));
    }
    let parts: Vec<Tensor> = images
        .chunks(batch.max(1))
        .map(|images| classifier.logits(&inputs.inputs(images, None)?))
        .collect::<Result<_>>()?;
    Ok(Tensor::cat(&parts, 0)?)
}

/// The class of each of the images `images`, `batch` at a time.
///
/// # Errors
/// As [`classify`].
pub fn predict(classifier: &dyn Classifier, inputs: &dyn Inputs, images: &[usize], batch: usize) -> Result<Vec<u32>> {
    Ok(classify(classifier, inputs, images, batch)?.argmax(1)?.to_vec1::<u32>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Adapt;
    use crate::heads::NearestNeighbor;
    use candle_core::Device;
    use taper_data::Batch;
    use taper_ops::Rng;

    /// Each image's own number.
    struct Numbers;

    impl Inputs for Numbers {
        fn inputs(&self, indices: &[usize], _: Option<&mut Rng>) -> taper_data::Result<Tensor> {
            let values: Vec<f32> = indices.iter().map(|&index| index as f32).collect();
            Ok(Tensor::from_vec(values, (indices.len(), 1), &Device::Cpu)?)
        }
    }

    #[test]
    fn batches_of_any_size_give_the_same_classes_in_order() {
        let support = Batch::new(Numbers.inputs(&[0, 10], None).unwrap(), &[0, 1], 2).unwrap();
        let classifier = NearestNeighbor.adapt(&support, 0).unwrap();
        for batch in [1, 2, 3, 100] {
            assert_eq!(predict(classifier.as_ref(), &Numbers, &[9, 1, 7, 2, 6], batch).unwrap(), [1, 0, 1, 0, 1]);
        }
        assert!(predict(classifier.as_ref(), &Numbers, &[], 4).is_err());
    }
}
