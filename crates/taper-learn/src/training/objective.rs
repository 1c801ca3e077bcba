//! What a training step differentiates.

use crate::Result;
use std::collections::BTreeMap;
use taper_models::{Buffers, Params, State};
use taper_ops::Rng;

/// Identifies an item of a step, and determines its random choices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The step, from 0.
    pub step: u64,
    /// The item's number in the whole run, from 0.
    pub number: u64,
}

impl Draw {
    /// The item's own generator for one purpose.
    pub fn rng(&self, stream: &str) -> Rng {
        taper_ops::rng(self.seed, stream, self.number)
    }
}

/// One item's loss and gradient.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// The loss, in nats if it is a cross-entropy.
    pub loss: f64,
    /// Other figures by name, such as `accuracy`.
    pub metrics: BTreeMap<&'static str, f64>,
    /// Direction of steepest ascent, for the parameters that are learned; others don't change.
    pub params: Params,
    /// Running statistics after this item.
    pub buffers: Buffers,
}

/// What a training step differentiates: a mini-batch's loss, an episode's meta-loss. Any update
/// direction may take the gradient's place.
pub trait Objective: Sync {
    /// What one gradient is computed on.
    type Item: Send + Sync;

    /// The gradient at `state` over one item.
    ///
    /// # Errors
    /// Returns an error if the item does not fit the network, or an inner loop diverges.
    fn gradient(&self, state: &State, item: &Self::Item, at: Draw) -> Result<Gradient>;
}
