//! Scores averaged over copies of each image.

use crate::{Adapt, Classifier, Result};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::{Network, State};

/// A method whose images come as several copies each, `(n, copies, c, h, w)`: a support image's
/// copies join the support set, a query's logits are the mean over its copies.
pub struct Averaged<'a>(pub &'a dyn Adapt);

impl Adapt for Averaged<'_> {
    fn adapt(&self, support: &Batch, seed: u64) -> Result<Box<dyn Classifier>> {
        let copies = support.inputs.dim(1)?;
        let labels: Vec<u32> = support.labels.to_vec1::<u32>()?;
        let labels: Vec<u32> = labels.iter().flat_map(|&label| std::iter::repeat_n(label, copies)).collect();
        let all = Batch::new(support.inputs.flatten(0, 1)?, &labels, support.ways)?;
        Ok(Box::new(AveragedClassifier(self.0.adapt(&all, seed)?)))
    }

    fn transductive(&self) -> bool {
        self.0.transductive()
    }
}

/// The mean over the copies of each of `inputs (n, copies, c, h, w)` of the logits that `logits` gives
/// `(n · copies, c, h, w)`: `(n, ways)`.
///
/// # Errors
/// Returns an error if the rows don't divide into copies.
pub fn mean_logits(inputs: &Tensor, logits: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let (n, copies) = (inputs.dim(0)?, inputs.dim(1)?);
    Ok(logits(&inputs.flatten(0, 1)?)?.reshape((n, copies, ()))?.mean(1)?)
}

struct AveragedClassifier(Box<dyn Classifier>);

impl Classifier for AveragedClassifier {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        mean_logits(inputs, |copies| self.0.logits(copies))
    }

    fn network(&self) -> Result<(Network, State)> {
        self.0.network()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::NearestNeighbor;
    use candle_core::Device;

    #[test]
    fn a_query_s_logits_are_the_mean_over_its_copies_and_support_copies_are_support() {
        let copies = |values: &[f32]| Tensor::from_slice(values, (values.len() / 2, 2, 1, 1, 1), &Device::Cpu).unwrap();
        let support = Batch::new(copies(&[0.0, 1.0, 5.0, 6.0]), &[0, 1], 2).unwrap();
        let classifier = Averaged(&NearestNeighbor).adapt(&support, 0).unwrap();
        let logits = classifier.logits(&copies(&[1.0, 3.0])).unwrap().to_vec2::<f32>().unwrap();
        // Squared distances to class 0: 0 and 4; to class 1: 16 and 4.
        assert_eq!(logits, [[-2.0, -10.0]]);
    }
}
