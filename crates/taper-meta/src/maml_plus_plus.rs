//! MAML++ (Antoniou, Edwards and Storkey 2019, "How to train your MAML"): MAML with a learned rate
//! for every tensor and step (LSLR), the query loss of every step early in training (MSL),
//! first-order gradients at first (DA), and batch norm with separate scales and shifts for
//! every step (BNWB). Section numbers are the paper's.
//!
//! The paper also normalizes by running statistics of every step (BNRS), here [`TaskNorm::PerStep`].
//! It is not the default: queries of a new alphabet are far from the average of the old ones, and
//! the paper's own program, which normalizes a batch of queries by its own statistics, is transductive.

use crate::inner_loop::{Fitted, InnerLoop, Order, Outcome, Rate, Step, widened};
use crate::with_context::WithContext;
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, OWN, Registered, Training, network_part},
    training::{Gradient, Objective},
};
use taper_models::{Buffers, Params, State};
use taper_ops::second_order_probe;

/// MAML++ in a registry.
pub const MAML_PLUS_PLUS: Registered<MamlPlusPlus> = Registered::new();

method_settings! {
    /// Learns an initialization, and the parameters of each inner step.
    pub struct MamlPlusPlus {
        /// Initial value of the learned rates.
        pub inner_lr: f64 = 0.1;
        /// Gradient steps inside a task.
        pub inner_steps: usize = 3;
        /// Share of training with losses after every step.
        pub multi_step_share: f64 = 0.2;
        /// Share of training without second derivatives.
        pub first_order_share: f64 = 0.3;
    }
}

impl TypedMethod for MamlPlusPlus {
    const INFO: MethodInfo = MethodInfo {
        name: "maml++",
        title: "MAML++",
        kind: Kind::Meta,
        paper: "Antoniou et al. 2019",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    /// Rates of steps 0 to K − 1; scales and shifts of steps 0 to K, and statistics if the norm keeps
    /// them per step.
    fn own(&self, context: &Context, seed: u64) -> Result<State> {
        let network = context.network.init(seed)?;
        let mut state = State::default();
        for k in 0..=self.inner_steps {
            if k < self.inner_steps {
                let adapted = network.params.filter(|name| !network.buffers.normalize(name));
                let rates = adapted.map(|_| Tensor::full(self.inner_lr as f32, (), &Device::Cpu))?;
                state.params = state.params.merged(&rates.prefixed("rate").prefixed(&prefix(k)));
            }
            let norms = network.params.filter(|name| network.buffers.normalize(name));
            state.params = state.params.merged(&norms.prefixed("norm").prefixed(&prefix(k)));
            if context.norm == TaskNorm::PerStep {
                state.buffers = state.buffers.merged(&network.buffers.prefixed(&prefix(k)));
            }
        }
        Ok(state)
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        second_order_probe()?;
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(AdaptedMamlPlusPlus { method: WithContext::new(self, context), state }))
    }
}

/// The prefix of step `k`'s own values.
fn prefix(k: usize) -> String {
    format!("{OWN}.step{k}")
}

impl WithContext<MamlPlusPlus> {
    fn inner(&self, order: Order) -> InnerLoop {
        InnerLoop::new(&self.context, order)
    }

    /// The training step at which a share of the training ends.
    fn until(&self, share: f64) -> f64 {
        share * self.context.steps as f64
    }

    /// Step `k` of a state, with its query loss weighted by `weight`.
    fn step(&self, state: &State, k: usize, weight: f64) -> Step {
        let own = state.params.under(&prefix(k));
        let buffers = match self.context.norm {
            TaskNorm::PerStep => state.buffers.under(&prefix(k)),
            _ => network_part(state).buffers,
        };
        Step { rate: Rate::Each(own.under("rate")), own: own.under("norm"), buffers, weight }
    }

    /// The start of the inner loop: the network without the steps' own values.
    fn start(&self, state: &State) -> Params {
        let network = network_part(state);
        network.params.filter(|name| !network.buffers.normalize(name))
    }

