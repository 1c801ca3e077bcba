//! Dense matching: a query is assigned to the class whose support images its features match, place by
//! place within a small window and as a whole.
//!
//! The model has no single paper; [`Matching`](taper_models::Matching) describes it and names the
//! closest ones. It learns everything in episodes: the network, the attention that weighs places, the
//! window's shape, and the weights of local and global likeness.

use crate::with_context::WithContext;
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::heads::{FeatureHead, TaskEmbedding};
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod,
    evaluation::accuracy,
    method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
    training::{Gradient, Objective},
};
use taper_models::{Head, Leaves, Likeness, Matching, Mode, Network, State};
use taper_ops::{cross_entropy, one_hot};

/// Dense matching in a registry.
pub const DENSE_MATCHING: Registered<DenseMatching> = Registered::new();

method_settings! {
    /// Learns features that match within a class and not between classes. Training normalizes each
    /// task by all of its images, inference by the context's norm.
    pub struct DenseMatching {}
}

impl TypedMethod for DenseMatching {
    const INFO: MethodInfo = MethodInfo {
        name: "dense-matching",
        title: "Dense matching",
        kind: Kind::Meta,
        paper: "after Li et al. 2019, Hou et al. 2019",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Episodes { pretrained: false },
    };

    fn head(_ways: usize) -> Head {
        Head::Matching { images: 0, outputs: 0 }
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        let head = DenseHead { network: context.network.clone(), state: state.clone() };
        Ok(context.on_features(head, &state))
    }
}

/// Weight of the separate losses of local and of global likeness, in addition to the joint one.
const SINGLE: f64 = 0.3;

impl Objective for WithContext<DenseMatching> {
    type Item = Episode;

    /// Cross-entropy of the queries' logits over the classes, and of the support images' over the
    /// classes of the queries; of both likenesses together, and with a small weight of each separately.
    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let (support, query) = (&episode.support, &episode.query);
        let network = &self.context.network;
        let backbone = network.backbone();
        // without features of places there is no window to learn
        let has_window = backbone.layout().side > 0;
        let leaves = Leaves::new(&state.params.filter(|name| has_window || !name.ends_with(".window")))?;
        let params = leaves.params();
        let images = Tensor::cat(&[&support.inputs, &query.inputs], 0)?;
        let forward = network.forward(&params, &state.buffers, &images, Mode::train(at.rng("dropout")))?;
        let (n, m) = (support.len(), query.len());
        let matching = Matching::new(&params, backbone.head_name(), backbone.layout());
        let (supports, queries) = (forward.features.narrow(0, 0, n)?, forward.features.narrow(0, n, m)?);
        let Likeness { both, local, global } = matching.likeness(&queries, &supports)?;
        let (of_support, of_query) = (members(support, both.dtype())?, members(query, both.dtype())?);
        let mut logits = None;
        let mut loss = None;
        let alone = local.iter().map(|local| (local, SINGLE));
        for (likeness, weight) in std::iter::once((&both, 1.0)).chain(alone).chain([(&global, SINGLE)]) {
            let there = taper_ops::matmul_nt(likeness, &of_support)?;
            let back = taper_ops::matmul_nt(&likeness.t()?, &of_query)?;
            let both_ways = (cross_entropy(&there, &query.labels, 0.0)? + cross_entropy(&back, &support.labels, 0.0)?)?;
            let term = (both_ways * (0.5 * weight))?;
            loss = Some(match loss {
                Some(sum) => (sum + term)?,
                None => term,
            });
            logits.get_or_insert(there);
        }
        let (loss, logits) = (loss.unwrap_or(both), logits.unwrap_or(global));
        Ok(Gradient {
            loss: loss.to_dtype(DType::F64)?.to_scalar()?,
            metrics: BTreeMap::from([("accuracy", accuracy(&logits, &query.labels)?)]),
            params: leaves.gradient(&loss)?,
            buffers: state.buffers.moved(&forward.statistics)?,
        })
    }
}

/// `(ways, n)`: each image's share in its class; 0 for a class without images.
fn members(batch: &Batch, dtype: DType) -> Result<Tensor> {
    let members = one_hot(&batch.labels, batch.ways, dtype)?.t()?.contiguous()?;
    let images = members.sum_keepdim(1)?.maximum(1.0)?;
    Ok(members.broadcast_div(&images)?)
}

/// A trained matching network, which matches queries with a task's support images.
#[derive(Debug, Clone)]
struct DenseHead {
    network: Network,
    state: State,
}

