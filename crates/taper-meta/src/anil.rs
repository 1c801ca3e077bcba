//! Almost No Inner Loop (Raghu et al. 2020, "Rapid Learning or Feature Reuse? Towards Understanding
//! the Effectiveness of MAML", section 4): MAML whose inner loop adapts the head only.
//!
//! The features do not change inside a task, so they are computed once, and the inner loop is a few
//! products of small matrices, written out and differentiated through exactly.

use crate::embedded::Embedded;
use crate::inner_loop::widened;
use crate::with_context::WithContext;
use candle_core::Tensor;
use taper_data::{Batch, Episode};
use taper_learn::heads::LinearOnFeatures;
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
    training::{Gradient, Objective},
};
use taper_models::{Network, Params, State};
use taper_ops::{linear, log_softmax, matmul_tn, one_hot};

/// ANIL in a registry.
pub const ANIL: Registered<Anil> = Registered::new();

method_settings! {
    /// Learns features, and a head from which a few gradient steps on it solve a task.
    pub struct Anil {
        /// Learning rate inside a task.
        pub inner_lr: f64 = 0.1;
        /// Gradient steps inside a task, in training.
        pub inner_steps: usize = 3;
        /// Gradient steps inside a task, at inference.
        pub adapt_steps: usize = 10;
    }
}

impl TypedMethod for Anil {
    const INFO: MethodInfo = MethodInfo {
        name: "anil",
        title: "ANIL",
        kind: Kind::Meta,
        paper: "Raghu et al. 2020",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(AdaptedAnil { anil: self.clone(), context: context.clone(), state }))
    }
}

impl Anil {
    /// The head after `steps` of the inner loop on features `(n, d)`: weight `(ways, d)` and bias
    /// `(ways)`.
    fn fitted_head(
        &self,
        params: &Params,
        network: &Network,
        steps: usize,
        features: &Tensor,
        support: &Batch,
    ) -> Result<(Tensor, Tensor)> {
        let name = network.backbone().head_name();
        let ways = support.ways;
        let mut weight = params.get(&format!("{name}.weight"))?.narrow(0, 0, ways)?;
        let mut bias = params.get(&format!("{name}.bias"))?.narrow(0, 0, ways)?;
        let target = one_hot(&support.labels, ways, features.dtype())?;
        let share = 1.0 / support.len() as f64;
        for _ in 0..steps {
            // the cross-entropy's gradient by the logits is (p − y) / n
            let wrong = ((log_softmax(&linear(features, &weight, &bias)?)?.exp()? - &target)? * share)?;
            weight = (&weight - (matmul_tn(&wrong, features)? * self.inner_lr)?)?;
            bias = (&bias - (wrong.sum(0)? * self.inner_lr)?)?;
        }
        Ok((weight, bias))
    }
}

impl Objective for WithContext<Anil> {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let Self { method, context } = self;
        let embedded = Embedded::with_head(context, state, episode, at)?;
        let (params, steps) = (&embedded.params, method.inner_steps);
        let (weight, bias) =
            method.fitted_head(params, &context.network, steps, &embedded.support, &episode.support)?;
        embedded.cross_entropy(&linear(&embedded.query, &weight, &bias)?, episode)
    }
}

struct AdaptedAnil {
    anil: Anil,
    context: Context,
    state: State,
}

impl Adapt for AdaptedAnil {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let Self { anil, context, state } = self;
        let (network, params) = widened(&context.network, &state.params, support.ways)?;
        let (features, task) = context.embedding(state).support(&support.inputs)?;
        let (weight, bias) = anil.fitted_head(&params, &network, anil.adapt_steps, &features, support)?;
        Ok(Box::new(LinearOnFeatures::new(task, weight.detach(), bias.detach())))
    }

    fn transductive(&self) -> bool {
        self.context.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Maml;
    use crate::test_support::{gradient, largest_error, start, task};

    #[test]
    fn the_meta_gradient_equals_finite_differences_in_every_tensor() {
        let anil = Anil { inner_lr: 0.5, ..Anil::default() };
        let (context, state) = start(&anil, TaskNorm::Support, 1);
        let error = largest_error(anil.objective(&context).unwrap().as_ref(), &state);
        assert!(error < 1e-6, "relative error {error:e}");
    }

    #[test]
    fn without_inner_steps_it_is_maml_without_inner_steps() {
        fn loss(method: &impl TypedMethod) -> f64 {
            let (context, state) = start(method, TaskNorm::Support, 1);
            gradient(method.objective(&context).unwrap().as_ref(), &state).loss
        }
        let anil = loss(&Anil { inner_steps: 0, ..Anil::default() });
        assert!((anil - loss(&Maml { inner_steps: 0, ..Maml::default() })).abs() < 1e-12);
    }

    #[test]
    fn the_adapted_head_fits_its_support_better_with_more_steps() {
        let loss = |adapt_steps| {
            let anil = Anil { adapt_steps, inner_lr: 1.0, ..Anil::default() };
            let (context, state) = start(&anil, TaskNorm::Support, 1);
            let support = task().support;
            let logits = anil.learner(&context, state).unwrap().adapt(&support, 0).unwrap().logits(&support.inputs);
            taper_ops::cross_entropy(&logits.unwrap(), &support.labels, 0.0).unwrap().to_scalar::<f64>().unwrap()
        };
        assert!(loss(20) < loss(1));
    }
}
