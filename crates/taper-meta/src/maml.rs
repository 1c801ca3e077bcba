//! Model-Agnostic Meta-Learning (Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for
//! Fast Adaptation of Deep Networks", algorithm 2), exact or first order.

use crate::inner_loop::{Fitted, InnerLoop, Order, Rate, Step, widened};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, MethodSettings, Registered, Training},
    training::{Gradient, Objective},
};
use taper_models::State;
use taper_ops::second_order_probe;

/// Exact MAML in a registry.
pub const MAML: Registered<Maml> = Registered::new();

/// First-order MAML in a registry.
pub const FIRST_ORDER_MAML: Registered<FirstOrderMaml> = Registered::new();

method_settings! {
    /// Learns an initialization θ from which a few gradient steps solve a task.
    ///
    /// ```
    /// use taper_learn::{Context, TaskNorm, TypedMethod};
    /// use taper_meta::Maml;
    /// use taper_models::{Architecture, Head, Network};
    ///
    /// // SAFETY: no other thread runs yet
    /// unsafe { taper_ops::configure_process() };
    /// let backbone = "conv4-8".parse::<Architecture>()?.backbone((1, 28, 28))?;
    /// let network = Maml::network(&Network::new(backbone, Head::Identity), 5);
    /// let context = Context::new(network, TaskNorm::Support);
    /// let maml = Maml { inner_lr: 0.4, inner_steps: 5, ..Maml::default() };
    /// let start = maml.start(&context, None, 0)?;
    /// let objective = maml.objective(&context)?; // what `taper_learn::fit` differentiates
    /// # let _ = (start, objective);
    /// # Ok::<(), taper_learn::LearnError>(())
    /// ```
    pub struct Maml {
        /// Learning rate inside a task.
        pub inner_lr: f64 = 0.1;
        /// Gradient steps inside a task, in training.
        pub inner_steps: usize = 3;
        /// Gradient steps inside a task, at inference.
        pub adapt_steps: usize = 10;
    }
}

/// [`Maml`] without second derivatives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FirstOrderMaml(pub Maml);

impl MethodSettings for FirstOrderMaml {
    const FIELDS: &'static [(&'static str, &'static str)] = Maml::FIELDS;
}

impl TypedMethod for Maml {
    const INFO: MethodInfo = MethodInfo {
        name: "maml",
        title: "MAML",
        kind: Kind::Meta,
        paper: "Finn et al. 2017",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    /// # Errors
    /// Returns an error if candle would drop second derivatives in this process.
    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        second_order_probe()?;
        Ok(Box::new(ThroughDescent::new(self, context, Order::Second)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(Descent::new(context, state, self.inner_lr, self.adapt_steps)))
    }
}

impl TypedMethod for FirstOrderMaml {
    const INFO: MethodInfo = MethodInfo { name: "first-order-maml", title: "MAML, first order", ..Maml::INFO };

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(ThroughDescent::new(&self.0, context, Order::First)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        self.0.learner(context, state)
    }
}

/// The query loss after the inner loop, differentiated with respect to its start.
struct ThroughDescent {
    inner: InnerLoop,
    inner_lr: f64,
    inner_steps: usize,
}

impl ThroughDescent {
    fn new(maml: &Maml, context: &Context, order: Order) -> Self {
        Self { inner: InnerLoop::new(context, order), inner_lr: maml.inner_lr, inner_steps: maml.inner_steps }
    }
}

impl Objective for ThroughDescent {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let step = Step::plain(Rate::Same(self.inner_lr), &state.buffers);
        let steps = vec![step.clone(); self.inner_steps];
        let outcome = self.inner.differentiate(&state.params, &steps, &Step { weight: 1.0, ..step }, episode)?;
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", outcome.accuracy)]),
            ..Gradient::of(outcome.loss, outcome.start)
        })
    }
}

/// A trained initialization that adapts by gradient descent.
pub(crate) struct Descent {
    inner: InnerLoop,
    state: State,
    inner_lr: f64,
    steps: usize,
}

impl Descent {
    pub(crate) fn new(context: &Context, state: State, inner_lr: f64, steps: usize) -> Self {
        Self { inner: InnerLoop::new(context, Order::First), state, inner_lr, steps }
    }
}

impl Adapt for Descent {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (network, start) = widened(&self.inner.network, &self.state.params, support.ways)?;
        let inner = InnerLoop { network, ..self.inner.clone() };
        let step = Step::plain(Rate::Same(self.inner_lr), &self.state.buffers);
        let steps = vec![step.clone(); self.steps];
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
    use crate::test_support::{gradient, largest_error, start, task};

    #[test]
    fn the_exact_meta_gradient_equals_finite_differences_after_five_steps_in_every_tensor() {
        let maml = Maml { inner_steps: 5, ..Maml::default() };
        for norm in [TaskNorm::Batch, TaskNorm::Support] {
            let (context, state) = start(&maml, norm, 1);
            let error = largest_error(maml.objective(&context).unwrap().as_ref(), &state);
            assert!(error < 1e-6, "{norm}: relative error {error:e}");
        }
    }

    #[test]
    fn a_long_trajectory_whose_points_are_recomputed_gives_the_exact_meta_gradient_too() {
        // 18 steps are taken in segments of five, the last one shorter; 9 in one segment
        for inner_steps in [9, 18] {
            let maml = Maml { inner_steps, inner_lr: 0.02, ..Maml::default() };
            let (context, state) = start(&maml, TaskNorm::Support, 1);
            let error = largest_error(maml.objective(&context).unwrap().as_ref(), &state);
            assert!(error < 1e-6, "{inner_steps} steps: relative error {error:e}");
        }
    }

    #[test]
    fn the_first_order_meta_gradient_differs() {
        let maml = FirstOrderMaml(Maml { inner_steps: 5, ..Maml::default() });
        let (context, state) = start(&maml, TaskNorm::Support, 1);
        let error = largest_error(maml.objective(&context).unwrap().as_ref(), &state);
        assert!(error > 1e-2, "relative error {error:e}");
    }

    #[test]
    fn a_query_is_classified_alike_alone_and_in_company_unless_transductive() {
        let maml = Maml { adapt_steps: 2, ..Maml::default() };
        for (norm, alike) in [(TaskNorm::Support, true), (TaskNorm::Batch, false)] {
            let (context, state) = start(&maml, norm, 1);
            let learner = maml.learner(&context, state).unwrap();
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
        let maml = Maml { inner_lr: 1e200, inner_steps: 5, ..Maml::default() };
        let (context, state) = start(&maml, TaskNorm::Support, 1);
        let objective = maml.objective(&context).unwrap();
        let failed = objective.gradient(&state, &task(), Draw { seed: 0, step: 0, number: 0 });
        let text = failed.unwrap_err().to_string();
        assert!(text.contains("noise") && text.contains("inner step"), "{text}");
    }

    #[test]
    fn one_step_less_than_asked_gives_another_gradient() {
        let at = |inner_steps| {
            let maml = Maml { inner_steps, ..Maml::default() };
            let (context, state) = start(&maml, TaskNorm::Support, 1);
            gradient(maml.objective(&context).unwrap().as_ref(), &state).loss
        };
        assert!((at(2) - at(3)).abs() > 1e-6);
    }
}
