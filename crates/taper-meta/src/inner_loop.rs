//! Gradient steps inside a task, and the derivative through them: the basis of every method that
//! learns an initialization.
//!
//! φ₀ is the task's initialization and φₖ₊₁ = φₖ − αₖ ∘ ∇L_support(φₖ), over the parameters that have a
//! rate; the others don't change. The derivative of Σₖ wₖ L_query(φₖ) needs no graph over the whole loop:
//! with v = w_K ∇L_query(φ_K), go backward,
//! v ← v − ∇⟨∇L_support(φₖ), αₖ ∘ v⟩ + wₖ ∇L_query(φₖ), with only a few steps' graphs alive at a time; at
//! each step ∂/∂αₖ = −∇L_support(φₖ) ∘ v. Memory is that of those few, plus copies of the parameters
//! ([`Trajectory`]).

use crate::trajectory::{Trajectory, TrajectoryPoint};
use candle_core::{DType, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::{Classifier, Context, LearnError, Result, TaskNorm, evaluation::accuracy};
use taper_models::{BatchStatistics, Buffers, Forward, Leaves, Mode, Network, Norm, Params, State};
use taper_ops::cross_entropy;

/// The order of the meta-gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Without second derivatives: v stays the queries' gradient.
    First,
    /// The exact derivative.
    Second,
}

/// The step sizes of one inner step.
#[derive(Debug, Clone)]
pub(crate) enum Rate {
    /// One for all parameters.
    Same(f64),
    /// One for each tensor (a scalar) or each element (of the tensor's shape); a parameter that is
    /// not named is not adapted.
    Each(Params),
}

impl Rate {
    fn is_learned(&self) -> bool {
        matches!(self, Self::Each(_))
    }

    fn adapts(&self, name: &str) -> bool {
        match self {
            Self::Same(_) => true,
            Self::Each(rates) => rates.get(name).is_ok(),
        }
    }

    /// α ∘ direction, for the adapted parameters.
    fn times(&self, direction: &Params) -> Result<Params> {
        Ok(match self {
            Self::Same(rate) => direction.scaled(*rate)?,
            Self::Each(rates) => direction
                .iter()
                .map(|(name, slope)| Ok((name.to_string(), slope.broadcast_mul(rates.get(name)?)?)))
                .collect::<Result<_>>()?,
        })
    }

    /// ∂/∂α of ⟨−α ∘ slope, v⟩.
    fn gradient(&self, slope: &Params, v: &Params) -> Result<Params> {
        let Self::Each(rates) = self else { return Ok(Params::default()) };
        rates
            .iter()
            .map(|(name, rate)| {
                let product = (slope.get(name)? * v.get(name)?)?.neg()?;
                let own = if rate.rank() == 0 { product.sum_all()? } else { product };
                Ok((name.to_string(), own))
            })
            .collect()
    }
}

/// What differs from one inner step to another.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The step sizes; unused after the last step.
    pub(crate) rate: Rate,
    /// Parameters of this step only, in place of those of the same name.
    pub(crate) own: Params,
    /// Running statistics of this step, for [`TaskNorm::PerStep`].
    pub(crate) buffers: Buffers,
    /// The weight of the query loss at φₖ.
    pub(crate) weight: f64,
}

impl Step {
    /// A step like all others.
    pub(crate) fn plain(rate: Rate, buffers: &Buffers) -> Self {
        Self { rate, own: Params::default(), buffers: buffers.clone(), weight: 0.0 }
    }
}

/// The gradient through an inner loop.
pub(crate) struct Outcome {
    /// Σ wₖ L_query(φₖ).
    pub(crate) loss: f64,
    /// Accuracy on the queries at φ_K.
    pub(crate) accuracy: f64,
    /// The gradient with respect to φ₀.
    pub(crate) start: Params,
    /// The gradient with respect to each step's own values; queries are classified after the last one.
    pub(crate) steps: Vec<StepGradient>,
}

/// The gradient with respect to one step's own values.
#[derive(Default)]
pub(crate) struct StepGradient {
    /// With respect to its rates; empty for a rate that is not learned.
    pub(crate) rate: Params,
    /// With respect to its own parameters.
    pub(crate) own: Params,
    /// The statistics of its batch.
    pub(crate) statistics: BatchStatistics,
}

/// A network that adapts to a task by gradient steps.
#[derive(Debug, Clone)]
pub(crate) struct InnerLoop {
    pub(crate) network: Network,
    pub(crate) norm: TaskNorm,
    pub(crate) order: Order,
}

impl InnerLoop {
    /// An inner loop for a context's network and norm.
    pub(crate) fn new(context: &Context, order: Order) -> Self {
        Self { network: context.network.clone(), norm: context.norm, order }
    }

    /// Support logits at φ, and the statistics that queries are normalized by. A support set is
    /// always normalized by its own statistics: they are the same in training and at inference, and
    /// do not depend on queries.
    fn support(&self, params: &Params, step: &Step, inputs: &Tensor) -> Result<(Forward, Buffers)> {
        if self.norm != TaskNorm::PerStep {
            return self.norm.support(&self.network, params, &step.buffers, inputs, None);
        }
        Ok((self.per_step(params, step, inputs, Norm::Batch)?, step.buffers.clone()))
    }