    /// Section 4, MSL: weights of the query losses after steps 1 to K, which move from equal ones almost to
    /// the last one only.
    fn weights(&self, step: u64) -> Vec<f64> {
        let k = self.method.inner_steps;
        let even = 1.0 / k.max(1) as f64;
        let until = self.until(self.method.multi_step_share);
        let left = if until > 0.0 { 1.0 - step as f64 / until } else { 0.0 };
        let early = if left > 0.0 { (even * left).max(0.03 * even) } else { 0.0 };
        let mut weights = vec![early; k.saturating_sub(1)];
        weights.push(1.0 - weights.iter().sum::<f64>());
        weights
    }

    /// All gradients under their names, and the updated statistics.
    fn gradient_of(&self, state: &State, outcome: Outcome) -> Result<Gradient> {
        let mut params = outcome.start;
        let mut buffers = Buffers::default();
        for (k, step) in outcome.steps.into_iter().enumerate() {
            params = params.merged(&step.rate.prefixed("rate").prefixed(&prefix(k)));
            params = params.merged(&step.own.prefixed("norm").prefixed(&prefix(k)));
            if self.context.norm == TaskNorm::PerStep && !step.statistics.rows.is_empty() {
                let moved = state.buffers.under(&prefix(k)).moved(&step.statistics)?;
                buffers = buffers.merged(&moved.prefixed(&prefix(k)));
            }
        }
        let metrics = BTreeMap::from([("accuracy", outcome.accuracy)]);
        Ok(Gradient { loss: outcome.loss, metrics, params: params.detached(), buffers })
    }
}

impl Objective for WithContext<MamlPlusPlus> {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let weights = self.weights(at.step);
        // the loss after step k is computed at φₖ, with step k's own values
        let weight = |k: usize| if k == 0 { 0.0 } else { weights[k - 1] };
        let steps: Vec<Step> = (0..self.method.inner_steps).map(|k| self.step(state, k, weight(k))).collect();
        let last = self.step(state, self.method.inner_steps, weights.last().copied().unwrap_or(1.0));
        let first_order_until = self.until(self.method.first_order_share);
        let order = if (at.step as f64) < first_order_until { Order::First } else { Order::Second };
        let outcome = self.inner(order).differentiate(&self.start(state), &steps, &last, episode)?;
        self.gradient_of(state, outcome)
    }
}

struct AdaptedMamlPlusPlus {
    method: WithContext<MamlPlusPlus>,
    state: State,
}

impl Adapt for AdaptedMamlPlusPlus {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let Self { method, state } = self;
        let (network, start) = widened(&method.context.network, &method.start(state), support.ways)?;
        let inner = InnerLoop { network, ..method.inner(Order::First) };
        let count = method.method.inner_steps;
        let steps: Vec<Step> = (0..count).map(|k| method.step(state, k, 0.0)).collect();
        let params = inner.descend(&start, &steps, support, "")?;
        let last = method.step(state, count, 0.0);
        Ok(Box::new(Fitted { inner, params, step: last, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.method.context.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{gradient, largest_error, start};

    #[test]
    fn the_meta_gradient_equals_finite_differences_rates_and_norms_of_every_step_included() {
        let method = MamlPlusPlus { first_order_share: 0.0, ..MamlPlusPlus::default() };
        for norm in [TaskNorm::PerStep, TaskNorm::Support] {
            let (context, state) = start(&method, norm, 100);
            let error = largest_error(method.objective(&context).unwrap().as_ref(), &state);
            assert!(error < 1e-6, "{norm}: relative error {error:e}");
        }
    }

    #[test]
    fn every_step_keeps_statistics_of_its_own() {
        let method = MamlPlusPlus::default();
        let (context, state) = start(&method, TaskNorm::PerStep, 100);
        let buffers = gradient(method.objective(&context).unwrap().as_ref(), &state).buffers;
        let mean = |k: usize| {
            let name = format!("method.step{k}.block0.norm.running_mean");
            buffers.get(&name).unwrap().to_vec1::<f64>().unwrap()
        };
        assert!(mean(0) != mean(1) && mean(1) != mean(3));
    }

    #[test]
    fn the_loss_moves_from_every_step_to_the_last() {
        let (context, _) = start(&MamlPlusPlus::default(), TaskNorm::PerStep, 100);
        let method = WithContext::new(&MamlPlusPlus::default(), &context);
        let third = 1.0 / 3.0;
        assert!(method.weights(0).iter().all(|weight| (weight - third).abs() < 1e-12));
        assert!(method.weights(10)[2] > 0.6);
        assert_eq!(method.weights(20), [0.0, 0.0, 1.0]);
    }
}
