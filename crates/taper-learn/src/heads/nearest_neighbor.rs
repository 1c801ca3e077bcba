//! The nearest support image by its pixels: the floor that every learner has to beat.

use super::nearest_mean::squared_distances;
use crate::{
    Adapt, Classifier, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::{D, Tensor};
use taper_data::Batch;
use taper_models::State;
use taper_ops::one_hot;

/// The nearest support image by its pixels, in a registry.
pub const PIXELS: Registered<Pixels> = Registered::new();

method_settings! {
    /// The method whose learner is [`NearestNeighbor`].
    pub struct Pixels {}
}

impl TypedMethod for Pixels {
    const INFO: MethodInfo = MethodInfo {
        name: "pixels",
        title: "pixels, nearest neighbor",
        kind: Kind::Floor,
        paper: "Cover and Hart 1967",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Nothing,
    };

    fn learner(&self, _context: &Context, _state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(NearestNeighbor))
    }
}

/// Classifies by the nearest support image, pixels against pixels; learns nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NearestNeighbor;

impl Adapt for NearestNeighbor {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let inputs = support.inputs.flatten_from(1)?;
        let members = one_hot(&support.labels, support.ways, inputs.dtype())?;
        Ok(Box::new(Neighbors { inputs, members }))
    }
}

struct Neighbors {
    /// `(n, d)`.
    inputs: Tensor,
    /// `(n, ways)`, one-hot.
    members: Tensor,
}

impl Classifier for Neighbors {
    /// For each class, minus the squared distance to its nearest support image.
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let distances = squared_distances(&inputs.flatten_from(1)?, &self.inputs)?;
        let far = (self.members.affine(-1.0, 1.0)? * 1e30)?;
        let by_class = distances.unsqueeze(2)?.broadcast_add(&far.unsqueeze(0)?)?;
        Ok(by_class.transpose(1, 2)?.contiguous()?.min(D::Minus1)?.neg()?)
    }
}
