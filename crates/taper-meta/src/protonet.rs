//! Prototypical Networks (Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot
//! Learning").

use std::collections::BTreeMap;
use taper_data::Episode;
use taper_learn::heads::{Embedding, NearestMean, class_means, squared_distances};
use taper_learn::{
    Draw, Episodic, Gradient, Kind, Method, Objective, Result, TaskNorm, Training, accuracy, nothing_beside,
};
use taper_models::{Head, Leaves, Network, State};
use taper_ops::cross_entropy;

/// Prototypical networks in the registry.
pub const PROTONET: Method = Method {
    name: "protonet",
    title: "ProtoNet",
    kind: Kind::Meta,
    paper: "Snell et al. 2017",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |_| Head::Identity,
        own: nothing_beside,
        objective: |setup| Ok(Box::new(ProtoNet::new(setup.network.clone(), setup.norm))),
    }),
    learner: |setup, state| Ok(Box::new(ProtoNet::new(setup.network.clone(), setup.norm).learner(state))),
};

/// Learns an embedding f in which the mean of a class's support is its prototype.
#[derive(Debug, Clone)]
pub struct ProtoNet {
    network: Network,
    norm: TaskNorm,
}

impl ProtoNet {
    /// On the features of `network`, whose head is not used.
    pub fn new(network: Network, norm: TaskNorm) -> Self {
        Self { network, norm }
    }

    /// The learner that a trained state is: nearest prototype.
    pub fn learner(&self, state: State) -> NearestMean {
        NearestMean::new(Embedding::new(self.network.clone(), state, self.norm))
    }
}

impl Objective for ProtoNet {
    type Item = Episode;

    /// Eq. 2: −log of the softmax over −d(f(x), cₖ) at the true class, d the squared Euclidean distance.
    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let (support, query) = (&episode.support, &episode.query);
        let leaves = Leaves::new(&state.params.filter(|name| !self.network.in_head(name)))?;
        let params = state.params.merged(&leaves.params());
        let chance = |stream| Some(at.rng(stream));
        let (embedded, statistics) =
            self.norm.support(&self.network, &params, &state.buffers, &support.inputs, chance("support dropout"))?;
        // eq. 1: cₖ is the mean of the embedded support of class k
        let prototypes = class_means(&embedded.features, &support.labels, support.ways)?;
        let embedded = self.norm.query(&self.network, &params, &statistics, &query.inputs, chance("query dropout"))?;
        let logits = squared_distances(&embedded.features, &prototypes)?.neg()?;
        let loss = cross_entropy(&logits, &query.labels, 0.0)?;
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", accuracy(&logits, &query.labels)?)]),
            ..Gradient::of(loss.to_dtype(candle_core::DType::F64)?.to_scalar()?, leaves.gradient(&loss)?)
        })
    }
}
