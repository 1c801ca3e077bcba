//! Relation Networks (Sung et al. 2018, "Learning to Compare: Relation Network for Few-Shot
//! Learning"): a learned module scores how well a query fits a class, trained by squared error.
//!
//! Features are vectors here (Conv4 leaves one pixel of 28x28), so the relation module g is the
//! fully connected part of the paper's, on the class's and the query's features side by side; a
//! class of several shots is their mean, the paper's sum up to a factor.

use crate::embedded::Embedded;
use candle_core::Tensor;
use taper_data::{Batch, Episode};
use taper_learn::heads::{Embedding, TaskEmbedding, class_means};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, OWN, Objective, Result, Setting, Setup, TaskNorm,
    Training, own_params,
};
use taper_models::{Buffers, Head, Network, Params, State};
use taper_ops::{linear, one_hot, relu, rng, uniform};

/// Relation networks in the registry.
pub const RELATION: Method = Method {
    name: "relation",
    title: "Relation Network",
    kind: Kind::Meta,
    paper: "Sung et al. 2018",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[Setting { name: "hidden", default: 64.0, about: "hidden units of the relation module" }],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |_| Head::Identity,
        own,
        objective: |setup| Ok(Box::new(Relation { network: setup.network.clone(), norm: setup.norm })),
    }),
    learner: |setup, state| {
        let own = own_params(&state.params);
        Ok(Box::new(AdaptedRelation { own, embedding: Embedding::of(setup, state) }))
    },
};

/// Two layers, as PyTorch begins them.
fn own(setup: &Setup, seed: u64) -> Result<State> {
    let (d, hidden) = (setup.network.backbone().width(), setup.settings.count("hidden")?);
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

/// Learns an embedding f and a relation module g.
#[derive(Debug, Clone)]
pub struct Relation {
    network: Network,
    norm: TaskNorm,
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

impl Objective for Relation {
    type Item = Episode;

    /// Eq. 2: Σ (r − 1(same class))², r through a sigmoid; here its mean.
    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.network, self.norm, state, episode, at)?;
        let classes = class_means(&embedded.support, &episode.support.labels, episode.support.ways)?;
        let scores = scores(&own_params(&embedded.params), &embedded.query, &classes)?;
        let relation = (scores.neg()?.exp()? + 1.0)?.recip()?;
        let target = one_hot(&episode.query.labels, episode.query.ways, relation.dtype())?;
        embedded.loss(&(relation - target)?.sqr()?.mean_all()?, &scores, episode)
    }
}

struct AdaptedRelation {
    own: Params,
    embedding: Embedding,
}

impl Adapt for AdaptedRelation {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let classes = class_means(&features, &support.labels, support.ways)?;
        Ok(Box::new(Related { own: self.own.clone(), classes, task }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
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
    use crate::test_support::{largest_error, objective, start};

    #[test]
    fn the_gradient_equals_finite_differences_in_every_tensor() {
        let (setup, state) = start(&RELATION, TaskNorm::Support, &[("hidden", 8.0)], 1);
        let error = largest_error(objective(&RELATION, &setup).as_ref(), &state);
        assert!(error < 1e-7, "relative error {error:e}");
    }
}
