//! How a classifier does on labeled images that it has not learned from: from one pass over folds of them, or from
//! images that were set apart.

use super::Similarity;
use crate::{
    Adapt, LearnError, Result,
    evaluation::{Labeled, Right, extrapolated_temperature, likeliest, temperature_of_singles},
    heads::stratified_folds,
};
use candle_core::{DType, Device, Tensor};
use taper_data::{Batch, Inputs};
use taper_models::{Frozen, Mode, Network, State};
use taper_ops::{Rng, map_in_order};

/// Logits and foreignness of labeled images that the classifier, or its like made without them, had not learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Logits, a row per image.
    pub(super) logits: Vec<Vec<f64>>,
    pub(super) labels: Vec<u32>,
    /// See [`Similarity::foreignness`].
    pub(super) foreignness: Vec<[f64; 2]>,
    /// What the classifier's logits are divided by before they become probabilities.
    temperature: f64,
}

/// Images per forward pass.
const BATCH: usize = 8;

impl HeldOut {
    /// One pass over `folds` folds of the labeled images: each is classified by what `learner` makes of all other folds,
    /// which `learn` gives as a batch from their places in `labeled`; `plain` has the images as the classifier sees
    /// them, or their features. If the network does not depend on the folds, `frozen` is the similarity to all labeled
    /// images, and each is compared with all others; otherwise with those of the other folds. The scores are in the order
    /// of `labeled`, and the same on any number of threads.
    ///
    /// # Errors
    /// Returns an error if there are too few images for the folds, learning fails, or no network does what a
    /// classifier does.
    pub fn out_of_fold(
        learner: &dyn Adapt,
        learn: &(dyn Fn(&[usize]) -> Result<Batch> + Sync),
        plain: &dyn Inputs,
        labeled: &Labeled,
        frozen: Option<&Similarity>,
        folds: usize,
        seed: u64,
    ) -> Result<Self> {
        let over = |folds, compares| Self::over_folds(learner, learn, plain, labeled, compares, folds, seed);
        // the network does not depend on the folds if it is frozen, and only logits of halves are asked for
        let mut all = over(folds, frozen.is_none())?;
        let halves = if folds > 2 { Some(over(2, false)?.rows()) } else { None };
        all.temperature = extrapolated_temperature(&all.rows(), folds, halves.as_deref());
        if let Some(frozen) = frozen {
            all.foreignness = frozen.left_one_out()?;
        }
        Ok(all)
    }

    /// The scores of images that were left out, at a temperature of 1, and with their foreignness if it `compares` them.
    fn over_folds(
        learner: &dyn Adapt,
        learn: &(dyn Fn(&[usize]) -> Result<Batch> + Sync),
        plain: &dyn Inputs,
        labeled: &Labeled,
        compares: bool,
        folds: usize,
        seed: u64,
    ) -> Result<Self> {
        let fold_of = stratified_folds(&labeled.labels, folds, seed)?;
        let each: Vec<usize> = (0..folds).collect();
        let made = map_in_order(&each, |_, &fold| -> Result<Self> {
            let part = |inside: bool| -> Vec<usize> {
                (0..fold_of.len()).filter(|&place| (fold_of[place] == fold) == inside).collect()
            };
            let (left, kept) = (part(true), part(false));
            let (network, state) = learner.adapt(&learn(&kept)?, seed)?.network()?;
            let images = labeled.select(&left);
            if !compares {
                return Self::of_rows(&network, &state, None, plain, &images);
            }
            let known = features(&network, &state, plain, &labeled.select(&kept).images)?;
            Self::of_rows(&network, &state, Some(&known), plain, &images)
        });
        let n = labeled.labels.len();
        let (mut logits, mut foreignness) = (vec![Vec::new(); n], vec![[0.0; 2]; n]);
        for (fold, part) in made.into_iter().enumerate() {
            let part = part?;
            let places = (0..n).filter(|&place| fold_of[place] == fold);
            for ((place, row), foreign) in places.zip(part.logits).zip(part.foreignness) {
                logits[place] = row;
                foreignness[place] = foreign;
            }
        }
        Ok(Self { logits, labels: labeled.labels.clone(), foreignness, temperature: 1.0 })
    }

    /// The temperature of a `network` that learned from the `labeled` images, if a class has a single one, so that none can
    /// be left out; see [`temperature_of_singles`].
    ///
    /// # Errors
    /// Returns an error if an image can't be read or does not fit the network.
    pub fn temperature_of_learned(
        network: &Network,
        state: &State,
        inputs: &dyn Inputs,
        labeled: &Labeled,
    ) -> Result<f64> {
        Ok(temperature_of_singles(&Self::of_rows(network, state, None, inputs, labeled)?.rows()))
    }

