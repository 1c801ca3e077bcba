//! Proto-MAML (Triantafillou et al. 2020, "Meta-Dataset: A Dataset of Datasets for Learning to Learn
//! from Few Examples", section 3): MAML whose head starts, in every task, as the linear equivalent
//! of Prototypical Networks' classifier, wₖ = 2cₖ and bₖ = −‖cₖ‖². Any number of classes fits.

use crate::inner_loop::{Fitted, InnerLoop, Order, Rate, Step};
use candle_core::Tensor;
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::heads::class_means;
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
    training::{Gradient, Objective},
};
use taper_models::{Head, Leaves, Params, State};
use taper_ops::second_order_probe;

/// Proto-MAML in a registry.
pub const PROTO_MAML: Registered<ProtoMaml> = Registered::new();

method_settings! {
    /// Learns features whose prototypes are the start of gradient steps.
    pub struct ProtoMaml {
        /// Learning rate inside a task.
        pub inner_lr: f64 = 0.1;
        /// Gradient steps inside a task, in training.
        pub inner_steps: usize = 3;
        /// Gradient steps inside a task, at inference.
        pub adapt_steps: usize = 10;
    }
}

impl TypedMethod for ProtoMaml {
    const INFO: MethodInfo = MethodInfo {
        name: "proto-maml",
        title: "Proto-MAML",
        kind: Kind::Meta,
        paper: "Triantafillou et al. 2020",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        second_order_probe()?;
        Ok(Box::new(FromPrototypes { context: context.clone(), inner_lr: self.inner_lr, steps: self.inner_steps }))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        let method = FromPrototypes { context: context.clone(), inner_lr: self.inner_lr, steps: self.adapt_steps };
        Ok(Box::new(AdaptedProtoMaml { method, state }))
    }
}

/// Gradient steps that start from prototypes.
struct FromPrototypes {
    context: Context,
    inner_lr: f64,
    steps: usize,
}

impl FromPrototypes {
    fn inner(&self, ways: usize) -> InnerLoop {
        let network = self.context.network.with_head(Head::Linear { outputs: ways });
        InnerLoop { network, norm: self.context.norm, order: Order::Second }
    }

    fn step(&self, state: &State) -> Step {
        Step::plain(Rate::Same(self.inner_lr), &state.buffers)
    }

    /// The head from a support set, tracked through `params`.
    fn head(&self, params: &Params, state: &State, support: &Batch) -> Result<Params> {
        let Context { network, norm, .. } = &self.context;
        let (forward, _) = norm.support(network, params, &state.buffers, &support.inputs, None)?;
        let c = class_means(&forward.features, &support.labels, support.ways)?;
        let name = network.backbone().head_name();
        let weight: Tensor = (&c * 2.0)?;
        let bias = c.sqr()?.sum(1)?.neg()?;
        Ok([(format!("{name}.weight"), weight), (format!("{name}.bias"), bias)].into_iter().collect())
    }
}

impl Objective for FromPrototypes {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let leaves = Leaves::new(&state.params)?;
        let head = self.head(&leaves.params(), state, &episode.support)?;
        let start = state.params.merged(&head.detached());
        let step = self.step(state);
        let steps = vec![step.clone(); self.steps];
        let inner = self.inner(episode.support.ways);
        let outcome = inner.differentiate(&start, &steps, &Step { weight: 1.0, ..step }, episode)?;
        // the head depends on the features, so its gradient passes to them
        let through_head = leaves.vector_product(&head, &outcome.start)?;
        let params = outcome.start.filter(|name| state.params.get(name).is_ok()).plus(1.0, &through_head)?;
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", outcome.accuracy)]),
            ..Gradient::of(outcome.loss, params.detached())
        })
    }
}

struct AdaptedProtoMaml {
    method: FromPrototypes,
    state: State,
}

impl Adapt for AdaptedProtoMaml {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let Self { method, state } = self;
        let start = state.params.merged(&method.head(&state.params, state, support)?.detached());
        let inner = method.inner(support.ways);
        let step = method.step(state);
        let steps = vec![step.clone(); method.steps];
        let params = inner.descend(&start, &steps, support, "")?;
        Ok(Box::new(Fitted { inner, params, step, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.method.context.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProtoNet;
    use crate::test_support::{gradient, largest_error, start};

    #[test]
    fn the_meta_gradient_equals_finite_differences_in_every_tensor() {
        let method = ProtoMaml { inner_lr: 0.02, ..ProtoMaml::default() };
        let (context, state) = start(&method, TaskNorm::Support, 1);
        let error = largest_error(method.objective(&context).unwrap().as_ref(), &state);
        assert!(error < 1e-6, "relative error {error:e}");
    }

    #[test]
    fn without_inner_steps_it_is_a_prototypical_network() {
        fn of(method: &impl TypedMethod) -> Gradient {
            let (context, state) = start(method, TaskNorm::Support, 1);
            gradient(method.objective(&context).unwrap().as_ref(), &state)
        }
        let (ours, theirs) = (of(&ProtoMaml { inner_steps: 0, ..ProtoMaml::default() }), of(&ProtoNet {}));
        assert!((ours.loss - theirs.loss).abs() < 1e-10);
        let difference = ours.params.minus(1.0, &theirs.params).unwrap().norm().unwrap();
        assert!(difference < 1e-9, "{difference:e}");
    }
}
