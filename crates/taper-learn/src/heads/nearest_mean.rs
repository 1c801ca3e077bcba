//! Nearest class mean: Prototypical Networks' classifier (Snell et al. 2017, eq. 1 and 2), and the
//! simplest head on any features.

use super::embedding::TaskEmbedding;
use super::on_features::FeatureHead;
use crate::{
    Adapt, Classifier, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::{Network, State};
use taper_ops::{matmul, matmul_nt, one_hot};

/// Nearest class mean on the features of an ordinary classifier, in a registry.
pub const NEAREST_MEAN: Registered<NearestMean> = Registered::new();

method_settings! {
    /// Classifies by squared distance to the means of the classes' support features.
    pub struct NearestMean {}
}

impl TypedMethod for NearestMean {
    const INFO: MethodInfo = MethodInfo {
        name: "nearest-mean",
        title: "pretrained + nearest mean",
        kind: Kind::Transfer,
        paper: "Mensink et al. 2013",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(self.clone(), &state))
    }
}

impl FeatureHead for NearestMean {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        Ok(Box::new(Prototypes { means: class_means(features, &support.labels, support.ways)?, task }))
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

    /// −‖z − c‖² is 2c·z − ‖c‖² up to ‖z‖², which a softmax doesn't depend on (Snell et al., eq. 8).
    fn network(&self) -> Result<(Network, State)> {
        self.task.with_linear_head(&(&self.means * 2.0)?, &self.means.sqr()?.sum(1)?.neg()?)
    }
}

/// Means of `features (n, d)` by class: `(ways, d)`. Shots may differ from class to class.
///
/// # Errors
/// Returns an error if the shapes don't match. A class without rows has a mean of NaN.
pub fn class_means(features: &Tensor, labels: &Tensor, ways: usize) -> Result<Tensor> {
    let members = one_hot(labels, ways, features.dtype())?.t()?.contiguous()?;
    let counts = members.sum_keepdim(1)?;
    Ok(matmul(&members, features)?.broadcast_div(&counts)?)
}

/// Squared Euclidean distances of `a (n, d)` from `b (m, d)`: `(n, m)`.
///
/// # Errors
/// Returns an error if the widths differ.
pub fn squared_distances(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let cross = matmul_nt(a, b)?;
    let (a2, b2) = (a.sqr()?.sum_keepdim(1)?, b.sqr()?.sum_keepdim(1)?.t()?);
    Ok((cross * -2.0)?.broadcast_add(&a2)?.broadcast_add(&b2)?)
}
