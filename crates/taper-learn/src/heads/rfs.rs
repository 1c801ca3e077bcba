//! RFS (Tian, Wang, Krishnan, Tenenbaum and Isola 2020, "Rethinking Few-Shot Image Classification: A
//! Good Embedding Is All You Need?"): an ordinary classifier's features, normalized to unit
//! length, and logistic regression on them.

use super::embedding::TaskEmbedding;
use super::logistic::LogisticRegression;
use super::matrix::Matrix;
use super::on_features::FeatureHead;
use super::penalty::Penalty;
use super::unit_length::unit_length;
use crate::{
    Adapt, Classifier, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::State;

/// RFS in a registry.
pub const RFS: Registered<Rfs> = Registered::new();

method_settings! {
    /// Logistic regression on features of unit length.
    pub struct Rfs {
        /// Inverse strength of the penalty, or cross-validated.
        pub c: Penalty = Penalty::Fixed(1.0);
    }
}

impl TypedMethod for Rfs {
    const INFO: MethodInfo = MethodInfo {
        name: "rfs",
        title: "RFS",
        kind: Kind::Transfer,
        paper: "Tian et al. 2020",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(self.clone(), &state))
    }
}

impl FeatureHead for Rfs {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, seed: u64) -> Result<Box<dyn Classifier>> {
        let rows = Matrix::from_tensor(&unit_length(features)?)?;
        let (weight, bias) = LogisticRegression::new(self.c).solve(&rows, support, seed)?;
        Ok(Box::new(UnitLinear { task, weight, bias }))
    }
}

struct UnitLinear {
    task: TaskEmbedding,
    weight: Tensor,
    bias: Tensor,
}

impl Classifier for UnitLinear {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(taper_ops::linear(&unit_length(&self.task.query(inputs)?)?, &self.weight, &self.bias)?)
    }
}
