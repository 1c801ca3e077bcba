//! Meta-SGD (Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot
//! Learning", algorithm 1): MAML that also learns α, a step size and direction for every element.

use crate::inner_loop::{Fitted, InnerLoop, Order, Rate, Step, widened};
use crate::with_context::WithContext;
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, OWN, Registered, Training, network_part, own_params},
    training::{Gradient, Objective},
};
use taper_models::{Buffers, Params, State};
use taper_ops::second_order_probe;

/// Meta-SGD in a registry.
pub const META_SGD: Registered<MetaSgd> = Registered::new();

method_settings! {
    /// Learns an initialization θ and step sizes α.
    pub struct MetaSgd {
        /// Initial value of every α.
        pub inner_lr: f64 = 0.1;
        /// Gradient steps inside a task.
        pub inner_steps: usize = 1;
    }
}

impl TypedMethod for MetaSgd {
    const INFO: MethodInfo = MethodInfo {
        name: "meta-sgd",
        title: "Meta-SGD",
        kind: Kind::Meta,
        paper: "Li et al. 2017",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    /// One α for each element of each parameter.
    fn own(&self, context: &Context, seed: u64) -> Result<State> {
        let rates = context.network.init(seed)?.params.map(|tensor| tensor.ones_like()? * self.inner_lr)?;
        Ok(State { params: rates.prefixed("rate").prefixed(OWN), buffers: Buffers::default() })
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        second_order_probe()?;
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        let inner = InnerLoop::new(context, Order::Second);
        Ok(Box::new(AdaptedMetaSgd { inner, inner_steps: self.inner_steps, state }))
    }
}

fn step(state: &State, rates: Params) -> Step {
    Step::plain(Rate::Each(rates), &state.buffers)
}

impl Objective for WithContext<MetaSgd> {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let inner = InnerLoop::new(&self.context, Order::Second);
        let step = step(state, own_params(&state.params).under("rate"));
        let steps = vec![step.clone(); self.method.inner_steps];
        let start = network_part(state).params;
        let outcome = inner.differentiate(&start, &steps, &Step { weight: 1.0, ..step }, episode)?;
        // one α for all steps: its gradient is their sum
        let mut alpha: Option<Params> = None;
        for step in outcome.steps.into_iter().filter(|step| !step.rate.is_empty()) {
            alpha = Some(match alpha {
                Some(sum) => sum.plus(1.0, &step.rate)?,
                None => step.rate,
            });
        }
        let alpha = alpha.unwrap_or_default().prefixed("rate").prefixed(OWN);
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", outcome.accuracy)]),
            ..Gradient::of(outcome.loss, outcome.start.merged(&alpha))
        })
    }
}

struct AdaptedMetaSgd {
    inner: InnerLoop,
    inner_steps: usize,
    state: State,
}

impl Adapt for AdaptedMetaSgd {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let Self { inner, inner_steps, state } = self;
        let (network, start) = widened(&inner.network, &network_part(state).params, support.ways)?;
        let (_, rates) = widened(&inner.network, &own_params(&state.params).under("rate"), support.ways)?;
        let inner = InnerLoop { network, ..inner.clone() };
        let step = step(state, rates);
        let steps = vec![step.clone(); *inner_steps];
        let params = inner.descend(&start, &steps, support, "")?;
        Ok(Box::new(Fitted { inner, params, step, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.inner.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, start};

    #[test]
    fn the_meta_gradient_equals_finite_differences_learned_rates_included() {
        let method = MetaSgd { inner_steps: 2, ..MetaSgd::default() };
        let (context, state) = start(&method, TaskNorm::Support, 1);
        assert!(state.params.iter().any(|(name, _)| name.starts_with("method.rate.")));
        let error = largest_error(method.objective(&context).unwrap().as_ref(), &state);
        assert!(error < 1e-6, "relative error {error:e}");
    }
}
