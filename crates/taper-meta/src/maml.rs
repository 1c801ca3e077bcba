//! Model-Agnostic Meta-Learning (Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for
//! Fast Adaptation of Deep Networks", algorithm 2), exact or first order.
//!
//! The exact meta-gradient needs no graph over the whole inner loop. With φ₀ = θ and
//! φₖ₊₁ = φₖ − α ∇L_support(φₖ), take v = ∇L_query(φ_K) and walk back,
//! v ← v − α ∇²L_support(φₖ) v; then v is ∇_θ L_query(φ_K). One step's graph is alive at a time.

use candle_core::Tensor;
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, LearnError, Method, Objective, Result, Setting, Setup, TaskNorm,
    Training, accuracy, nothing_beside,
};
use taper_models::{Buffers, Forward, Head, Leaves, Network, Params, State};
use taper_ops::{cross_entropy, second_order_probe};

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

/// Which derivative the meta-gradient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Second derivatives left out (section 5.2's approximation): v stays ∇L_query(φ_K).
    First,
    /// The derivative itself.
    Second,
}

/// Learns an initialisation θ from which a few gradient steps solve a task.
#[derive(Debug, Clone)]
pub struct Maml {
    network: Network,
    inner_lr: f64,
    inner_steps: usize,
    order: Order,
    norm: TaskNorm,
}

impl Maml {
    /// Adapts all of `network` by `inner_steps` steps of `inner_lr`.
    ///
    /// Errs when exact second derivatives are asked for and candle would cut them off.
    pub fn new(network: Network, inner_lr: f64, inner_steps: usize, order: Order, norm: TaskNorm) -> Result<Self> {
        if order == Order::Second {
            second_order_probe()?;
        }
        Ok(Self { network, inner_lr, inner_steps, order, norm })
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

    fn loss(&self, params: &Params, buffers: &Buffers, support: &Batch) -> Result<Tensor> {
        let (forward, _) = self.norm.support(&self.network, params, buffers, &support.inputs, None)?;
        Ok(cross_entropy(&logits(&forward, support.ways)?, &support.labels, 0.0)?)
    }

    /// φ₁ … φ_K without their pasts, φ₀ being `params`; and the last step's gradient.
    fn descend(&self, params: &Params, buffers: &Buffers, support: &Batch) -> Result<Vec<Params>> {
        let mut path = vec![params.detached()];
        for _ in 0..self.inner_steps {
            let step = InnerStep::at(self, &path[path.len() - 1], buffers, support)?;
            let next = path[path.len() - 1].minus(self.inner_lr, &step.gradient.detached())?.detached();
            path.push(next);
        }
        Ok(path)
    }

    /// Query logits at φ, with φ's graph through the support's statistics too.
    fn query(&self, params: &Params, buffers: &Buffers, support: &Batch, query: &Tensor) -> Result<Tensor> {
        let statistics = match self.norm {
            TaskNorm::Support if !buffers.is_empty() => {
                self.norm.support(&self.network, params, buffers, &support.inputs, None)?.1
            }
            _ => buffers.clone(),
        };
        logits(&self.norm.query(&self.network, params, &statistics, query, None)?, support.ways)
    }
}

/// The logits of a task's classes: the head may have more outputs than the task has classes.
fn logits(forward: &Forward, ways: usize) -> Result<Tensor> {
    let outputs = forward.output.dim(1)?;
    if outputs < ways {
        return Err(LearnError::Invalid(format!(
            "this learner was trained with {outputs} classes a task and can't tell {ways} apart: use --ways {outputs} at most"
        )));
    }
    Ok(if outputs == ways { forward.output.clone() } else { forward.output.narrow(1, 0, ways)? })
}

/// One inner step's gradient, still tracked.
struct InnerStep {
    leaves: Leaves,
    gradient: Params,
}

impl InnerStep {
    fn at(maml: &Maml, params: &Params, buffers: &Buffers, support: &Batch) -> Result<Self> {
        let leaves = Leaves::new(params)?;
        let gradient = leaves.tracked_gradient(&maml.loss(&leaves.params(), buffers, support)?)?;
        Ok(Self { leaves, gradient })
    }
}

impl Objective for Maml {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let (support, query) = (&episode.support, &episode.query);
        let mut path = self.descend(&state.params, &state.buffers, support)?;
        let last = Leaves::new(&path.pop().unwrap_or_default())?;
        let logits = self.query(&last.params(), &state.buffers, support, &query.inputs)?;
        let loss = cross_entropy(&logits, &query.labels, 0.0)?;
        let mut v = last.gradient(&loss)?;
        if self.order == Order::Second {
            while let Some(params) = path.pop() {
                let step = InnerStep::at(self, &params, &state.buffers, support)?;
                v = v.minus(self.inner_lr, &step.leaves.vector_product(&step.gradient, &v)?)?;
            }
        }
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", accuracy(&logits, &query.labels)?)]),
            ..Gradient::of(loss.to_dtype(candle_core::DType::F64)?.to_scalar()?, v)
        })
    }
}

/// A trained initialisation that adapts by gradient descent.
#[derive(Debug, Clone)]
pub struct AdaptedMaml {
    maml: Maml,
    state: State,
}

