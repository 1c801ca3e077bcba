//! MAML++ (Antoniou, Edwards and Storkey 2019, "How to train your MAML"): MAML with a learned rate
//! for every tensor and step (LSLR), the query loss of every step early in training (MSL),
//! first-order gradients at first (DA), and batch norm with scales and shifts of their own for
//! every step (BNWB). Section numbers are the paper's.
//!
//! The paper also normalizes by running statistics of every step (BNRS), here [`TaskNorm::PerStep`].
//! It is not the default: queries of a new alphabet lie far from the average of the old ones, and
//! what the paper's own program does, a batch of queries by its own statistics, is transductive.

use crate::inner_loop::{Fitted, InnerLoop, Order, Outcome, Rate, Step, widened};
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, OWN, Objective, Result, Setting, Setup, TaskNorm,
    Training, network_part,
};
use taper_models::{Buffers, Head, Network, Params, State};
use taper_ops::second_order_probe;

/// MAML++ in the registry.
pub const MAML_PLUS_PLUS: Method = Method {
    name: "maml++",
    title: "MAML++",
    kind: Kind::Meta,
    paper: "Antoniou et al. 2019",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[
        Setting { name: "inner-lr", default: 0.1, about: "where the learned rates start" },
        Setting { name: "inner-steps", default: 3.0, about: "gradient steps inside a task" },
        Setting { name: "multi-step-share", default: 0.2, about: "share of training with losses after every step" },
        Setting { name: "first-order-share", default: 0.3, about: "share of training without second derivatives" },
    ],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |ways| Head::Linear { outputs: ways },
        own,
        objective: |setup| Ok(Box::new(MamlPlusPlus::of(setup)?)),
    }),
    learner: |setup, state| Ok(Box::new(AdaptedMamlPlusPlus { method: MamlPlusPlus::of(setup)?, state })),
};

/// Where step `k` keeps what is its own.
fn prefix(k: usize) -> String {
    format!("{OWN}.step{k}")
}

/// Rates of steps 0 to K − 1; scales and shifts of steps 0 to K, and statistics where asked for.
fn own(setup: &Setup, seed: u64) -> Result<State> {
    let (steps, rate) = (setup.settings.count("inner-steps")?, setup.settings.get("inner-lr")?);
    let network = setup.network.init(seed)?;
    let mut state = State::default();
    for k in 0..=steps {
        if k < steps {
            let adapted = network.params.filter(|name| !network.buffers.normalize(name));
            let rates = adapted.map(|_| Tensor::full(rate as f32, (), &Device::Cpu))?;
            state.params = state.params.merged(&rates.prefixed("rate").prefixed(&prefix(k)));
        }
        let norms = network.params.filter(|name| network.buffers.normalize(name));
        state.params = state.params.merged(&norms.prefixed("norm").prefixed(&prefix(k)));
        if setup.norm == TaskNorm::PerStep {
            state.buffers = state.buffers.merged(&network.buffers.prefixed(&prefix(k)));
        }
    }
    Ok(state)
}

/// Learns an initialization, and how each inner step is taken.
#[derive(Debug, Clone)]
pub struct MamlPlusPlus {
    network: Network,
    norm: TaskNorm,
    inner_steps: usize,
    multi_step_until: f64,
    first_order_until: f64,
}

impl MamlPlusPlus {
    fn of(setup: &Setup) -> Result<Self> {
        second_order_probe()?;
        let until = |name: &str| Ok::<f64, taper_learn::LearnError>(setup.settings.get(name)? * setup.steps as f64);
        Ok(Self {
            network: setup.network.clone(),
            norm: setup.norm,
            inner_steps: setup.settings.count("inner-steps")?,
            multi_step_until: until("multi-step-share")?,
            first_order_until: until("first-order-share")?,
        })
    }

    fn inner(&self, network: &Network, order: Order) -> InnerLoop {
        InnerLoop { network: network.clone(), norm: self.norm, order }
    }

    /// Step `k` of a state, its query loss weighed by `weight`.
    fn step(&self, state: &State, k: usize, weight: f64) -> Step {
        let own = state.params.under(&prefix(k));
        let buffers = match self.norm {
            TaskNorm::PerStep => state.buffers.under(&prefix(k)),
            _ => network_part(state).buffers,
        };
        Step { rate: Rate::Each(own.under("rate")), own: own.under("norm"), buffers, weight }
    }

    /// Where the inner loop starts: the network without what each step has for itself.
    fn start(&self, state: &State) -> Params {
        let network = network_part(state);
        network.params.filter(|name| !network.buffers.normalize(name))
    }

