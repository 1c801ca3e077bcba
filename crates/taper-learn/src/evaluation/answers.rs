//! What a classifier answered about labeled images, and how often its probabilities are right.

use crate::evaluation::{Confusion, likeliest};
use crate::{LearnError, Result};
use candle_core::Tensor;
use taper_data::Inputs;
use taper_models::{Mode, Network, State};
use taper_ops::log_softmax;

/// What a classifier answered about labeled images.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// Indices of the images in their data set.
    pub images: Vec<usize>,
    /// The label of each.
    pub labels: Vec<u32>,
    /// The class predicted for each.
    pub predicted: Vec<u32>,
    /// The probability of the predicted class of each; empty if the classifier has no probabilities.
    pub probabilities: Vec<f32>,
    /// Features of some of the images.
    pub features: ImageFeatures,
}

/// Features of images, as the classifier's head sees them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageFeatures {
    /// Places of the images in the list of answers.
    pub places: Vec<usize>,
    /// Their features, each of the same length.
    pub rows: Vec<Vec<f32>>,
}

/// Images whose predicted class has a probability in some range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// The range's lower end.
    pub from: f64,
    /// The range's upper end.
    pub to: f64,
    /// Number of images.
    pub images: usize,
    /// Their mean probability.
    pub probability: f64,
    /// The share of them that is classified correctly.
    pub right: f64,
}

/// Images whose features are kept, at most.
const FEATURES_KEPT: usize = 400;

/// Images per forward pass: a pass through four views of large photographs takes about 90 MB each.
const BATCH: usize = 8;

impl Answers {
    /// What `network` answers about the images `images` of `inputs`, which have these labels.
    ///
    /// # Errors
    /// Returns an error if an image can't be read or does not fit the network, or there is not one label per image.
    pub fn of_network(
        network: &Network,
        state: &State,
        inputs: &dyn Inputs,
        images: &[usize],
        labels: &[u32],
    ) -> Result<Self> {
        let mut answers = Self::default();
        for (some, labels) in images.chunks(BATCH).zip(labels.chunks(BATCH)) {
            let (params, buffers) = (&state.params, &state.buffers);
            let made = network.forward(params, buffers, &inputs.inputs(some, None)?, Mode::evaluate())?;
            answers.extend(some, labels, &made.output, Some(&made.features), images.len())?;
        }
        Ok(answers)
    }

    /// Adds the answers to a batch of images, of which there are `total` in the end: `logits (n, ways)`, and the
    /// images' `features (n, d)` if they are known.
    ///
    /// # Errors
    /// Returns an error if the tensors don't have one row per image.
    pub fn extend(
        &mut self,
        images: &[usize],
        labels: &[u32],
        logits: &Tensor,
        features: Option<&Tensor>,
        total: usize,
    ) -> Result<()> {
        let rows = log_softmax(logits)?.exp()?.to_vec2::<f32>()?;
        if rows.len() != images.len() || labels.len() != images.len() {
            let (rows, images) = (rows.len(), images.len());
            return Err(LearnError::Invalid(format!("{rows} answers to {images} images: give each image one")));
        }
        let before = self.images.len();
        for row in &rows {
            let best = likeliest(row).unwrap_or(0);
            self.predicted.push(best as u32);
            self.probabilities.push(row.get(best).copied().unwrap_or(0.0));
        }
        self.images.extend(images);
        self.labels.extend(labels);
        if let Some(features) = features {
            let every = total.div_ceil(FEATURES_KEPT).max(1);
            let due = (0..images.len()).filter(|place| (before + place).is_multiple_of(every));
            for place in due {
                self.features.places.push(before + place);
                self.features.rows.push(features.get(place)?.flatten_all()?.to_vec1::<f32>()?);
            }
        }
        Ok(())
    }

    /// Counts by true and predicted class.
    ///
    /// # Errors
    /// Returns an error if there are no answers.
    pub fn confusion(&self, ways: usize) -> Result<Confusion> {
        Confusion::new(&self.labels, &self.predicted, ways)
    }

    /// Places of the wrong answers, the most confident first.
    pub fn errors(&self) -> Vec<usize> {
        let probability = |place: usize| self.probabilities.get(place).copied().unwrap_or(0.0);
        let mut wrong: Vec<usize> =
            (0..self.images.len()).filter(|&place| self.labels[place] != self.predicted[place]).collect();
        wrong.sort_by(|&a, &b| probability(b).total_cmp(&probability(a)).then(self.images[a].cmp(&self.images[b])));
        wrong
    }

