//! Nearest class mean: Prototypical Networks' classifier (Snell et al. 2017, eq. 1 and 2), and the
//! plainest head on any features.

use super::embedding::{Embedding, TaskEmbedding};
use crate::{Adapt, Classifier, Kind, Method, Result, TaskNorm, Training};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::{Network, State};
use taper_ops::one_hot;

/// Nearest class mean on the features of an ordinary classifier.
pub const NEAREST_MEAN: Method = Method {
    name: "nearest-mean",
    title: "pretrained + nearest mean",
    kind: Kind::Transfer,
    paper: "Mensink et al. 2013",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: &[],
    training: Training::Pretraining,
    learner: |setup, state| Ok(Box::new(NearestMean::new(Embedding::of(setup, state)))),
};

/// Classifies by squared distance to the means of the classes' support features.
#[derive(Debug, Clone)]
pub struct NearestMean {
    embedding: Embedding,
}

impl NearestMean {
    /// On the features of `embedding`.
    pub fn new(embedding: Embedding) -> Self {
        Self { embedding }
    }
}

impl Adapt for NearestMean {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        Ok(Box::new(Prototypes { means: class_means(&features, &support.labels, support.ways)?, task }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

struct Prototypes {
    means: Tensor,
    task: TaskEmbedding,
}

impl Classifier for Prototypes {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(squared_distances(&self.task.query(inputs)?, &self.means)?.neg()?)
    }

    /// −‖z − c‖² is 2c·z − ‖c‖² up to ‖z‖², which a softmax doesn't see (Snell et al., eq. 8).
    fn network(&self) -> Result<(Network, State)> {
        self.task.with_linear_head(&(&self.means * 2.0)?, &self.means.sqr()?.sum(1)?.neg()?)
    }
}

/// Means of `features (n, d)` by class: `(ways, d)`. Shots may differ from class to class.
pub fn class_means(features: &Tensor, labels: &Tensor, ways: usize) -> Result<Tensor> {
    let members = one_hot(labels, ways, features.dtype())?.t()?.contiguous()?;
    let counts = members.sum_keepdim(1)?;
    Ok(members.matmul(features)?.broadcast_div(&counts)?)
}

/// Squared Euclidean distances of `a (n, d)` from `b (m, d)`: `(n, m)`.
pub fn squared_distances(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let cross = a.matmul(&b.t()?)?;
    let (a2, b2) = (a.sqr()?.sum_keepdim(1)?, b.sqr()?.sum_keepdim(1)?.t()?);
    Ok((cross * -2.0)?.broadcast_add(&a2)?.broadcast_add(&b2)?)
}
