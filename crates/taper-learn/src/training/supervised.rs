//! Ordinary supervised learning: the cross-entropy of a batch, differentiated with respect to the trained parameters.

use crate::{
    Draw, LearnError, Result,
    evaluation::accuracy,
    training::{Gradient, Objective},
};
use candle_core::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use taper_data::Batch;
use taper_models::{BatchStatistics, Buffers, Forward, Leaves, Mode, Network, Norm, Params, State};
use taper_ops::{PackedOnce, cross_entropy_part, one_hot, smoothed, target_weight};

/// Inputs with each input's class shares.
#[derive(Debug, Clone)]
pub struct Targeted {
    /// Images `(n, c, h, w)` or features `(n, d)`.
    pub inputs: Tensor,
    /// `(n, ways)`. A row's sum is the input's weight in the loss.
    pub targets: Tensor,
}

impl Targeted {
    /// A batch's inputs with their labels, smoothed (Szegedy et al. 2016; 0 for no smoothing) and weighted by
    /// each class's weight in `weights (ways)`, if there are any.
    ///
    /// # Errors
    /// Returns an error if the weights are not one per class.
    pub fn of(batch: &Batch, weights: Option<&Tensor>, smoothing: f64) -> Result<Self> {
        let targets = smoothed(&one_hot(&batch.labels, batch.ways, batch.inputs.dtype())?, smoothing)?;
        let targets = match weights {
            Some(weights) => targets.broadcast_mul(&weights.index_select(&batch.labels, 0)?.unsqueeze(1)?)?,
            None => targets,
        };
        Ok(Self { inputs: batch.inputs.clone(), targets })
    }

    fn len(&self) -> Result<usize> {
        Ok(self.targets.dim(0)?)
    }

    fn narrow(&self, first: usize, len: usize) -> Result<Self> {
        Ok(Self { inputs: self.inputs.narrow(0, first, len)?, targets: self.targets.narrow(0, first, len)? })
    }
}

/// Which parameters of a network are trained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trainable {
    /// All parameters.
    All,
    /// The head's parameters.
    Head,
    /// The parameters of these names.
    Named(BTreeSet<String>),
}

/// Cross-entropy of a network on batches, with an optional penalty on the distance from the start.
///
/// With [`Norm::Batch`] norms use each batch's statistics and update the running ones; with
/// [`Norm::Stored`] they use the stored ones, which don't change.
#[derive(Debug, Clone)]
pub struct Supervised {
    network: Network,
    trainable: Trainable,
    norm: Norm,
    /// The penalty's strength, and the initial values of the backbone's trained parameters.
    l2_sp: f64,
    origin: Params,
}

impl Supervised {
    /// Trains the parameters `trainable`.
    pub fn new(network: Network, trainable: Trainable, norm: Norm) -> Self {
        Self { network, trainable, norm, l2_sp: 0.0, origin: Params::default() }
    }

    /// The same with L2-SP (Li et al. 2018): the backbone is pulled toward `start`; 0 for no penalty.
    pub fn with_l2_sp(self, start: &State, strength: f64) -> Self {
        let pulled = |name: &str| strength > 0.0 && !self.network.in_head(name) && self.trains(name);
        let origin = start.params.filter(pulled);
        Self { l2_sp: strength, origin, ..self }
    }

    fn trains(&self, name: &str) -> bool {
        match &self.trainable {
            Trainable::All => true,
            Trainable::Head => self.network.in_head(name),
            Trainable::Named(names) => names.contains(name),
        }
    }

    /// Loss and gradient of a batch. Images that don't depend on each other are differentiated some at a time, which takes
    /// less memory.
    fn sum_over_parts(&self, state: &State, batch: &Targeted, at: Draw) -> Result<Part> {
        let leaves = Leaves::new(&state.params.filter(|name| self.trains(name)))?;
        let params = state.params.merged(&leaves.params());
        let len = batch.len()?;
        let at_once = self.at_once(state, batch)?;
        let shared = (at_once < len).then(|| PackedOnce::new(params.iter().map(|(_, weight)| weight)));
        let weight = target_weight(&batch.targets)?;
        let mut sum: Option<Part> = None;
        for first in (0..len).step_by(at_once) {
            let inputs = batch.narrow(first, at_once.min(len - first))?;
            let stream = if first == 0 { "dropout".to_string() } else { format!("dropout from {first}") };
            let mode = Mode { norm: self.norm, dropout: Some(at.rng(&stream)), ..Mode::evaluate() };
            let forward = self.network.forward(&params, &state.buffers, &inputs.inputs, mode)?;
            let part = Part::new(&leaves, forward, &inputs.targets, weight)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => sum.plus(part)?,
            });
        }
        drop(shared);
        sum.ok_or_else(|| LearnError::Invalid("a batch without images has no gradient: give it some".into()))
    }

    /// How many inputs of the batch are differentiated at a time: all where norms use the batch's statistics.
    fn at_once(&self, state: &State, batch: &Targeted) -> Result<usize> {
        const FEWEST: usize = 8;
        /// Bytes of inputs, about.
        const BYTES: usize = 512 << 10;
        let len = batch.len()?.max(1);
        let depend = self.norm == Norm::Batch && !state.buffers.is_empty();
        if depend || batch.inputs.rank() != 4 {
            return Ok(len);
        }
        let bytes = batch.inputs.elem_count() * batch.inputs.dtype().size_in_bytes() / len;
        Ok((BYTES / bytes.max(1)).clamp(FEWEST, len.max(FEWEST)))
    }
}