    /// How often probabilities are right, in `bins` ranges of equal width (Guo et al. 2017, section 2); ranges without
    /// images are left out.
    pub fn reliability(&self, bins: usize) -> Vec<ReliabilityBin> {
        let bin_of = |probability: f32| ((f64::from(probability) * bins as f64) as usize).min(bins.saturating_sub(1));
        let of = |bin: usize| {
            let own: Vec<usize> =
                (0..self.probabilities.len()).filter(|&place| bin_of(self.probabilities[place]) == bin).collect();
            let count = own.len() as f64;
            let right = own.iter().filter(|&&place| self.labels[place] == self.predicted[place]).count();
            (!own.is_empty()).then(|| ReliabilityBin {
                from: bin as f64 / bins as f64,
                to: (bin + 1) as f64 / bins as f64,
                images: own.len(),
                probability: own.iter().map(|&place| f64::from(self.probabilities[place])).sum::<f64>() / count,
                right: right as f64 / count,
            })
        };
        (0..bins).filter_map(of).collect()
    }
}

/// The expected calibration error (Guo et al. 2017, equation 3): the mean distance between probability and share of
/// right answers, weighted by images.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let images: usize = bins.iter().map(|bin| bin.images).sum();
    let distances = bins.iter().map(|bin| bin.images as f64 * (bin.right - bin.probability).abs());
    distances.sum::<f64>() / images.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn answers(logits: &[[f32; 2]], labels: &[u32]) -> Answers {
        let mut answers = Answers::default();
        let images: Vec<usize> = (10..10 + labels.len()).collect();
        for (place, ((image, label), logits)) in images.iter().zip(labels).zip(logits).enumerate() {
            let row = Tensor::new(&[*logits], &Device::Cpu).unwrap();
            let features = Tensor::new(&[[place as f32, 1.0]], &Device::Cpu).unwrap();
            answers.extend(&[*image], &[*label], &row, Some(&features), labels.len()).unwrap();
        }
        answers
    }

    #[test]
    fn the_most_confident_error_comes_first_and_counts_agree() {
        let ln = |p: f32| (p / (1.0 - p)).ln();
        let answers = answers(&[[ln(0.6), 0.0], [0.0, ln(0.9)], [ln(0.8), 0.0], [0.0, 0.0]], &[1, 1, 1, 0]);
        assert_eq!(answers.errors(), [2, 0]);
        assert_eq!(answers.predicted, [0, 1, 0, 0], "of equal ones the first");
        assert_eq!(answers.confusion(2).unwrap().counts(), [[1, 0], [2, 1]]);
        assert_eq!((answers.features.places.len(), answers.features.rows[3][0]), (4, 3.0));
    }

    #[test]
    fn reliability_is_the_share_of_right_answers_by_probability() {
        let ln = |p: f32| (p / (1.0 - p)).ln();
        let bins = answers(&[[ln(0.95), 0.0], [ln(0.95), 0.0], [ln(0.55), 0.0]], &[0, 1, 0]).reliability(10);
        assert_eq!(bins.iter().map(|bin| bin.images).collect::<Vec<_>>(), [1, 2]);
        assert!((bins[1].from - 0.9).abs() < 1e-9 && (bins[1].probability - 0.95).abs() < 1e-5 && bins[1].right == 0.5);
        let expected = (2.0 * 0.45 + 0.45) / 3.0;
        assert!((expected_calibration_error(&bins) - expected).abs() < 1e-5);
        assert!(Answers::default().reliability(10).is_empty() && expected_calibration_error(&[]) == 0.0);
    }

    #[test]
    fn features_of_at_most_four_hundred_images_are_kept_evenly() {
        let mut answers = Answers::default();
        let (logits, features) = (
            Tensor::zeros((1000, 2), candle_core::DType::F32, &Device::Cpu).unwrap(),
            Tensor::zeros((1000, 3), candle_core::DType::F32, &Device::Cpu).unwrap(),
        );
        let images: Vec<usize> = (0..1000).collect();
        answers.extend(&images, &[0; 1000], &logits, Some(&features), 1000).unwrap();
        assert_eq!((answers.features.places.len(), answers.features.places[1]), (334, 3));
    }
}
