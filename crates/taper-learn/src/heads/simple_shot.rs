//! SimpleShot (Wang et al. 2019): features centred and brought to unit length, then the nearest
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

/// The paper's CL2N, centred by the support set's mean: there need be no base classes.
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
        let centre = features.mean_keepdim(0)?;
        let unit = centred_unit(&features, &centre)?;
        Ok(Box::new(Centred { means: class_means(&unit, &support.labels, support.ways)?, centre, task }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

struct Centred {
    /// `(1, d)`.
    centre: Tensor,
    /// `(ways, d)`.
    means: Tensor,
    task: TaskEmbedding,
}

impl Classifier for Centred {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let unit = centred_unit(&self.task.query(inputs)?, &self.centre)?;
        Ok(squared_distances(&unit, &self.means)?.neg()?)
    }
}

/// `features (n, d)` less `centre`, each of unit length; a feature at the centre stays zero.
fn centred_unit(features: &Tensor, centre: &Tensor) -> Result<Tensor> {
    let centred = features.broadcast_sub(centre)?;
    let lengths = centred.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
    Ok(centred.broadcast_div(&lengths)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn direction_from_the_centre_counts_and_length_does_not() {
        let features = Tensor::new(&[[1f32, 0.0], [4.0, 3.0]], &Device::Cpu).unwrap();
        let centre = Tensor::new(&[[1f32, -1.0]], &Device::Cpu).unwrap();
        let unit = centred_unit(&features, &centre).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(unit, [[0.0, 1.0], [0.6, 0.8]]);
        assert_eq!(centred_unit(&centre, &centre).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.0]]);
    }
}
