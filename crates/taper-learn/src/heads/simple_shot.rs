//! SimpleShot (Wang et al. 2019): features centerd and brought to unit length, then the nearest
//! class mean.

use super::embedding::{Embedding, TaskEmbedding};
use super::nearest_mean::{class_means, squared_distances};
use crate::{Adapt, Classifier, Kind, Method, Result, TaskNorm, Training};
use candle_core::Tensor;
use taper_data::Batch;

/// SimpleShot on the features of an ordinary classifier.
pub const SIMPLE_SHOT: Method = Method {
    name: "simple-shot",
    title: "pretrained + SimpleShot",
    kind: Kind::Transfer,
    paper: "Wang et al. 2019",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: &[],
    training: Training::Pretraining,
    learner: |setup, state| Ok(Box::new(SimpleShot::new(Embedding::of(setup, state)))),
};

/// The paper's CL2N, centerd by the support set's mean: there need be no base classes.
#[derive(Debug, Clone)]
pub struct SimpleShot {
    embedding: Embedding,
}

impl SimpleShot {
    /// On the features of `embedding`.
    pub fn new(embedding: Embedding) -> Self {
        Self { embedding }
    }
}

impl Adapt for SimpleShot {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let center = features.mean_keepdim(0)?;
        let unit = centerd_unit(&features, &center)?;
        Ok(Box::new(Centerd { means: class_means(&unit, &support.labels, support.ways)?, center, task }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

struct Centerd {
    /// `(1, d)`.
    center: Tensor,
    /// `(ways, d)`.
    means: Tensor,
    task: TaskEmbedding,
}

impl Classifier for Centerd {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let unit = centerd_unit(&self.task.query(inputs)?, &self.center)?;
        Ok(squared_distances(&unit, &self.means)?.neg()?)
    }
}

/// `features (n, d)` less `center`, each of unit length; a feature at the center stays zero.
fn centerd_unit(features: &Tensor, center: &Tensor) -> Result<Tensor> {
    let centerd = features.broadcast_sub(center)?;
    let lengths = centerd.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
    Ok(centerd.broadcast_div(&lengths)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn direction_from_the_center_counts_and_length_does_not() {
        let features = Tensor::new(&[[1f32, 0.0], [4.0, 3.0]], &Device::Cpu).unwrap();
        let center = Tensor::new(&[[1f32, -1.0]], &Device::Cpu).unwrap();
        let unit = centerd_unit(&features, &center).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(unit, [[0.0, 1.0], [0.6, 0.8]]);
        assert_eq!(centerd_unit(&center, &center).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.0]]);
    }
}