/// What some inputs of a batch add to its loss and gradient.
struct Part {
    loss: f64,
    slopes: Params,
    /// How many are classified correctly.
    right: f64,
    statistics: BatchStatistics,
}

impl Part {
    fn new(leaves: &Leaves, forward: Forward, targets: &Tensor, weight: f64) -> Result<Self> {
        let loss = cross_entropy_part(&forward.output, targets, weight)?;
        let slopes = leaves.gradient(&loss)?;
        let right = accuracy(&forward.output, &targets.argmax(1)?)? * targets.dim(0)? as f64;
        Ok(Self { loss: loss.to_dtype(DType::F64)?.to_scalar()?, slopes, right, statistics: forward.statistics })
    }

    /// The sum, which has no statistics: those of a batch's parts aren't its own.
    fn plus(self, other: Self) -> Result<Self> {
        Ok(Self {
            loss: self.loss + other.loss,
            slopes: self.slopes.plus(1.0, &other.slopes)?,
            right: self.right + other.right,
            statistics: BatchStatistics::default(),
        })
    }
}

impl Objective for Supervised {
    type Item = Targeted;

    fn gradient(&self, state: &State, batch: &Targeted, at: Draw) -> Result<Gradient> {
        let Part { loss: mut value, slopes, right, statistics } = self.sum_over_parts(state, batch, at)?;
        let params = if self.origin.is_empty() {
            slopes
        } else {
            // ∇ ½β‖θ − θ₀‖² = β (θ − θ₀)
            let moved = self.origin.zip(&state.params, |origin, now| now - origin)?;
            value += 0.5 * self.l2_sp * moved.norm()?.powi(2);
            let pulled = slopes.filter(|name| self.origin.get(name).is_ok()).plus(self.l2_sp, &moved)?;
            slopes.merged(&pulled)
        };
        let buffers = match self.norm {
            Norm::Batch => state.buffers.moved(&statistics)?,
            Norm::Stored => Buffers::default(),
        };
        let metrics = BTreeMap::from([("accuracy", right / batch.len()? as f64)]);
        Ok(Gradient { loss: value, metrics, params, buffers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_models::{Architecture, Head};
    use taper_ops::{cross_entropy_to, rng, uniform};

    #[test]
    fn the_gradient_of_images_some_at_a_time_is_that_of_all_at_once() {
        let backbone = "cifar-resnet20".parse::<Architecture>().unwrap().backbone((3, 64, 64)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 3 });
        let state = network.init(0).unwrap();
        let images = 50;
        let inputs = uniform(&mut rng(0, "images", 0), (images, 3, 64, 64), -1.0, 1.0).unwrap();
        let labels: Vec<u32> = (0..images as u32).map(|image| image % 3).collect();
        let batch = Batch::new(inputs, &labels, 3).unwrap();
        let weights = Tensor::new(&[1f32, 0.0, 2.5], &candle_core::Device::Cpu).unwrap();
        let batch = Targeted::of(&batch, Some(&weights), 0.1).unwrap();

        let leaves = Leaves::new(&state.params).unwrap();
        let forward = network.forward(&leaves.params(), &state.buffers, &batch.inputs, Mode::evaluate()).unwrap();
        let loss = cross_entropy_to(&forward.output, &batch.targets).unwrap();
        let whole = leaves.gradient(&loss).unwrap();

        let objective = Supervised::new(network, Trainable::All, Norm::Stored);
        assert!(objective.at_once(&state, &batch).unwrap() < images);
        let made = objective.gradient(&state, &batch, Draw { seed: 0, step: 0, number: 0 }).unwrap();
        let off = made.params.minus(1.0, &whole).unwrap().norm().unwrap() / whole.norm().unwrap();
        assert!(off < 1e-5, "{off}");
        assert!((made.loss - f64::from(loss.to_scalar::<f32>().unwrap())).abs() < 1e-5, "{}", made.loss);
        let right = accuracy(&forward.output, &batch.targets.argmax(1).unwrap()).unwrap();
        assert!((made.metrics["accuracy"] - right).abs() < 1e-12);
    }

    #[test]
    fn images_differentiated_later_are_dropped_by_other_masks() {
        let backbone = "small-cnn".parse::<Architecture>().unwrap().backbone((1, 28, 28)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 2 });
        let state = network.init(0).unwrap();
        // without norms images don't depend on each other, whatever the norms would use
        let objective = Supervised::new(network, Trainable::All, Norm::Batch);
        let batch = |images: usize| {
            let inputs = Tensor::ones((images, 1, 28, 28), DType::F32, &candle_core::Device::Cpu).unwrap();
            Targeted::of(&Batch::new(inputs, &vec![0; images], 2).unwrap(), None, 0.0).unwrap()
        };
        let at_once = objective.at_once(&state, &batch(1000)).unwrap();
        let whole = batch(2 * at_once);
        assert_eq!(objective.at_once(&state, &whole).unwrap(), at_once);
        let loss = |batch| objective.gradient(&state, batch, Draw { seed: 0, step: 0, number: 0 }).unwrap().loss;
        let (half, whole) = (loss(&batch(at_once)), loss(&whole));
        assert!((half - whole).abs() > 1e-6, "{half} {whole}");
    }
}
