//! What all methods have in common: support set in, classifier out.

use crate::{LearnError, Result};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::{Network, State};

/// Something that classifies inputs of one task. Classifying changes nothing.
pub trait Classifier: Send + Sync {
    /// Logits `(n, ways)` of `inputs (n, …)`; a softmax makes them probabilities.
    ///
    /// # Errors
    /// Returns an error if the inputs do not have the shape that the classifier was made for.
    fn logits(&self, inputs: &Tensor) -> Result<Tensor>;

    /// The same classifier as a plain network that uses stored statistics, to be saved and distributed.
    ///
    /// # Errors
    /// Returns an error if no network is equivalent: for a transductive method, or one without a
    /// network.
    fn network(&self) -> Result<(Network, State)> {
        Err(LearnError::Invalid("this classifier is not a network and can't be kept: choose another method".into()))
    }
}

/// A learner, of either kind: it turns a support set into a classifier. The learner
/// itself does not change.
pub trait Adapt: Send + Sync {
    /// A classifier for the classes of `support`; all random choices follow from `seed`.
    ///
    /// # Errors
    /// Returns an error if the support set does not fit the method: a class without images, other
    /// shapes, or values from which its optimization diverges.
    fn adapt(&self, support: &Batch, seed: u64) -> Result<Box<dyn Classifier>>;

    /// Returns `true` if predictions depend on the other queries (transductive inference).
    fn transductive(&self) -> bool {
        false
    }
}
