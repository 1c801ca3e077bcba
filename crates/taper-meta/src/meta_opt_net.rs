//! MetaOptNet (Lee, Maji, Ravichandran and Soatto 2019, "Meta-Learning with Differentiable Convex
//! Optimization"): a multi-class support vector machine as the head, its quadratic program solved
//! exactly and differentiated through by the implicit function theorem.

use crate::embedded::Embedded;
use crate::svm::dual;
use candle_core::{Device, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{Embedding, LinearOnFeatures};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, OWN, Objective, Result, Setting, Setup, TaskNorm,
    Training, own_params,
};
use taper_models::{Buffers, Head, Network, Params, State};
use taper_ops::linear;

/// MetaOptNet with its support vector machine in the registry.
pub const META_OPT_NET: Method = Method {
    name: "meta-opt-net",
    title: "MetaOptNet, SVM",
    kind: Kind::Meta,
    paper: "Lee et al. 2019",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[Setting { name: "c", default: 0.1, about: "price C of a violated margin" }],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |_| Head::Identity,
        own: |_, _| {
            let scale = Tensor::full(10f32.ln(), (), &Device::Cpu)?;
            let params: Params = [(format!("{OWN}.scale"), scale)].into_iter().collect();
            Ok(State { params, buffers: Buffers::default() })
        },
        objective: |setup| Ok(Box::new(MetaOptNet::of(setup)?)),
    }),
    learner: |setup, state| {
        let own = own_params(&state.params);
        Ok(Box::new(AdaptedMetaOptNet { method: MetaOptNet::of(setup)?, own, embedding: Embedding::of(setup, state) }))
    },
};

/// Learns features on which a support vector machine classifies.
#[derive(Debug, Clone)]
pub struct MetaOptNet {
    network: Network,
    norm: TaskNorm,
    c: f64,
}

impl MetaOptNet {
    fn of(setup: &Setup) -> Result<Self> {
        Ok(Self { network: setup.network.clone(), norm: setup.norm, c: setup.settings.get("c")? })
    }

    /// Weight `(ways, d)` and bias (0) of γ wₖ · x with wₖ = Σᵢ αᵢᵏ xᵢ (eq. 9 and 12). Features are
    /// divided by √d, so that C means the same at any width.
    fn head(&self, own: &Params, features: &Tensor, support: &Batch) -> Result<(Tensor, Tensor)> {
        let width = features.dim(1)? as f64;
        let x = (features / width.sqrt())?;
        let alpha = dual(&x.matmul(&x.t()?.contiguous()?)?, &support.labels, support.ways, self.c)?;
        let weight = alpha.t()?.contiguous()?.matmul(&x)?.broadcast_mul(&own.get("scale")?.exp()?)?;
        Ok(((weight / width.sqrt())?, Tensor::zeros(support.ways, x.dtype(), x.device())?))
    }
}

impl Objective for MetaOptNet {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.network, self.norm, state, episode, at)?;
        let (weight, bias) = self.head(&own_params(&embedded.params), &embedded.support, &episode.support)?;
        embedded.cross_entropy(&linear(&embedded.query, &weight, &bias)?, episode)
    }
}

struct AdaptedMetaOptNet {
    method: MetaOptNet,
    own: Params,
    embedding: Embedding,
}

impl Adapt for AdaptedMetaOptNet {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let (weight, bias) = self.method.head(&self.own, &features, support)?;
        Ok(Box::new(LinearOnFeatures::new(task, weight.detach(), bias)))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, objective, start};

    #[test]
    fn the_gradient_equals_finite_differences_in_every_tensor() {
        for c in [0.1, 2.0] {
            let (setup, state) = start(&META_OPT_NET, TaskNorm::Support, &[("c", c)], 1);
            let error = largest_error(objective(&META_OPT_NET, &setup).as_ref(), &state);
            assert!(error < 1e-6, "C = {c}: relative error {error:e}");
        }
    }
}
