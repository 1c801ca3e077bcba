//! Relation Networks (Sung et al. 2018, "Learning to Compare: Relation Network for Few-Shot
//! Learning"): a learned module scores how well a query fits a class, trained by squared error.
//!
//! Features are vectors here (Conv4 leaves one pixel of 28x28), so the relation module g is the
//! fully connected part of the paper's, on the concatenated features of class and query; a
//! class of several shots is their mean, which is the paper's sum up to a factor.

use crate::embedded::Embedded;
use crate::with_context::WithContext;
use candle_core::Tensor;
use taper_data::{Batch, Episode};
use taper_learn::heads::{FeatureHead, TaskEmbedding, class_means};
use taper_learn::{
    Adapt, Classifier, Context, Draw, LearnError, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, OWN, Registered, Training, own_params},
    training::{Gradient, Objective},
};
use taper_models::{Buffers, Head, Params, State};
use taper_ops::{linear, one_hot, relu, rng, uniform};

/// Relation networks in a registry.
pub const RELATION: Registered<Relation> = Registered::new();

method_settings! {
    /// Learns an embedding f and a relation module g.
    pub struct Relation {
        /// Hidden units of the relation module.
        pub hidden: usize = 64;
    }
}

impl TypedMethod for Relation {
    const INFO: MethodInfo = MethodInfo {
        name: "relation",
        title: "Relation Network",
        kind: Kind::Meta,
        paper: "Sung et al. 2018",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    fn check(&self) -> Result<()> {
        match self.hidden {
            0 => Err(LearnError::Invalid("the relation module has 0 hidden units: use 64".into())),
            _ => Ok(()),
        }
    }

    /// Two layers, as PyTorch initializes them.
    fn own(&self, context: &Context, seed: u64) -> Result<State> {
        let (d, hidden) = (context.network.backbone().width(), self.hidden);
        let mut params: Vec<(String, Tensor)> = Vec::new();
        for (layer, inputs, outputs) in [("first", 2 * d, hidden), ("second", hidden, 1)] {
            let bound = 1.0 / (inputs as f32).sqrt();
            for (part, shape) in [("weight", vec![outputs, inputs]), ("bias", vec![outputs])] {
                let name = format!("{OWN}.{layer}.{part}");
                params.push((name.clone(), uniform(&mut rng(seed, &name, 0), shape, -bound, bound)?));
            }
        }
        Ok(State { params: params.into_iter().collect(), buffers: Buffers::default() })
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(RelationHead { own: own_params(&state.params) }, &state))
    }
}

/// Relation scores r = g([class, query]) before the sigmoid, `(m, ways)` (eq. 1).
fn scores(own: &Params, query: &Tensor, classes: &Tensor) -> Result<Tensor> {
    let ((m, d), ways) = (query.dims2()?, classes.dim(0)?);
    let queries = query.unsqueeze(1)?.broadcast_as((m, ways, d))?;
    let classes = classes.unsqueeze(0)?.broadcast_as((m, ways, d))?;
    let pairs = Tensor::cat(&[classes, queries], 2)?.reshape((m * ways, 2 * d))?;
    let hidden = relu(&linear(&pairs, own.get("first.weight")?, own.get("first.bias")?)?)?;
    Ok(linear(&hidden, own.get("second.weight")?, own.get("second.bias")?)?.reshape((m, ways))?)
}

impl Objective for WithContext<Relation> {
    type Item = Episode;

    /// Eq. 2: Σ (r − 1(same class))², r through a sigmoid; here its mean.
    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.context, state, episode, at)?;
        let classes = class_means(&embedded.support, &episode.support.labels, episode.support.ways)?;
        let scores = scores(&own_params(&embedded.params), &embedded.query, &classes)?;
        let relation = taper_ops::sigmoid(&scores)?;
        let target = one_hot(&episode.query.labels, episode.query.ways, relation.dtype())?;
        embedded.loss(&(relation - target)?.sqr()?.mean_all()?, &scores, episode)
    }
}

/// The trained relation module.
struct RelationHead {
    own: Params,
}

impl FeatureHead for RelationHead {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let classes = class_means(features, &support.labels, support.ways)?;
        Ok(Box::new(Related { own: self.own.clone(), classes, task }))
    }
}

struct Related {
    own: Params,
    classes: Tensor,
    task: TaskEmbedding,
}

impl Classifier for Related {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(scores(&self.own, &self.task.query(inputs)?, &self.classes)?.detach())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{gradient, largest_error, start};

    #[test]
    fn the_gradient_equals_finite_differences_in_every_tensor() {
        let method = Relation { hidden: 8 };
        let (context, state) = start(&method, TaskNorm::Support, 1);
        let error = largest_error(method.objective(&context).unwrap().as_ref(), &state);
        assert!(error < 1e-7, "relative error {error:e}");
    }

    #[test]
    fn scores_far_from_zero_have_a_finite_gradient() {
        let method = Relation { hidden: 8 };
        let (context, state) = start(&method, TaskNorm::Support, 1);
        for factor in [-1e6, 1e6] {
            let large = |name: &str| (state.params.get(name).unwrap() * factor).unwrap();
            let names = ["second.weight", "second.bias"].map(|part| format!("{OWN}.{part}"));
            let moved: taper_models::Params = names.iter().map(|name| (name.clone(), large(name))).collect();
            let state = State { params: state.params.merged(&moved), buffers: state.buffers.clone() };
            let found = gradient(method.objective(&context).unwrap().as_ref(), &state);
            assert!(found.loss.is_finite());
            for (name, slope) in found.params.iter() {
                let total = slope.abs().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
                assert!(total.is_finite(), "{name}: {total}");
            }
        }
    }
}