    /// The scores of `labeled` images that `network` has not learned from; `known (n, d)` are the features of those that
    /// it has. The temperature is 1.
    ///
    /// # Errors
    /// Returns an error if an image can't be read or does not fit the network.
    pub fn of_images(
        network: &Network,
        state: &State,
        known: &Tensor,
        inputs: &dyn Inputs,
        labeled: &Labeled,
    ) -> Result<Self> {
        Self::of_rows(network, state, Some(known), inputs, labeled)
    }

    fn of_rows(
        network: &Network,
        state: &State,
        known: Option<&Tensor>,
        inputs: &dyn Inputs,
        labeled: &Labeled,
    ) -> Result<Self> {
        let (features, logits) = features_and_logits(network, state, inputs, &labeled.images)?;
        let foreignness = match known {
            Some(known) => Similarity::new(network, state, known)?.foreignness(&features)?,
            None => vec![[0.0; 2]; labeled.images.len()],
        };
        let logits = logits.to_dtype(DType::F64)?.to_vec2()?;
        Ok(Self { logits, labels: labeled.labels.clone(), foreignness, temperature: 1.0 })
    }

    /// The logits of each image, with its label.
    fn rows(&self) -> Vec<(Vec<f64>, u32)> {
        self.logits.iter().cloned().zip(self.labels.iter().copied()).collect()
    }