    /// Section 4, MSL: weights of the query losses after steps 1 to K, which go from equal ones to
    /// the last alone, though never quite.
    fn weights(&self, step: u64) -> Vec<f64> {
        let k = self.inner_steps;
        let even = 1.0 / k.max(1) as f64;
        let left = if self.multi_step_until > 0.0 { 1.0 - step as f64 / self.multi_step_until } else { 0.0 };
        let early = if left > 0.0 { (even * left).max(0.03 * even) } else { 0.0 };
        let mut weights = vec![early; k.saturating_sub(1)];
        weights.push(1.0 - weights.iter().sum::<f64>());
        weights
    }

    /// All gradients under their names, and the statistics moved.
    fn gradient_of(&self, state: &State, outcome: Outcome) -> Result<Gradient> {
        let mut params = outcome.start;
        let mut buffers = Buffers::default();
        for (k, step) in outcome.steps.into_iter().enumerate() {
            params = params.merged(&step.rate.prefixed("rate").prefixed(&prefix(k)));
            params = params.merged(&step.own.prefixed("norm").prefixed(&prefix(k)));
            if self.norm == TaskNorm::PerStep && !step.statistics.rows.is_empty() {
                let moved = state.buffers.under(&prefix(k)).moved(&step.statistics)?;
                buffers = buffers.merged(&moved.prefixed(&prefix(k)));
            }
        }
        let metrics = BTreeMap::from([("accuracy", outcome.accuracy)]);
        Ok(Gradient { loss: outcome.loss, metrics, params: params.detached(), buffers })
    }
}

impl Objective for MamlPlusPlus {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let weights = self.weights(at.step);
        // the loss after step k is taken at φₖ, with what step k has for itself
        let weight = |k: usize| if k == 0 { 0.0 } else { weights[k - 1] };
        let steps: Vec<Step> = (0..self.inner_steps).map(|k| self.step(state, k, weight(k))).collect();
        let last = self.step(state, self.inner_steps, weights.last().copied().unwrap_or(1.0));
        let order = if (at.step as f64) < self.first_order_until { Order::First } else { Order::Second };
        let inner = self.inner(&self.network, order);
        let outcome = inner.differentiate(&self.start(state), &steps, &last, episode)?;
        self.gradient_of(state, outcome)
    }
}

struct AdaptedMamlPlusPlus {
    method: MamlPlusPlus,
    state: State,
}

impl Adapt for AdaptedMamlPlusPlus {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let Self { method, state } = self;
        let (network, start) = widened(&method.network, &method.start(state), support.ways)?;
        let inner = method.inner(&network, Order::First);
        let steps: Vec<Step> = (0..method.inner_steps).map(|k| method.step(state, k, 0.0)).collect();
        let params = inner.descend(&start, &steps, support, "")?;
        let last = method.step(state, method.inner_steps, 0.0);
        Ok(Box::new(Fitted { inner, params, step: last, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.method.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{gradient, largest_error, objective, start};

    #[test]
    fn the_meta_gradient_equals_finite_differences_rates_and_norms_of_every_step_included() {
        let second = [("first-order-share", 0.0)];
        for norm in [TaskNorm::PerStep, TaskNorm::Support] {
            let (setup, state) = start(&MAML_PLUS_PLUS, norm, &second, 100);
            let error = largest_error(objective(&MAML_PLUS_PLUS, &setup).as_ref(), &state);
            assert!(error < 1e-6, "{norm}: relative error {error:e}");
        }
    }

    #[test]
    fn every_step_keeps_statistics_of_its_own() {
        let (setup, state) = start(&MAML_PLUS_PLUS, TaskNorm::PerStep, &[], 100);
        let buffers = gradient(objective(&MAML_PLUS_PLUS, &setup).as_ref(), &state).buffers;
        let mean = |k: usize| {
            let name = format!("method.step{k}.block0.norm.running_mean");
            buffers.get(&name).unwrap().to_vec1::<f64>().unwrap()
        };
        assert!(mean(0) != mean(1) && mean(1) != mean(3));
    }

    #[test]
    fn the_loss_moves_from_every_step_to_the_last() {
        let (setup, _) = start(&MAML_PLUS_PLUS, TaskNorm::PerStep, &[], 100);
        let method = MamlPlusPlus::of(&setup).unwrap();
        let third = 1.0 / 3.0;
        assert!(method.weights(0).iter().all(|weight| (weight - third).abs() < 1e-12));
        assert!(method.weights(10)[2] > 0.6);
        assert_eq!(method.weights(20), [0.0, 0.0, 1.0]);
    }
}
