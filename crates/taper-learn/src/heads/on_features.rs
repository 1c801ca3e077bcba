//! Heads on the features of a frozen network.

use super::{Embedding, TaskEmbedding};
use crate::{Adapt, Classifier, Result};
use candle_core::Tensor;
use taper_data::Batch;

/// Makes a classifier from features: the trait of this module's heads.
pub trait FeatureHead: Send + Sync {
    /// Fits a classifier to `features (n, d)` of the labeled images `support`; `task`
    /// maps queries to such features, and `seed` seeds all random choices.
    ///
    /// # Errors
    /// Returns an error if a class has no image, or the features allow no solution.
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, seed: u64) -> Result<Box<dyn Classifier>>;

    /// Returns `true` if predictions depend on the other queries (transductive inference).
    fn transductive(&self) -> bool {
        false
    }
}

/// A head on the features of a frozen network.
///
/// ```
/// use taper_data::Batch;
/// use taper_learn::heads::{Embedding, NearestMean, OnFeatures};
/// use taper_learn::{Adapt, TaskNorm};
/// use taper_models::{Architecture, Head, Network};
///
/// let backbone = "conv4-8".parse::<Architecture>()?.backbone((1, 16, 16))?;
/// let network = Network::new(backbone, Head::Identity);
/// let state = network.init(0)?;
/// let learner = OnFeatures::new(NearestMean {}, Embedding::new(network, state, TaskNorm::Stored));
///
/// let images = taper_ops::uniform(&mut taper_ops::rng(0, "images", 0), (4, 1, 16, 16), 0.0, 1.0)?;
/// let classifier = learner.adapt(&Batch::new(images.clone(), &[0, 0, 1, 1], 2)?, 0)?;
/// assert_eq!(classifier.logits(&images)?.dims(), [4, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct OnFeatures<H> {
    head: H,
    embedding: Embedding,
}

impl<H: FeatureHead> OnFeatures<H> {
    /// `head` on the features of `embedding`.
    pub fn new(head: H, embedding: Embedding) -> Self {
        Self { head, embedding }
    }
}

impl<H: FeatureHead> Adapt for OnFeatures<H> {
    fn adapt(&self, support: &Batch, seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        self.head.fit(&features, support, task, seed)
    }

    fn transductive(&self) -> bool {
        self.head.transductive() || self.embedding.norm().transductive()
    }
}