    pub(super) fn from_parts(
        logits: Vec<Vec<f64>>,
        labels: Vec<u32>,
        foreignness: Vec<[f64; 2]>,
        temperature: f64,
    ) -> Self {
        Self { logits, labels, foreignness, temperature }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The logits `(n, ways)` of the images, divided by the temperature.
    ///
    /// # Errors
    /// Returns an error if there are no images.
    pub fn logits(&self) -> Result<Tensor> {
        let rows: Vec<Vec<f32>> =
            self.logits.iter().map(|row| row.iter().map(|logit| (logit / self.temperature) as f32).collect()).collect();
        Ok(Tensor::new(rows, &Device::Cpu)?)
    }

    /// What the classifier's logits have to be divided by for answers given 80% to be right 80% of the time.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The scores of the classifier whose logits are these divided by the temperature.
    #[must_use]
    pub fn cooled(self) -> Self {
        let temperature = self.temperature;
        let divided = |row: Vec<f64>| row.into_iter().map(|logit| logit / temperature).collect();
        Self { logits: self.logits.into_iter().map(divided).collect(), temperature: 1.0, ..self }
    }

    /// How many of them are classified correctly: an estimate for new images.
    pub fn right(&self) -> Right {
        let rows = self.logits.iter().zip(&self.labels);
        Right { right: rows.filter(|(row, label)| likeliest(row) == Some(**label as usize)).count(), of: self.len() }
    }

    /// The probabilities of all classes, a row per image.
    pub(super) fn probabilities(&self) -> Vec<Vec<f64>> {
        self.logits.iter().map(|row| softmax(row, self.temperature)).collect()
    }

    /// Without the images and logits of the classes whose place in `renumbered` is `None`; the other classes get these
    /// numbers.
    pub(super) fn renumbered(&self, renumbered: &[Option<u32>]) -> Self {
        let kept: Vec<usize> = (0..renumbered.len()).filter(|&class| renumbered[class].is_some()).collect();
        let mut all = Self { logits: vec![], labels: vec![], foreignness: vec![], temperature: self.temperature };
        for (row, label) in self.labels.iter().enumerate() {
            if let Some(Some(label)) = renumbered.get(*label as usize) {
                all.labels.push(*label);
                all.logits.push(kept.iter().map(|&class| self.logits[row][class]).collect());
            }
        }
        // compared with the images of removed classes too, they say nothing about the others alone
        if kept.len() == renumbered.len() {
            all.foreignness.clone_from(&self.foreignness);
        }
        all
    }

    /// Whether they tell how foreign images look: not after a class was removed without learning anew.
    pub fn tells_foreign(&self) -> bool {
        self.foreignness.len() == self.labels.len()
    }
}

/// The softmax of logits divided by a temperature.
pub(super) fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|logit| ((logit - most) / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Features `(n, d)` of the images `images` by a network. Inputs that are features already stay as they are.
///
/// # Errors
/// Returns an error if there are no images, or one can't be read or does not fit the network.
pub fn features(network: &Network, state: &State, inputs: &dyn Inputs, images: &[usize]) -> Result<Tensor> {
    let frozen = Frozen::new(network.backbone().clone(), state.clone());
    let of = |images: &[usize]| -> Result<Tensor> {
        let inputs = inputs.inputs(images, None)?;
        if inputs.rank() == 2 { Ok(inputs) } else { Ok(frozen.features(&inputs)?) }
    };
    let parts = images.chunks(BATCH).map(of).collect::<Result<Vec<_>>>()?;
    if parts.is_empty() {
        return Err(LearnError::Invalid("no labeled images: give at least one".into()));
    }
    Ok(Tensor::cat(&parts, 0)?)
}

/// Features and logits `(n, ways)`.
fn features_and_logits(
    network: &Network,
    state: &State,
    inputs: &dyn Inputs,
    images: &[usize],
) -> Result<(Tensor, Tensor)> {
    let (mut features, mut logits) = (Vec::new(), Vec::new());
    for images in images.chunks(BATCH) {
        let forward =
            network.forward(&state.params, &state.buffers, &inputs.inputs(images, None)?, Mode::evaluate())?;
        features.push(forward.features.detach());
        logits.push(forward.output.detach());
    }
    Ok((Tensor::cat(&features, 0)?, Tensor::cat(&logits, 0)?))
}

/// Features `(n, d)` as inputs: image i is row i.
#[derive(Debug, Clone)]
pub struct Rows(pub Tensor);

impl Inputs for Rows {
    fn inputs(&self, indices: &[usize], _chance: Option<&mut Rng>) -> taper_data::Result<Tensor> {
        let rows = Tensor::from_iter(indices.iter().map(|&row| row as u32), &Device::Cpu)?;
        Ok(self.0.index_select(&rows, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskNorm;
    use crate::heads::{Embedding, NearestMean, OnFeatures};
    use taper_models::{Architecture, Head};
    use taper_ops::{normal, rng};

    /// Three classes of eight noisy points in the plane.
    fn points() -> (Rows, Labeled) {
        let labels: Vec<u32> = (0..24).map(|row| row % 3).collect();
        let noise = normal(&mut rng(0, "noise", 0), (24, 2), 0.6).unwrap();
        let centers: Vec<f32> =
            labels.iter().flat_map(|l| [[2.0, 0.0], [-2.0, 1.0], [0.0, -2.0]][*l as usize]).collect();
        let rows = (noise + Tensor::from_vec(centers, (24, 2), &Device::Cpu).unwrap()).unwrap();
        (Rows(rows), Labeled { images: (0..24).collect(), labels, ways: 3 })
    }

    fn held_out(folds: usize) -> HeldOut {
        let (rows, labeled) = points();
        let backbone = "adapter-2".parse::<Architecture>().unwrap().backbone((2, 1, 1)).unwrap();
        let network = Network::new(backbone, Head::Identity);
        let state = network.init(0).unwrap();
        let learner = OnFeatures::new(NearestMean {}, Embedding::new(network, state, TaskNorm::Stored));
        let learn = |kept: &[usize]| labeled.select(kept).batch(&rows);
        HeldOut::out_of_fold(&learner, &learn, &rows, &labeled, None, folds, 0).unwrap()
    }

    #[test]
    fn every_image_is_held_out_once_and_none_is_its_own_neighbor() {
        let all = held_out(4);
        assert_eq!(all.len(), 24);
        assert!(all.right().right > 18, "{:?}", all.right());
        assert!(all.foreignness.iter().all(|[distance, _]| *distance > 0.0));
    }

    #[test]
    fn cooled_scores_have_the_same_probabilities_and_need_no_temperature() {
        let all = held_out(4);
        let cooled = all.clone().cooled();
        assert_eq!(cooled.temperature(), 1.0);
        for (a, b) in all.probabilities().concat().iter().zip(cooled.probabilities().concat()) {
            assert!((a - b).abs() < 1e-9);
        }
    }

    #[test]
    fn a_removed_class_leaves_neither_its_images_nor_its_logits() {
        let all = held_out(4).renumbered(&[Some(0), None, Some(1)]);
        assert_eq!(all.len(), 16);
        assert!(all.logits.iter().all(|row| row.len() == 2) && all.labels.iter().all(|label| *label < 2));
        assert!(all.right().right > 12);
    }
}
