//! Meta-Baseline (Chen, Liu, Xu, Darrell and Wang 2021, "Meta-Baseline: Exploring Simple
//! Meta-Learning for Few-Shot Learning"): an ordinary classifier is trained first, then its features
//! are meta-trained with nearest class mean by cosine, scaled by a learned τ.

use crate::embedded::Embedded;
use crate::with_context::WithContext;
use candle_core::{Device, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{FeatureHead, TaskEmbedding, class_means, unit_length};
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, OWN, Registered, Training, own_params},
    training::{Gradient, Objective},
};
use taper_models::{Buffers, Head, Params, State};

/// Meta-Baseline in a registry.
pub const META_BASELINE: Registered<MetaBaseline> = Registered::new();

method_settings! {
    /// Meta-trains features for nearest class mean by cosine.
    pub struct MetaBaseline {}
}

impl TypedMethod for MetaBaseline {
    const INFO: MethodInfo = MethodInfo {
        name: "meta-baseline",
        title: "Meta-Baseline",
        kind: Kind::Meta,
        paper: "Chen et al. 2021",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: true },
    };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    /// The scale τ.
    fn own(&self, _context: &Context, _seed: u64) -> Result<State> {
        let scale = Tensor::full(10f32, (), &Device::Cpu)?;
        let params: Params = [(format!("{OWN}.scale"), scale)].into_iter().collect();
        Ok(State { params, buffers: Buffers::default() })
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(CosineHead { own: own_params(&state.params) }, &state))
    }
}

/// Eq. 2: τ · cos(f(x), w_c), `(m, ways)`.
fn cosines(own: &Params, query: &Tensor, means: &Tensor) -> Result<Tensor> {
    let cosines = taper_ops::matmul_nt(&unit_length(query)?, &unit_length(means)?)?;
    Ok(cosines.broadcast_mul(own.get("scale")?)?)
}

impl Objective for WithContext<MetaBaseline> {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.context, state, episode, at)?;
        let means = class_means(&embedded.support, &episode.support.labels, episode.support.ways)?;
        embedded.cross_entropy(&cosines(&own_params(&embedded.params), &embedded.query, &means)?, episode)
    }
}

/// Nearest class mean by cosine, with the learned scale.
struct CosineHead {
    own: Params,
}

impl FeatureHead for CosineHead {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let means = class_means(features, &support.labels, support.ways)?;
        Ok(Box::new(CosineMeans { own: self.own.clone(), means, task }))
    }
}

struct CosineMeans {
    own: Params,
    means: Tensor,
    task: TaskEmbedding,
}

impl Classifier for CosineMeans {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(cosines(&self.own, &self.task.query(inputs)?, &self.means)?.detach())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, start};

    #[test]
    fn the_gradient_equals_finite_differences_scale_included() {
        let (context, state) = start(&MetaBaseline {}, TaskNorm::Support, 1);
        let error = largest_error(MetaBaseline {}.objective(&context).unwrap().as_ref(), &state);
        assert!(error < 1e-7, "relative error {error:e}");
    }
}
