//! Reptile (Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms", algorithm
//! 1): the update direction is θ − φ, where φ is the network after k steps of gradient descent on a
//! task. There is no query set in training: all of a task's images are learned from.

use crate::inner_loop::{InnerLoop, Order, Rate, Step};
use crate::maml::Maml;
use candle_core::Tensor;
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Draw, Episodic, Gradient, Kind, Method, Objective, Result, Setting, Setup, TaskNorm, Training, accuracy,
    nothing_beside,
};
use taper_models::{Head, State};
use taper_ops::cross_entropy;

/// Reptile in the registry.
pub const REPTILE: Method = Method {
    name: "reptile",
    title: "Reptile",
    kind: Kind::Meta,
    paper: "Nichol et al. 2018",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[
        Setting { name: "inner-lr", default: 0.1, about: "learning rate inside a task" },
        Setting { name: "inner-steps", default: 5.0, about: "gradient steps inside a task, in training" },
        Setting { name: "adapt-steps", default: 20.0, about: "gradient steps inside a task, in use" },
    ],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |ways| Head::Linear { outputs: ways },
        own: nothing_beside,
        objective: |setup| Ok(Box::new(Reptile::of(setup)?)),
    }),
    learner: |setup, state| {
        let rate = setup.settings.get("inner-lr")?;
        let maml = Maml::new(setup.network.clone(), rate, 0, Order::First, setup.norm)?;
        Ok(Box::new(maml.learner(state, setup.settings.count("adapt-steps")?)))
    },
};

/// Learns an initialization near the solutions of all tasks.
#[derive(Debug, Clone)]
pub struct Reptile {
    inner: InnerLoop,
    inner_lr: f64,
    inner_steps: usize,
}

impl Reptile {
    fn of(setup: &Setup) -> Result<Self> {
        Ok(Self {
            inner: InnerLoop { network: setup.network.clone(), norm: setup.norm, order: Order::First },
            inner_lr: setup.settings.get("inner-lr")?,
            inner_steps: setup.settings.count("inner-steps")?.max(1),
        })
    }
}

impl Objective for Reptile {
    type Item = Episode;

    /// (θ − φ) / (α k), which is the mean of the k inner gradients.
    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let batch = together(episode)?;
        let step = Step::plain(Rate::Same(self.inner_lr), &state.buffers);
        let steps = vec![step.clone(); self.inner_steps];
        let last = self.inner.descend(&state.params, &steps, &batch, &episode.source)?;
        let (logits, _) = self.inner.query(&last, &step, &batch, &batch.inputs, true)?;
        let loss = cross_entropy(&logits, &batch.labels, 0.0)?;
        let direction =
            state.params.detached().minus(1.0, &last)?.scaled(1.0 / (self.inner_lr * self.inner_steps as f64))?;
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", accuracy(&logits, &batch.labels)?)]),
            ..Gradient::of(loss.to_dtype(candle_core::DType::F64)?.to_scalar()?, direction.detached())
        })
    }
}

/// Support and queries as one batch.
fn together(episode: &Episode) -> Result<Batch> {
    let (support, query) = (&episode.support, &episode.query);
    Ok(Batch {
        inputs: Tensor::cat(&[&support.inputs, &query.inputs], 0)?,
        labels: Tensor::cat(&[&support.labels, &query.labels], 0)?,
        ways: support.ways,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{gradient, objective, start, task};
    use taper_models::Leaves;

    #[test]
    fn with_one_inner_step_the_direction_is_the_ordinary_gradient_of_all_images() {
        let (setup, state) = start(&REPTILE, TaskNorm::Support, &[("inner-steps", 1.0)], 1);
        let direction = gradient(objective(&REPTILE, &setup).as_ref(), &state).params;
        let batch = together(&task()).unwrap();
        let leaves = Leaves::new(&state.params).unwrap();
        let mode = taper_models::Mode::batch_statistics();
        let forward = setup.network.forward(&leaves.params(), &state.buffers, &batch.inputs, mode).unwrap();
        let ordinary = leaves.gradient(&cross_entropy(&forward.output, &batch.labels, 0.0).unwrap()).unwrap();
        let difference = direction.minus(1.0, &ordinary).unwrap().norm().unwrap();
        assert!(difference < 1e-10 * ordinary.norm().unwrap(), "{difference:e}");
    }

    #[test]
    fn with_more_steps_it_is_not() {
        let direction = |steps| {
            let (setup, state) = start(&REPTILE, TaskNorm::Support, &[("inner-steps", steps)], 1);
            gradient(objective(&REPTILE, &setup).as_ref(), &state).params
        };
        let (one, five) = (direction(1.0), direction(5.0));
        assert!(one.minus(1.0, &five).unwrap().norm().unwrap() > 1e-2 * one.norm().unwrap());
    }
}
