//! Prototypical Networks (Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot
//! Learning").

use crate::embedded::Embedded;
use crate::with_context::WithContext;
use taper_data::Episode;
use taper_learn::heads::{NearestMean, class_means, squared_distances};
use taper_learn::{
    Adapt, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
    training::{Gradient, Objective},
};
use taper_models::{Head, State};

/// Prototypical networks in a registry.
pub const PROTONET: Registered<ProtoNet> = Registered::new();

method_settings! {
    /// Learns an embedding f in which the mean of a class's support is its prototype.
    pub struct ProtoNet {}
}

impl TypedMethod for ProtoNet {
    const INFO: MethodInfo = MethodInfo {
        name: "protonet",
        title: "ProtoNet",
        kind: Kind::Meta,
        paper: "Snell et al. 2017",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    /// Nearest prototype.
    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(NearestMean {}, &state))
    }
}

impl Objective for WithContext<ProtoNet> {
    type Item = Episode;

    /// Eq. 2: −log of the softmax over −d(f(x), cₖ) at the true class, d the squared Euclidean distance.
    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.context, state, episode, at)?;
        // eq. 1: cₖ is the mean of the embedded support of class k
        let prototypes = class_means(&embedded.support, &episode.support.labels, episode.support.ways)?;
        embedded.cross_entropy(&squared_distances(&embedded.query, &prototypes)?.neg()?, episode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, start};

    #[test]
    fn the_gradient_equals_finite_differences_in_every_tensor() {
        for norm in [TaskNorm::Batch, TaskNorm::Support] {
            let (context, state) = start(&ProtoNet {}, norm, 1);
            let error = largest_error(ProtoNet {}.objective(&context).unwrap().as_ref(), &state);
            assert!(error < 1e-7, "{norm}: relative error {error:e}");
        }
    }
}
