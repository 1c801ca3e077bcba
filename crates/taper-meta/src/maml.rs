//! Model-Agnostic Meta-Learning (Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for
//! Fast Adaptation of Deep Networks", algorithm 2), exact or first order.

use crate::inner_loop::{Fitted, InnerLoop, Order, Rate, Step, widened};
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, Objective, Result, Setting, Setup, TaskNorm, Training,
    nothing_beside,
};
use taper_models::{Head, Network, State};
use taper_ops::second_order_probe;

/// The settings of every inner loop of gradient steps.
pub(crate) const INNER: &[Setting] = &[
    Setting { name: "inner-lr", default: 0.1, about: "learning rate inside a task" },
    Setting { name: "inner-steps", default: 3.0, about: "gradient steps inside a task, in training" },
    Setting { name: "adapt-steps", default: 10.0, about: "gradient steps inside a task, in use" },
];

/// Exact MAML in the registry.
pub const MAML: Method = Method {
    name: "maml",
    title: "MAML",
    kind: Kind::Meta,
    paper: "Finn et al. 2017",
    transductive: false,
    norm: TaskNorm::Support,
    settings: INNER,
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |ways| Head::Linear { outputs: ways },
        own: nothing_beside,
        objective: |setup| Ok(Box::new(Maml::of(setup, Order::Second)?)),
    }),
    learner: |setup, state| {
        Ok(Box::new(Maml::of(setup, Order::First)?.learner(state, setup.settings.count("adapt-steps")?)))
    },
};

/// First-order MAML in the registry.
pub const FIRST_ORDER_MAML: Method = Method {
    name: "first-order-maml",
    title: "MAML, first order",
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |ways| Head::Linear { outputs: ways },
        own: nothing_beside,
        objective: |setup| Ok(Box::new(Maml::of(setup, Order::First)?)),
    }),
    ..MAML
};

/// Learns an initialization θ from which a few gradient steps solve a task.
#[derive(Debug, Clone)]
pub struct Maml {
    inner: InnerLoop,
    inner_lr: f64,
    inner_steps: usize,
}

impl Maml {
    /// Adapts all of `network` by `inner_steps` steps of `inner_lr`.
    ///
    /// Errs when exact second derivatives are asked for and candle would cut them off.
    pub fn new(network: Network, inner_lr: f64, inner_steps: usize, order: Order, norm: TaskNorm) -> Result<Self> {
        if order == Order::Second {
            second_order_probe()?;
        }
        Ok(Self { inner: InnerLoop { network, norm, order }, inner_lr, inner_steps })
    }

    fn of(setup: &Setup, order: Order) -> Result<Self> {
        let settings = &setup.settings;
        let (rate, steps) = (settings.get("inner-lr")?, settings.count("inner-steps")?);
        Self::new(setup.network.clone(), rate, steps, order, setup.norm)
    }

    /// The learner that a trained state is; `inner_steps` may be more than in training.
    pub fn learner(&self, state: State, inner_steps: usize) -> AdaptedMaml {
        AdaptedMaml { maml: Self { inner_steps, ..self.clone() }, state }
    }

    fn step(&self, state: &State) -> Step {
        Step::plain(Rate::Same(self.inner_lr), &state.buffers)
    }
}

impl Objective for Maml {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let step = self.step(state);
        let steps = vec![step.clone(); self.inner_steps];
        let outcome = self.inner.differentiate(&state.params, &steps, &Step { weight: 1.0, ..step }, episode)?;
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", outcome.accuracy)]),
            ..Gradient::of(outcome.loss, outcome.start)
        })
    }
}

/// A trained initialization that adapts by gradient descent.
#[derive(Debug, Clone)]
pub struct AdaptedMaml {
    maml: Maml,
    state: State,
}

impl Adapt for AdaptedMaml {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (network, start) = widened(&self.maml.inner.network, &self.state.params, support.ways)?;
        let inner = InnerLoop { network, ..self.maml.inner.clone() };
        let step = self.maml.step(&self.state);
        let steps = vec![step.clone(); self.maml.inner_steps];
        let params = inner.descend(&start, &steps, support, "")?;
        Ok(Box::new(Fitted { inner, params, step, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.maml.inner.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{gradient, largest_error, objective, start, task};

    #[test]
    fn the_exact_meta_gradient_equals_finite_differences_after_five_steps_in_every_tensor() {
        for norm in [TaskNorm::Batch, TaskNorm::Support] {
            let (setup, state) = start(&MAML, norm, &[("inner-steps", 5.0)], 1);
            let error = largest_error(objective(&MAML, &setup).as_ref(), &state);
            assert!(error < 1e-6, "{norm}: relative error {error:e}");
        }
    }

    #[test]
    fn a_long_way_whose_places_are_found_again_gives_the_exact_meta_gradient_too() {
        // 18 steps are walked in stretches of five, the last one shorter; 9 in one stretch
        for steps in [9.0, 18.0] {
            let told = [("inner-steps", steps), ("inner-lr", 0.02)];
            let (setup, state) = start(&MAML, TaskNorm::Support, &told, 1);
            let error = largest_error(objective(&MAML, &setup).as_ref(), &state);
            assert!(error < 1e-6, "{steps} steps: relative error {error:e}");
        }
    }

    #[test]
    fn the_first_order_meta_gradient_differs() {
        let (setup, state) = start(&FIRST_ORDER_MAML, TaskNorm::Support, &[("inner-steps", 5.0)], 1);
        let error = largest_error(objective(&FIRST_ORDER_MAML, &setup).as_ref(), &state);
        assert!(error > 1e-2, "relative error {error:e}");
    }

    #[test]
    fn a_query_is_classified_alike_alone_and_in_company_unless_transductive() {
        for (norm, alike) in [(TaskNorm::Support, true), (TaskNorm::Batch, false)] {
            let (setup, state) = start(&MAML, norm, &[("adapt-steps", 2.0)], 1);
            let learner = (MAML.learner)(&setup, state).unwrap();
            let episode = task();
            let classifier = learner.adapt(&episode.support, 0).unwrap();
            let together = classifier.logits(&episode.query.inputs).unwrap().get(0).unwrap().to_vec1::<f64>().unwrap();
            let alone = classifier.logits(&episode.query.inputs.narrow(0, 0, 1).unwrap()).unwrap();
            let alone = alone.get(0).unwrap().to_vec1::<f64>().unwrap();
            let same = together.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-12);
            assert_eq!(same, alike);
            assert_eq!(learner.transductive(), !alike);
        }
    }

    #[test]
    fn a_diverging_inner_loop_says_at_which_step_and_for_which_task() {
        let (setup, state) = start(&MAML, TaskNorm::Support, &[("inner-lr", 1e200), ("inner-steps", 5.0)], 1);
        let failed = objective(&MAML, &setup).gradient(&state, &task(), Draw { seed: 0, step: 0, number: 0 });
        let text = failed.unwrap_err().to_string();
        assert!(text.contains("noise") && text.contains("inner step"), "{text}");
    }

    #[test]
    fn one_step_less_than_asked_gives_another_gradient() {
        let at = |steps| {
            let (setup, state) = start(&MAML, TaskNorm::Support, &[("inner-steps", steps)], 1);
            gradient(objective(&MAML, &setup).as_ref(), &state).loss
        };
        assert!((at(2.0) - at(3.0)).abs() > 1e-6);
    }
}
