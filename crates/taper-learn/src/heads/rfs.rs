//! RFS (Tian, Wang, Krishnan, Tenenbaum and Isola 2020, "Rethinking Few-Shot Image Classification: A
//! Good Embedding Is All You Need?"): an ordinary classifier's features, each brought to unit
//! length, and logistic regression on them.

use super::decomposition::Decomposition;
use super::dense::Matrix;
use super::embedding::{Embedding, TaskEmbedding};
use super::logistic::fitted;
use crate::{Adapt, Classifier, Deadline, Kind, Method, Result, Setting, TaskNorm, Training};
use candle_core::{D, Tensor};
use taper_data::Batch;

/// RFS in the registry.
pub const RFS: Method = Method {
    name: "rfs",
    title: "RFS",
    kind: Kind::Transfer,
    paper: "Tian et al. 2020",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: &[Setting { name: "c", default: 1.0, about: "inverse strength of the penalty" }],
    training: Training::Pretraining,
    learner: |setup, state| Ok(Box::new(Rfs { embedding: Embedding::of(setup, state), c: setup.settings.get("c")? })),
};

/// Logistic regression on features of unit length.
#[derive(Debug, Clone)]
pub struct Rfs {
    embedding: Embedding,
    c: f64,
}

/// Each row divided by its length.
fn unit(features: &Tensor) -> Result<Tensor> {
    let lengths = features.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    Ok(features.broadcast_div(&lengths)?)
}

impl Adapt for Rfs {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let thin = Decomposition::new(&Matrix::from_tensor(&unit(&features)?)?)?;
        let (weight, bias) =
            fitted(&thin, support.labels.to_vec1::<u32>()?, support.ways, self.c, Deadline::default())?;
        Ok(Box::new(UnitLinear { task, weight, bias }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

struct UnitLinear {
    task: TaskEmbedding,
    weight: Tensor,
    bias: Tensor,
}

impl Classifier for UnitLinear {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(taper_ops::linear(&unit(&self.task.query(inputs)?)?, &self.weight, &self.bias)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_length_of_a_feature_does_not_count() {
        let features = Tensor::new(&[[3f32, 4.0], [0.3, 0.4], [0.0, 0.0]], &Device::Cpu).unwrap();
        let rows = unit(&features).unwrap().to_vec2::<f32>().unwrap();
        assert!(rows[0].iter().zip(&rows[1]).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(rows[2], [0.0, 0.0]);
    }
}
