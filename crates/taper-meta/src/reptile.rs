//! Reptile (Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms", algorithm
//! 1): the update direction is θ − φ, where φ is the network after k steps of gradient descent on a
//! task. There is no query set in training: all of a task's images are learned from.

use crate::inner_loop::{InnerLoop, Order, Rate, Step};
use crate::maml::Descent;
use crate::with_context::WithContext;
use candle_core::Tensor;
use std::collections::BTreeMap;
use taper_data::{Batch, Episode};
use taper_learn::{
    Adapt, Context, Draw, LearnError, Result, TaskNorm, TypedMethod,
    evaluation::accuracy,
    method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
    training::{Gradient, Objective},
};
use taper_models::State;
use taper_ops::cross_entropy;

/// Reptile in a registry.
pub const REPTILE: Registered<Reptile> = Registered::new();

method_settings! {
    /// Learns an initialization near the solutions of all tasks.
    pub struct Reptile {
        /// Learning rate inside a task.
        pub inner_lr: f64 = 0.1;
        /// Gradient steps inside a task, in training.
        pub inner_steps: usize = 5;
        /// Gradient steps inside a task, at inference.
        pub adapt_steps: usize = 20;
    }
}

impl TypedMethod for Reptile {
    const INFO: MethodInfo = MethodInfo {
        name: "reptile",
        title: "Reptile",
        kind: Kind::Meta,
        paper: "Nichol et al. 2018",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn check(&self) -> Result<()> {
        if self.inner_steps == 0 || self.inner_lr == 0.0 {
            return Err(LearnError::Invalid(
                "reptile needs an inner loop that moves: use inner-steps 5 and inner-lr 0.1, or other values above 0"
                    .into(),
            ));
        }
        Ok(())
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        self.check()?;
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(Descent::new(context, state, self.inner_lr, self.adapt_steps)))
    }
}

impl Objective for WithContext<Reptile> {
    type Item = Episode;

    /// (θ − φ) / (α k), which is the mean of the k inner gradients.
    fn gradient(&self, state: &State, episode: &Episode, _at: Draw) -> Result<Gradient> {
        let Reptile { inner_lr, inner_steps, .. } = self.method;
        let inner = InnerLoop::new(&self.context, Order::First);
        let batch = together(episode)?;
        let step = Step::plain(Rate::Same(inner_lr), &state.buffers);
        let steps = vec![step.clone(); inner_steps];
        let last = inner.descend(&state.params, &steps, &batch, &episode.source)?;
        let (logits, _) = inner.query(&last, &step, &batch, &batch.inputs, true)?;
        let loss = cross_entropy(&logits, &batch.labels, 0.0)?;
        let direction = state.params.detached().minus(1.0, &last)?.scaled(1.0 / (inner_lr * inner_steps as f64))?;
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
        views: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{gradient, start, task};
    use taper_models::{Leaves, Params};

    fn direction(inner_steps: usize) -> (Context, State, Params) {
        let reptile = Reptile { inner_steps, ..Reptile::default() };
        let (context, state) = start(&reptile, TaskNorm::Support, 1);
        let direction = gradient(reptile.objective(&context).unwrap().as_ref(), &state).params;
        (context, state, direction)
    }

    #[test]
    fn with_one_inner_step_the_direction_is_the_ordinary_gradient_of_all_images() {
        let (context, state, direction) = direction(1);
        let batch = together(&task()).unwrap();
        let leaves = Leaves::new(&state.params).unwrap();
        let mode = taper_models::Mode::batch_statistics();
        let forward = context.network.forward(&leaves.params(), &state.buffers, &batch.inputs, mode).unwrap();
        let ordinary = leaves.gradient(&cross_entropy(&forward.output, &batch.labels, 0.0).unwrap()).unwrap();
        let difference = direction.minus(1.0, &ordinary).unwrap().norm().unwrap();
        assert!(difference < 1e-10 * ordinary.norm().unwrap(), "{difference:e}");
    }

    #[test]
    fn with_more_steps_it_is_not() {
        let (one, five) = (direction(1).2, direction(5).2);
        assert!(one.minus(1.0, &five).unwrap().norm().unwrap() > 1e-2 * one.norm().unwrap());
    }
}
