//! A linear classifier on a frozen network's features.

use super::embedding::TaskEmbedding;
use crate::{Classifier, Result};
use candle_core::Tensor;
use taper_models::{Network, State};

/// Logits `features · weightᵀ + bias`, on a frozen network's features.
#[derive(Debug, Clone)]
pub struct LinearOnFeatures {
    task: TaskEmbedding,
    weight: Tensor,
    bias: Tensor,
}

impl LinearOnFeatures {
    /// With `weight (ways, d)` and `bias (ways)`, on a task's features.
    pub fn new(task: TaskEmbedding, weight: Tensor, bias: Tensor) -> Self {
        Self { task, weight, bias }
    }
}

impl Classifier for LinearOnFeatures {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(taper_ops::linear(&self.task.query(inputs)?, &self.weight, &self.bias)?)
    }

    fn network(&self) -> Result<(Network, State)> {
        self.task.with_linear_head(&self.weight, &self.bias)
    }
}