impl Adapt for AdaptedMaml {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let mut path = self.maml.descend(&self.state.params, &self.state.buffers, support)?;
        let params = path.pop().unwrap_or_default();
        Ok(Box::new(Descended {
            maml: self.maml.clone(),
            params,
            buffers: self.state.buffers.clone(),
            support: support.clone(),
        }))
    }

    fn transductive(&self) -> bool {
        self.maml.norm.transductive()
    }
}

struct Descended {
    maml: Maml,
    params: Params,
    buffers: Buffers,
    support: Batch,
}

impl Classifier for Descended {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(self.maml.query(&self.params, &self.buffers, &self.support, inputs)?.detach())
    }

    fn network(&self) -> Result<(Network, State)> {
        let Maml { network, norm, .. } = &self.maml;
        if norm.transductive() {
            return Err(LearnError::Invalid(
                "a transductive learner can't be kept as a classifier of single images: train with --norm support"
                    .into(),
            ));
        }
        let (_, statistics) = norm.support(network, &self.params, &self.buffers, &self.support.inputs, None)?;
        let (outputs, ways) = (network.head().outputs(), self.support.ways);
        let in_task =
            |tensor: &Tensor| if tensor.dim(0)? == outputs { tensor.narrow(0, 0, ways) } else { Ok(tensor.clone()) };
        let head = self.params.filter(|name| network.in_head(name)).map(in_task)?;
        let state = State { params: self.params.merged(&head), buffers: statistics.detached() };
        Ok((network.with_head(network.head().with_outputs(ways)), state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use taper_models::{Architecture, Head};
    use taper_ops::{normal, rng};

    /// A 3-way 2-shot task of noise, and a narrow Conv4 (batch norm, pooling), in f64.
    fn setting() -> (Network, State, Episode) {
        let backbone = "conv4-4".parse::<Architecture>().unwrap().backbone((1, 16, 16)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 3 });
        let state = network.init(1).unwrap().to_dtype(DType::F64).unwrap();
        let batch = |stream| {
            let images = normal(&mut rng(0, stream, 0), (6, 1, 16, 16), 1.0).unwrap().to_dtype(DType::F64).unwrap();
            Batch::new(images, &[0, 0, 1, 1, 2, 2], 3).unwrap()
        };
        let episode =
            Episode { support: batch("s"), query: batch("q"), classes: vec![0, 1, 2], source: "noise".into() };
        (network, state, episode)
    }

    fn maml(network: &Network, steps: usize, order: Order, norm: TaskNorm) -> Maml {
        Maml::new(network.clone(), 0.1, steps, order, norm).unwrap()
    }

    fn gradient(maml: &Maml, state: &State, episode: &Episode) -> Gradient {
        maml.gradient(state, episode, Draw { seed: 0, step: 0, number: 0 }).unwrap()
    }

    /// Largest relative error, over tensors, of the meta-gradient along a random direction.
    fn largest_error(maml: &Maml, state: &State, episode: &Episode) -> f64 {
        let meta = gradient(maml, state, episode).params;
        let mut worst: f64 = 0.0;
        for (index, (name, slope)) in meta.iter().enumerate() {
            let direction = normal(&mut rng(5, "direction", index as u64), slope.shape().clone(), 1.0)
                .unwrap()
                .to_dtype(DType::F64)
                .unwrap();
            let loss_at = |h: f64| {
                let moved = (state.params.get(name).unwrap() + (&direction * h).unwrap()).unwrap();
                let moved: Params = [(name.to_string(), moved)].into_iter().collect();
                let state = State { params: state.params.merged(&moved), buffers: state.buffers.clone() };
                gradient(maml, &state, episode).loss
            };
            let h = 1e-6;
            let numeric = (loss_at(h) - loss_at(-h)) / (2.0 * h);
            let exact = (slope * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
            worst = worst.max((exact - numeric).abs() / numeric.abs().max(1e-2));
        }
        worst
    }

    #[test]
    fn the_exact_meta_gradient_equals_finite_differences_after_five_steps_in_every_tensor() {
        let (network, state, episode) = setting();
        for norm in [TaskNorm::Batch, TaskNorm::Support] {
            let error = largest_error(&maml(&network, 5, Order::Second, norm), &state, &episode);
            assert!(error < 1e-6, "{norm}: relative error {error:e}");
        }
    }

    #[test]
    fn the_first_order_meta_gradient_differs() {
        let (network, state, episode) = setting();
        let error = largest_error(&maml(&network, 5, Order::First, TaskNorm::Support), &state, &episode);
        assert!(error > 1e-2, "relative error {error:e}");
    }

    #[test]
    fn a_query_is_classified_alike_alone_and_in_company_unless_transductive() {
        let (network, state, episode) = setting();
        for (norm, alike) in [(TaskNorm::Support, true), (TaskNorm::Batch, false)] {
            let learner = maml(&network, 1, Order::First, norm).learner(state.clone(), 2);
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
    fn more_classes_than_the_head_has_is_an_error_that_says_so() {
        let (network, state, mut episode) = setting();
        let network = network.with_head(Head::Linear { outputs: 2 });
        let state = network.replace_head(&state, 0).unwrap().to_dtype(DType::F64).unwrap();
        episode.support.ways = 3;
        let error = maml(&network, 1, Order::First, TaskNorm::Batch).learner(state, 1).adapt(&episode.support, 0);
        assert!(error.err().unwrap().to_string().contains("--ways 2"));
    }
}
