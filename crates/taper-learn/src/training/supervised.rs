//! Ordinary supervised learning: the cross-entropy of a batch, differentiated with respect to the trained parameters.

use crate::{
    Draw, Result,
    evaluation::accuracy,
    training::{Gradient, Objective},
};
use candle_core::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use taper_data::Batch;
use taper_models::{Buffers, Leaves, Mode, Network, Norm, Params, State};
use taper_ops::{cross_entropy_to, one_hot, smoothed};

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
}

impl Objective for Supervised {
    type Item = Targeted;

    fn gradient(&self, state: &State, batch: &Targeted, at: Draw) -> Result<Gradient> {
        let leaves = Leaves::new(&state.params.filter(|name| self.trains(name)))?;
        let params = state.params.merged(&leaves.params());
        let mode = Mode { norm: self.norm, dropout: Some(at.rng("dropout")), ..Mode::evaluate() };
        let forward = self.network.forward(&params, &state.buffers, &batch.inputs, mode)?;
        let loss = cross_entropy_to(&forward.output, &batch.targets)?;
        let slopes = leaves.gradient(&loss)?;
        let mut value = loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
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
            Norm::Batch => state.buffers.moved(&forward.statistics)?,
            Norm::Stored => Buffers::default(),
        };
        let metrics = BTreeMap::from([("accuracy", accuracy(&forward.output, &batch.targets.argmax(1)?)?)]);
        Ok(Gradient { loss: value, metrics, params, buffers })
    }
}