impl FeatureHead for DenseHead {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let members = members(support, features.dtype())?;
        Ok(Box::new(Matched { learner: self.clone(), task, features: features.clone(), members }))
    }
}

struct Matched {
    learner: DenseHead,
    task: TaskEmbedding,
    /// `(n, d)`.
    features: Tensor,
    /// `(ways, n)`.
    members: Tensor,
}

impl Classifier for Matched {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let DenseHead { network, state } = &self.learner;
        let matching = Matching::new(&state.params, network.backbone().head_name(), network.backbone().layout());
        Ok(matching.logits(&self.task.query(inputs)?, &self.features, &self.members)?)
    }

    fn network(&self) -> Result<(Network, State)> {
        let DenseHead { network, state } = &self.learner;
        let name = network.backbone().head_name();
        let kept = [("support", &self.features), ("members", &self.members)];
        let kept = kept.map(|(number, tensor)| (format!("{name}.{number}"), tensor.clone())).into_iter().collect();
        let learned = state.params.filter(|name| network.in_head(name));
        let head = Head::Matching { images: self.features.dim(0)?, outputs: self.members.dim(0)? };
        self.task.with_head(head, &learned.merged(&kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_models::{Architecture, Params};
    use taper_ops::{normal, rng};

    /// A 3-way task of noise with unequal shots, and a narrow network.
    fn task(dtype: DType) -> (Network, State, Episode) {
        let backbone = "stroke-net-6".parse::<Architecture>().unwrap().backbone((1, 35, 35)).unwrap();
        let network = Network::new(backbone, Head::Matching { images: 0, outputs: 0 });
        let state = network.init(1).unwrap().to_dtype(dtype).unwrap();
        let batch = |stream, labels: &[u32]| {
            let images = normal(&mut rng(0, stream, 0), (labels.len(), 1, 35, 35), 1.0).unwrap();
            Batch::new(images.to_dtype(dtype).unwrap(), labels, 3).unwrap()
        };
        let (support, query) = (batch("support", &[0, 1, 1, 2]), batch("query", &[0, 1, 2, 2, 0]));
        let episode =
            Episode { support, query, query_images: (0..5).collect(), classes: vec![0, 1, 2], source: "noise".into() };
        (network, state, episode)
    }

    #[test]
    fn the_gradient_equals_finite_differences_in_every_tensor() {
        let (network, state, episode) = task(DType::F64);
        let objective = DenseMatching {}.objective(&Context::new(network, TaskNorm::Stored)).unwrap();
        let at = Draw { seed: 0, step: 0, number: 0 };
        let gradient = objective.gradient(&state, &episode, at).unwrap().params;
        for (index, (name, slope)) in gradient.iter().enumerate() {
            let direction = normal(&mut rng(5, "direction", index as u64), slope.shape().clone(), 1.0).unwrap();
            let direction = direction.to_dtype(DType::F64).unwrap();
            let loss_at = |h: f64| {
                let moved = (state.params.get(name).unwrap() + (&direction * h).unwrap()).unwrap();
                let moved: Params = [(name.to_string(), moved)].into_iter().collect();
                let state = State { params: state.params.merged(&moved), buffers: state.buffers.clone() };
                objective.gradient(&state, &episode, at).unwrap().loss
            };
            let h = 1e-6;
            let numeric = (loss_at(h) - loss_at(-h)) / (2.0 * h);
            let exact = (slope * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            let error = (exact - numeric).abs() / numeric.abs().max(1e-2);
            assert!(error < 1e-6, "{name}: {exact} for {numeric}");
        }
    }

    #[test]
    fn the_kept_network_gives_the_learner_s_logits_and_each_query_stands_alone() {
        let (network, state, episode) = task(DType::F32);
        let learner = DenseMatching {}.learner(&Context::new(network, TaskNorm::Stored), state).unwrap();
        let classifier = learner.adapt(&episode.support, 0).unwrap();
        let rows = |tensor: &Tensor| tensor.to_vec2::<f32>().unwrap();
        let logits = rows(&classifier.logits(&episode.query.inputs).unwrap());
        let (network, kept) = classifier.network().unwrap();
        network.check(&kept).unwrap();
        assert_eq!(rows(&network.logits(&kept, &episode.query.inputs).unwrap()), logits);
        let alone = rows(&classifier.logits(&episode.query.inputs.narrow(0, 3, 1).unwrap()).unwrap());
        assert!(alone[0].iter().zip(&logits[3]).all(|(a, b)| (a - b).abs() < 1e-4), "{alone:?} {:?}", logits[3]);
    }
}
