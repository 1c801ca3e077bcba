//! Meta-SGD (Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot
//! Learning", algorithm 1): MAML that also learns α, a step size and direction for every number.

use crate::inner_loop::{Fitted, InnerLoop, Order, Rate, Step, widened};

use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, OWN, Objective, Result, Setting, Setup, TaskNorm,
    Training, network_part, own_params,
};
use taper_models::{Buffers, Head, Network, Params, State};
use taper_ops::second_order_probe;

/// Meta-SGD in the registry.
pub const META_SGD: Method = Method {
    name: "meta-sgd",
    title: "Meta-SGD",
    kind: Kind::Meta,
    paper: "Li et al. 2017",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[
        Setting { name: "inner-lr", default: 0.1, about: "where every α starts" },
        Setting { name: "inner-steps", default: 1.0, about: "gradient steps inside a task" },
    ],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |ways| Head::Linear { outputs: ways },
        own: |setup, seed| {
            let rate = setup.settings.get("inner-lr")?;
            let rates = setup.network.init(seed)?.params.map(|tensor| tensor.ones_like()? * rate)?;
            Ok(State { params: rates.prefixed("rate").prefixed(OWN), buffers: Buffers::default() })
        },
        objective: |setup| Ok(Box::new(MetaSgd::of(setup)?)),
    }),
    learner: |setup, state| Ok(Box::new(AdaptedMetaSgd { meta_sgd: MetaSgd::of(setup)?, state })),
};

/// Learns an initialization θ and step sizes α.
#[derive(Debug, Clone)]
pub struct MetaSgd {
    inner: InnerLoop,
    inner_steps: usize,
}

impl MetaSgd {
    fn of(setup: &Setup) -> Result<Self> {
        second_order_probe()?;
        let inner = InnerLoop { network: setup.network.clone(), norm: setup.norm, order: Order::Second };
        Ok(Self { inner, inner_steps: setup.settings.count("inner-steps")? })
    }

    fn step(state: &State, rates: Params) -> Step {
        Step::plain(Rate::Each(rates), &state.buffers)
    }
}

impl Objective for MetaSgd {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let step = Self::step(state, own_params(&state.params).under("rate"));
        let steps = vec![step.clone(); self.inner_steps];
        let start = network_part(state).params;
        let outcome = self.inner.differentiate(&start, &steps, &Step { weight: 1.0, ..step }, episode)?;
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
    meta_sgd: MetaSgd,
    state: State,
}

impl Adapt for AdaptedMetaSgd {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let inner = &self.meta_sgd.inner;
        let (network, start) = widened(&inner.network, &network_part(&self.state).params, support.ways)?;
        let (_, rates) = widened(&inner.network, &own_params(&self.state.params).under("rate"), support.ways)?;
        let inner = InnerLoop { network: Network::clone(&network), ..inner.clone() };
        let step = MetaSgd::step(&self.state, rates);
        let steps = vec![step.clone(); self.meta_sgd.inner_steps];
        let params = inner.descend(&start, &steps, support, "")?;
        Ok(Box::new(Fitted { inner, params, step, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.meta_sgd.inner.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, objective, start};

    #[test]
    fn the_meta_gradient_equals_finite_differences_learned_rates_included() {
        let (setup, state) = start(&META_SGD, TaskNorm::Support, &[("inner-steps", 2.0)], 1);
        assert!(state.params.iter().any(|(name, _)| name.starts_with("method.rate.")));
        let error = largest_error(objective(&META_SGD, &setup).as_ref(), &state);
        assert!(error < 1e-6, "relative error {error:e}");
    }
}
