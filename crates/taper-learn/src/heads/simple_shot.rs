//! SimpleShot (Wang et al. 2019): features centered and normalized to unit length, then the nearest
//! class mean.

use super::embedding::TaskEmbedding;
use super::nearest_mean::{class_means, squared_distances};
use super::on_features::FeatureHead;
use super::unit_length::unit_length;
use crate::{
    Adapt, Classifier, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::State;

/// SimpleShot on the features of an ordinary classifier, in a registry.
pub const SIMPLE_SHOT: Registered<SimpleShot> = Registered::new();

method_settings! {
    /// The paper's CL2N, centered by the support set's mean, because there may be no base classes.
    pub struct SimpleShot {}
}

impl TypedMethod for SimpleShot {
    const INFO: MethodInfo = MethodInfo {
        name: "simple-shot",
        title: "pretrained + SimpleShot",
        kind: Kind::Transfer,
        paper: "Wang et al. 2019",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(self.clone(), &state))
    }
}

impl FeatureHead for SimpleShot {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let center = features.mean_keepdim(0)?;
        let unit = centered_unit(features, &center)?;
        Ok(Box::new(Centered { means: class_means(&unit, &support.labels, support.ways)?, center, task }))
    }
}

struct Centered {
    /// `(1, d)`.
    center: Tensor,
    /// `(ways, d)`.
    means: Tensor,
    task: TaskEmbedding,
}

impl Classifier for Centered {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let unit = centered_unit(&self.task.query(inputs)?, &self.center)?;
        Ok(squared_distances(&unit, &self.means)?.neg()?)
    }
}

/// `features (n, d)` less `center`, each of unit length; a feature at the center stays zero.
fn centered_unit(features: &Tensor, center: &Tensor) -> Result<Tensor> {
    unit_length(&features.broadcast_sub(center)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn direction_from_the_center_counts_and_length_does_not() {
        let features = Tensor::new(&[[1f32, 0.0], [4.0, 3.0]], &Device::Cpu).unwrap();
        let center = Tensor::new(&[[1f32, -1.0]], &Device::Cpu).unwrap();
        let unit = centered_unit(&features, &center).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(unit, [[0.0, 1.0], [0.6, 0.8]]);
        assert_eq!(centered_unit(&center, &center).unwrap().to_vec2::<f32>().unwrap(), [[0.0, 0.0]]);
    }
}