    /// A forward pass through the norms of one step.
    fn per_step(&self, params: &Params, step: &Step, inputs: &Tensor, norm: Norm) -> Result<Forward> {
        Ok(self.network.forward(params, &step.buffers, inputs, Mode { norm, ..Mode::evaluate() })?)
    }

    /// Query logits at φ with the step's own parameters, tracked through the support's statistics too, and the
    /// statistics of the queries if each step keeps its own.
    pub(crate) fn query(
        &self,
        params: &Params,
        step: &Step,
        support: &Batch,
        inputs: &Tensor,
        training: bool,
    ) -> Result<(Tensor, BatchStatistics)> {
        if self.norm == TaskNorm::PerStep {
            // as in ordinary batch norm: the batch's statistics in training, running statistics at inference
            let norm = if training { Norm::Batch } else { Norm::Stored };
            let forward = self.per_step(params, step, inputs, norm)?;
            return Ok((logits(&forward, support.ways)?, forward.statistics));
        }
        let statistics = match self.norm {
            TaskNorm::Support if !step.buffers.is_empty() => self.support(params, step, &support.inputs)?.1,
            _ => step.buffers.clone(),
        };
        let forward = self.norm.query(&self.network, params, &statistics, inputs, None)?;
        Ok((logits(&forward, support.ways)?, BatchStatistics::default()))
    }

    /// φ_K, detached, from φ₀ = `start`.
    ///
    /// Fails at the first loss that is not finite.
    pub(crate) fn descend(&self, start: &Params, steps: &[Step], support: &Batch, source: &str) -> Result<Params> {
        let mut here = start.detached();
        for (number, step) in steps.iter().enumerate() {
            here = self.advance(&here, number, step, support, source)?.0;
        }
        Ok(here)
    }

    /// φₖ₊₁, detached, and the gradient at φₖ with its graph; `number` is k.
    ///
    /// Fails at a loss that is not finite.
    pub(crate) fn advance(
        &self,
        here: &Params,
        number: usize,
        step: &Step,
        support: &Batch,
        source: &str,
    ) -> Result<(Params, Slope)> {
        let at = Slope::at(self, here, step, support)?;
        let direction = step.rate.times(&at.gradient.detached())?;
        let moved = here.filter(|name| step.rate.adapts(name)).minus(1.0, &direction)?.detached();
        if !at.loss.is_finite() || !moved.norm()?.is_finite() {
            return Err(LearnError::InnerDiverged { task: source.to_string(), step: number + 1, loss: at.loss });
        }
        Ok((here.merged(&moved), at))
    }

    /// Returns `true` if the backward pass needs the gradient of a step.
    pub(crate) fn needs_slope(&self, step: &Step) -> bool {
        self.order == Order::Second || step.rate.is_learned()
    }

    /// The gradient of Σ wₖ L_query(φₖ); queries are classified with `last`, after all `steps`.
    pub(crate) fn differentiate(
        &self,
        start: &Params,
        steps: &[Step],
        last: &Step,
        episode: &Episode,
    ) -> Result<Outcome> {
        let (mut trajectory, end) = Trajectory::walk(self, start, steps, &episode.support, &episode.source)?;
        let scored = Scored::at(self, &end, last, episode)?;
        let mut loss = scored.loss * last.weight;
        let accuracy = accuracy(&scored.logits, &episode.query.labels)?;
        let (own, mut v) = last.split(&scored.gradient.scaled(last.weight)?);
        let mut gradients = vec![StepGradient { own, statistics: scored.statistics, ..StepGradient::default() }];
        while let Some(TrajectoryPoint { number, params, slope }) = trajectory.back()? {
            let step = &steps[number];
            let mut here = StepGradient { own: step.own.zeros()?, ..StepGradient::default() };
            let adapted = v.filter(|name| step.rate.adapts(name));
            if self.needs_slope(step) {
                let at = match slope {
                    Some(at) => at,
                    None => Slope::at(self, &params, step, &episode.support)?,
                };
                here.rate = step.rate.gradient(&at.gradient.detached(), &adapted)?.detached();
                if self.order == Order::Second {
                    let product = at.leaves.vector_product(&at.gradient, &step.rate.times(&adapted)?.detached())?;
                    let (own, rest) = step.split(&product);
                    here.own = here.own.minus(1.0, &own)?;
                    v = v.merged(&v.filter(|name| rest.get(name).is_ok()).minus(1.0, &rest)?);
                }
                here.statistics = at.statistics;
            }
            if step.weight != 0.0 {
                let scored = Scored::at(self, &params, step, episode)?;
                loss += scored.loss * step.weight;
                let (own, rest) = step.split(&scored.gradient);
                here.own = here.own.plus(step.weight, &own)?;
                v = v.merged(&v.filter(|name| rest.get(name).is_ok()).plus(step.weight, &rest)?);
            }
            v = v.detached();
            gradients.push(here);
        }
        gradients.reverse();
        Ok(Outcome { loss, accuracy, start: v, steps: gradients })
    }
}

