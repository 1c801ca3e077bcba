//! Prototypical Networks (Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot
//! Learning").

use crate::embedded::Embedded;
use taper_data::Episode;
use taper_learn::heads::{Embedding, NearestMean, class_means, squared_distances};
use taper_learn::{Draw, Episodic, Gradient, Kind, Method, Objective, Result, TaskNorm, Training, nothing_beside};
use taper_models::{Head, Network, State};

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
        let embedded = Embedded::new(&self.network, self.norm, state, episode, at)?;
        // eq. 1: cₖ is the mean of the embedded support of class k
        let prototypes = class_means(&embedded.support, &episode.support.labels, episode.support.ways)?;
        embedded.cross_entropy(&squared_distances(&embedded.query, &prototypes)?.neg()?, episode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, objective, start};

    #[test]
    fn the_gradient_equals_finite_differences_in_every_tensor() {
        for norm in [TaskNorm::Batch, TaskNorm::Support] {
            let (setup, state) = start(&PROTONET, norm, &[], 1);
            let error = largest_error(objective(&PROTONET, &setup).as_ref(), &state);
            assert!(error < 1e-7, "{norm}: relative error {error:e}");
        }
    }
}
