//! MetaOptNet (Lee, Maji, Ravichandran and Soatto 2019, "Meta-Learning with Differentiable Convex
//! Optimization"): a multi-class support vector machine as the head, its quadratic program solved
//! exactly and differentiated through by the implicit function theorem.

use crate::embedded::Embedded;
use crate::svm::dual;
use crate::with_context::WithContext;
use candle_core::{Device, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{FeatureHead, LinearOnFeatures, TaskEmbedding};
use taper_learn::{
    Adapt, Classifier, Context, Draw, LearnError, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, OWN, Registered, Training, own_params},
    training::{Gradient, Objective},
};
use taper_models::{Buffers, Head, Params, State};
use taper_ops::{linear, matmul_nt, matmul_tn};

/// MetaOptNet with its support vector machine in a registry.
pub const META_OPT_NET: Registered<MetaOptNet> = Registered::new();

method_settings! {
    /// Learns features on which a support vector machine classifies.
    pub struct MetaOptNet {
        /// Penalty C of margin violations.
        pub c: f64 = 0.1;
    }
}

impl TypedMethod for MetaOptNet {
    const INFO: MethodInfo = MethodInfo {
        name: "meta-opt-net",
        title: "MetaOptNet, SVM",
        kind: Kind::Meta,
        paper: "Lee et al. 2019",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    fn check(&self) -> Result<()> {
        match self.c > 0.0 {
            true => Ok(()),
            false => Err(LearnError::Invalid(format!("the SVM penalty C is {}: it must be above 0", self.c))),
        }
    }

    /// The scale γ, as its logarithm.
    fn own(&self, _context: &Context, _seed: u64) -> Result<State> {
        let scale = Tensor::full(10f32.ln(), (), &Device::Cpu)?;
        let params: Params = [(format!("{OWN}.scale"), scale)].into_iter().collect();
        Ok(State { params, buffers: Buffers::default() })
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        let head = SupportVectorHead { method: self.clone(), own: own_params(&state.params) };
        Ok(context.on_features(head, &state))
    }
}

impl MetaOptNet {
    /// Weight `(ways, d)` and bias (0) of γ wₖ · x with wₖ = Σᵢ αᵢᵏ xᵢ (eq. 9 and 12). Features are
    /// divided by √d, so that C means the same at any width.
    fn fitted_head(&self, own: &Params, features: &Tensor, support: &Batch) -> Result<(Tensor, Tensor)> {
        let width = features.dim(1)? as f64;
        let x = (features / width.sqrt())?;
        let alpha = dual(&matmul_nt(&x, &x)?, &support.labels, support.ways, self.c)?;
        let weight = matmul_tn(&alpha, &x)?.broadcast_mul(&own.get("scale")?.exp()?)?;
        Ok(((weight / width.sqrt())?, Tensor::zeros(support.ways, x.dtype(), x.device())?))
    }
}

impl Objective for WithContext<MetaOptNet> {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.context, state, episode, at)?;
        let own = own_params(&embedded.params);
        let (weight, bias) = self.method.fitted_head(&own, &embedded.support, &episode.support)?;
        embedded.cross_entropy(&linear(&embedded.query, &weight, &bias)?, episode)
    }
}

/// The machine with its learned scale.
struct SupportVectorHead {
    method: MetaOptNet,
    own: Params,
}

impl FeatureHead for SupportVectorHead {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (weight, bias) = self.method.fitted_head(&self.own, features, support)?;
        Ok(Box::new(LinearOnFeatures::new(task, weight.detach(), bias)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, start};

    #[test]
    fn the_gradient_equals_finite_differences_in_every_tensor() {
        for c in [0.1, 2.0] {
            let method = MetaOptNet { c };
            let (context, state) = start(&method, TaskNorm::Support, 1);
            let error = largest_error(method.objective(&context).unwrap().as_ref(), &state);
            assert!(error < 1e-6, "C = {c}: relative error {error:e}");
        }
    }
}
