//! What a method is configured for.

use crate::heads::{Embedding, FeatureHead, OnFeatures};
use crate::{Adapt, TaskNorm};
use taper_models::{Network, State};

/// What a method is configured for: a network, a norm, and the length of its training.
#[derive(Debug, Clone)]
pub struct Context {
    /// The network, with the head that the method learns with ([`TypedMethod::network`](crate::TypedMethod::network)).
    pub network: Network,
    /// Whose statistics normalize a task.
    pub norm: TaskNorm,
    /// Steps of the whole training, for methods that change over it; 0 at inference.
    pub steps: u64,
}

impl Context {
    /// For inference, or for methods whose training is the same at every step.
    pub fn new(network: Network, norm: TaskNorm) -> Self {
        Self { network, norm, steps: 0 }
    }

    /// The features of the network with a trained state.
    pub fn embedding(&self, state: &State) -> Embedding {
        Embedding::of(self, state)
    }

    /// The learner that fits `head` to the features of the network with a trained state.
    pub fn on_features(&self, head: impl FeatureHead + 'static, state: &State) -> Box<dyn Adapt> {
        Box::new(OnFeatures::new(head, self.embedding(state)))
    }
}