impl Step {
    /// A gradient's part for this step's own parameters, and the rest.
    fn split(&self, gradient: &Params) -> (Params, Params) {
        let own = |name: &str| self.own.get(name).is_ok();
        (gradient.filter(own), gradient.filter(|name| !own(name)))
    }
}

/// The logits of a task's classes: the head may have more outputs than the task has classes.
fn logits(forward: &Forward, ways: usize) -> Result<Tensor> {
    match forward.output.dim(1)? {
        outputs if outputs == ways => Ok(forward.output.clone()),
        outputs if outputs > ways => Ok(forward.output.narrow(1, 0, ways)?),
        outputs => Err(LearnError::Invalid(format!(
            "this learner's head has {outputs} outputs and can't classify {ways} classes: use tasks of at most {outputs}"
        ))),
    }
}

/// ∇L_support(φₖ) over the adapted parameters, still tracked.
pub(crate) struct Slope {
    leaves: Leaves,
    gradient: Params,
    loss: f64,
    statistics: BatchStatistics,
}

impl Slope {
    fn at(inner: &InnerLoop, params: &Params, step: &Step, support: &Batch) -> Result<Self> {
        let leaves = Leaves::new(&params.merged(&step.own))?;
        let (forward, _) = inner.support(&leaves.params(), step, &support.inputs)?;
        let loss = cross_entropy(&logits(&forward, support.ways)?, &support.labels, 0.0)?;
        let gradient =
            leaves.tracked_gradient_of(&loss, |name| step.rate.adapts(name) && step.own.get(name).is_err())?;
        let statistics = forward.statistics.detached();
        Ok(Self { leaves, gradient, loss: loss.to_dtype(DType::F64)?.to_scalar()?, statistics })
    }
}

/// L_query(φₖ) and its gradient.
struct Scored {
    loss: f64,
    logits: Tensor,
    gradient: Params,
    statistics: BatchStatistics,
}

impl Scored {
    fn at(inner: &InnerLoop, params: &Params, step: &Step, episode: &Episode) -> Result<Self> {
        let leaves = Leaves::new(&params.merged(&step.own))?;
        let (logits, statistics) =
            inner.query(&leaves.params(), step, &episode.support, &episode.query.inputs, true)?;
        let loss = cross_entropy(&logits, &episode.query.labels, 0.0)?;
        Ok(Self {
            loss: loss.to_dtype(DType::F64)?.to_scalar()?,
            gradient: leaves.gradient(&loss)?,
            logits: logits.detach(),
            statistics: statistics.detached(),
        })
    }
}

/// A network fitted to a task.
pub(crate) struct Fitted {
    pub(crate) inner: InnerLoop,
    pub(crate) params: Params,
    /// The last step of the inner loop.
    pub(crate) step: Step,
    pub(crate) support: Batch,
}

impl Classifier for Fitted {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(self.inner.query(&self.params.merged(&self.step.own), &self.step, &self.support, inputs, false)?.0.detach())
    }

    fn network(&self) -> Result<(Network, State)> {
        let InnerLoop { network, norm, .. } = &self.inner;
        if norm.transductive() {
            return Err(LearnError::Invalid(
                "a transductive learner can't be kept as a classifier of single images: train with the norm `support`"
                    .into(),
            ));
        }
        let params = self.params.merged(&self.step.own);
        let (_, statistics) = self.inner.support(&params, &self.step, &self.support.inputs)?;
        let (outputs, ways) = (network.head().outputs(), self.support.ways);
        let in_task =
            |tensor: &Tensor| if tensor.dim(0)? == outputs { tensor.narrow(0, 0, ways) } else { Ok(tensor.clone()) };
        let head = params.filter(|name| network.in_head(name)).map(in_task)?;
        let state = State { params: params.merged(&head), buffers: statistics.detached() };
        Ok((network.with_head(network.head().with_outputs(ways)), state))
    }
}

/// A network with its head as wide as `ways`, and its parameters: if a task has more classes
/// than the head has outputs, the others start as the mean of the learned ones (as Ye and Chao
/// 2022, "How to Train Your MAML to Excel in Few-Shot Classification", start all of them).
pub(crate) fn widened(network: &Network, params: &Params, ways: usize) -> Result<(Network, Params)> {
    let outputs = network.head().outputs();
    if outputs >= ways {
        return Ok((network.clone(), params.clone()));
    }
    let wider = |tensor: &Tensor| {
        if tensor.dim(0)? != outputs {
            return Ok(tensor.clone());
        }
        let mean = tensor.mean_keepdim(0)?;
        let mut rows = vec![tensor.clone()];
        rows.extend((outputs..ways).map(|_| mean.clone()));
        Tensor::cat(&rows, 0)
    };
    let head = params.filter(|name| network.in_head(name)).map(wider)?;
    Ok((network.with_head(network.head().with_outputs(ways)), params.merged(&head)))
}
