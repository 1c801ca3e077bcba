//! Proto-MAML (Triantafillou et al. 2020, "Meta-Dataset: A Dataset of Datasets for Learning to Learn
//! from Few Examples", section 3): MAML whose head starts, in every task, as the linear equivalent
//! of Prototypical Networks' classifier, wₖ = 2cₖ and bₖ = −‖cₖ‖². Any number of classes fits.

use crate::inner_loop::{Fitted, InnerLoop, Order, Rate, Step};
use crate::maml::INNER;
use candle_core::Tensor;
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::heads::class_means;
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, Objective, Result, Setup, TaskNorm, Training,
    nothing_beside,
};
use taper_models::{Head, Leaves, Network, Params, State};
use taper_ops::second_order_probe;

/// Proto-MAML in the registry.
pub const PROTO_MAML: Method = Method {
    name: "proto-maml",
    title: "Proto-MAML",
    kind: Kind::Meta,
    paper: "Triantafillou et al. 2020",
    transductive: false,
    norm: TaskNorm::Support,
    settings: INNER,
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |_| Head::Identity,
        own: nothing_beside,
        objective: |setup| Ok(Box::new(ProtoMaml::of(setup, "inner-steps")?)),
    }),
    learner: |setup, state| Ok(Box::new(AdaptedProtoMaml { method: ProtoMaml::of(setup, "adapt-steps")?, state })),
};

/// Learns features whose prototypes are where gradient steps start from.
#[derive(Debug, Clone)]
pub struct ProtoMaml {
    network: Network,
    norm: TaskNorm,
    inner_lr: f64,
    inner_steps: usize,
}

impl ProtoMaml {
    fn of(setup: &Setup, steps: &str) -> Result<Self> {
        second_order_probe()?;
        Ok(Self {
            network: setup.network.clone(),
            norm: setup.norm,
            inner_lr: setup.settings.get("inner-lr")?,
            inner_steps: setup.settings.count(steps)?,
        })
    }

    fn inner(&self, ways: usize) -> InnerLoop {
        let network = self.network.with_head(Head::Linear { outputs: ways });
        InnerLoop { network, norm: self.norm, order: Order::Second }
    }

    fn step(&self, state: &State) -> Step {
        Step::plain(Rate::Same(self.inner_lr), &state.buffers)
    }

    /// The head that a support set gives, tracked by `params`.
    fn head(&self, params: &Params, state: &State, support: &Batch) -> Result<Params> {
        let (forward, _) = self.norm.support(&self.network, params, &state.buffers, &support.inputs, None)?;
        let c = class_means(&forward.features, &support.labels, support.ways)?;
        let name = self.network.backbone().head_name();
        let weight: Tensor = (&c * 2.0)?;
        let bias = c.sqr()?.sum(1)?.neg()?;
        Ok([(format!("{name}.weight"), weight), (format!("{name}.bias"), bias)].into_iter().collect())
    }
}

impl Objective for ProtoMaml {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let leaves = Leaves::new(&state.params)?;
        let head = self.head(&leaves.params(), state, &episode.support)?;
        let start = state.params.merged(&head.detached());
        let step = self.step(state);
        let steps = vec![step.clone(); self.inner_steps];
        let inner = self.inner(episode.support.ways);
        let outcome = inner.differentiate(&start, &steps, &Step { weight: 1.0, ..step }, episode)?;
        // the head came from the features: what the loss asks of it, it asks of them
        let through_head = leaves.vector_product(&head, &outcome.start)?;
        let params = outcome.start.filter(|name| state.params.get(name).is_ok()).plus(1.0, &through_head)?;
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", outcome.accuracy)]),
            ..Gradient::of(outcome.loss, params.detached())
        })
    }
}

struct AdaptedProtoMaml {
    method: ProtoMaml,
    state: State,
}

impl Adapt for AdaptedProtoMaml {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let Self { method, state } = self;
        let start = state.params.merged(&method.head(&state.params, state, support)?.detached());
        let inner = method.inner(support.ways);
        let step = method.step(state);
        let steps = vec![step.clone(); method.inner_steps];
        let params = inner.descend(&start, &steps, support, "")?;
        Ok(Box::new(Fitted { inner, params, step, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.method.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PROTONET;
    use crate::test_support::{gradient, largest_error, objective, start};

    #[test]
    fn the_meta_gradient_equals_finite_differences_in_every_tensor() {
        let (setup, state) = start(&PROTO_MAML, TaskNorm::Support, &[("inner-lr", 0.02), ("inner-steps", 3.0)], 1);
        let error = largest_error(objective(&PROTO_MAML, &setup).as_ref(), &state);
        assert!(error < 1e-6, "relative error {error:e}");
    }

    #[test]
    fn without_inner_steps_it_is_a_prototypical_network() {
        let of = |method, told: &[(&str, f64)]| {
            let (setup, state) = start(method, TaskNorm::Support, told, 1);
            gradient(objective(method, &setup).as_ref(), &state)
        };
        let (ours, theirs) = (of(&PROTO_MAML, &[("inner-steps", 0.0)]), of(&PROTONET, &[]));
        assert!((ours.loss - theirs.loss).abs() < 1e-10);
        let difference = ours.params.minus(1.0, &theirs.params).unwrap().norm().unwrap();
        assert!(difference < 1e-9, "{difference:e}");
    }
}
