//! The nearest support image by its pixels: the floor that every learner has to beat.

use crate::{Adapt, Classifier, Kind, Method, Result, TaskNorm, Training, heads::squared_distances};
use candle_core::{D, Tensor};
use taper_data::Batch;
use taper_ops::one_hot;

/// The nearest support image by its pixels.
pub const PIXELS: Method = Method {
    name: "pixels",
    title: "pixels, nearest neighbour",
    kind: Kind::Floor,
    paper: "Cover and Hart 1967",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: &[],
    training: Training::Nothing,
    learner: |_, _| Ok(Box::new(NearestNeighbor)),
};

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
