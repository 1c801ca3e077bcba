//! The one training loop: draw, gradients in parallel, mean in item order, clip, step, tell,
//! validate, keep the best, save.
//!
//! Pretraining and meta-training differ in the item (a mini-batch, an episode) and in the
//! objective, not in the loop. Chance comes from (seed, step, item), so a resumed run equals an
//! unbroken one bit for bit.

use crate::{
    Average, Draw, Event, Flow, Gradient, LearnError, Objective, Observer, Optimizer, OptimizerState, Rates, Result,
    Schedule,
};
use std::collections::BTreeMap;
use taper_models::{Buffers, Params, State};
use taper_ops::{PackedOnce, map_in_order};

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Steps in all.
    pub steps: u64,
    /// Items a step.
    pub items: usize,
    /// Base learning rate.
    pub learning_rate: f64,
    /// The learning rate over the run.
    pub schedule: Schedule,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// Parts of the network that learn at another rate.
    pub rates: Rates,
    /// Largest length of a gradient; longer ones are shortened to it.
    pub clip: Option<f64>,
    /// Steps, counted from 0, before which the optimizer forgets: other parameters are learned from
    /// there on.
    pub restarts: Vec<u64>,
    /// Which states are averaged; the average is then what is validated and kept.
    pub average: Average,
    /// Steps between validations, 0 for none.
    pub validate_every: u64,
    /// Validations without a new best after which to stop, 0 for never.
    pub patience: u64,
    /// Steps between checkpoints, 0 for the end alone.
    pub save_every: u64,
    /// The run's seed.
    pub seed: u64,
}

impl Default for Plan {
    /// 1000 steps of one item with Adam at 1e-3, constant.
    fn default() -> Self {
        Self {
            steps: 1000,
            items: 1,
            learning_rate: 1e-3,
            schedule: Schedule::Constant,
            optimizer: Optimizer::adam(),
            rates: Rates::default(),
            clip: None,
            restarts: Vec::new(),
            average: Average::Off,
            validate_every: 0,
            patience: 0,
            save_every: 0,
            seed: 0,
        }
    }
}

/// Where a run stands: all that a resumed one needs.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// What is learned so far.
    pub state: State,
    /// What the optimizer remembers.
    pub moments: OptimizerState,
    /// The average of the states so far, where the plan asks for one.
    pub average: Option<State>,
    /// The best validated state.
    pub best: Option<Best>,
    /// Validations since then.
    pub since_best: u64,
}

/// The best validated state of a run.
#[derive(Debug, Clone)]
pub struct Best {
    /// Its score, higher is better.
    pub score: f64,
    /// Steps taken when it was scored.
    pub step: u64,
    /// The state.
    pub state: State,
}

impl Progress {
    /// Before the first step.
    pub fn new(state: State) -> Self {
        Self { step: 0, state, moments: OptimizerState::default(), average: None, best: None, since_best: 0 }
    }

    /// What the run has learned: the average of its states where there is one, or the latest.
    pub fn learned(&self) -> &State {
        self.average.as_ref().unwrap_or(&self.state)
    }

    /// The best validated state, or what was learned where nothing was validated.
    pub fn into_best(self) -> State {
        let Self { state, average, best, .. } = self;
        best.map(|best| best.state).or(average).unwrap_or(state)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All steps were taken.
    Finished,
    /// Validation stopped improving.
    Converged,
    /// The observer asked to stop.
    Stopped,
}

/// A run's end.
#[derive(Debug)]
pub struct Fit {
    /// Where it stands.
    pub progress: Progress,
    /// Why it ended.
    pub outcome: Outcome,
}

/// Trains from `start` by `plan`: `items` makes the item of a draw, `validate` scores a state
/// (higher is better) every `plan.validate_every` steps.
///
/// Errs at the first loss that is no number, leaving checkpoints as they were.
pub fn fit<O: Objective + ?Sized>(
    start: Progress,
    plan: &Plan,
    objective: &O,
    items: impl Fn(Draw) -> Result<O::Item> + Sync,
    mut validate: impl FnMut(&State) -> Result<f64>,
    observer: &mut dyn Observer,
) -> Result<Fit> {
    let mut progress = start;
    let converged = |progress: &Progress| plan.patience > 0 && progress.since_best >= plan.patience;
    if converged(&progress) {
        return Ok(Fit { progress, outcome: Outcome::Converged });
    }
    while progress.step < plan.steps {
        let step = progress.step;
        let draws: Vec<Draw> = (0..plan.items as u64)
            .map(|index| Draw { seed: plan.seed, step, number: step * plan.items as u64 + index })
            .collect();
        let state = &progress.state;
        // a single item would only keep its packed weights longer
        let shared = (plan.items > 1).then(|| PackedOnce::new(state.params.iter().map(|(_, weight)| weight)));
        let made = map_in_order(&draws, |_, &draw| objective.gradient(state, &items(draw)?, draw));
        drop(shared);
        let gradients = without_diverged(made, step, observer)?;
        let learning_rate = plan.learning_rate * plan.schedule.factor(step, plan.steps);
        let mean = mean_gradient(gradients)?;
        let length = if plan.clip.is_some() { mean.params.norm()? } else { 0.0 };
        if !mean.loss.is_finite() || !length.is_finite() {
            return Err(LearnError::Diverged { step: step + 1, loss: mean.loss, learning_rate });
        }
        let direction = match plan.clip {
            Some(most) if length > most => mean.params.scaled(most / length)?,
            _ => mean.params,
        };
        let remembered = if plan.restarts.contains(&step) { &OptimizerState::default() } else { &progress.moments };
        let (params, moments) = plan.optimizer.step(&state.params, &direction, remembered, learning_rate)?;
        let params = plan.rates.applied(&state.params, params)?;
        let buffers = state.buffers.merged(&mean.buffers);
        let state = State { params, buffers };
        let average = plan.average.after(progress.average.take(), &state, step + 1, plan.steps)?;
        progress = Progress { step: step + 1, state, moments, average, ..progress };

        let event =
            Event::Step { step: step + 1, steps: plan.steps, loss: mean.loss, metrics: &mean.metrics, learning_rate };
        let mut flow = observer.on(event)?;
        let due = |every: u64| every > 0 && (step + 1).is_multiple_of(every);
        if due(plan.validate_every) || (plan.validate_every > 0 && step + 1 == plan.steps) {
            let score = validate(progress.learned())?;
            let best = progress.best.as_ref().is_none_or(|best| score > best.score);
            if best {
                progress.best = Some(Best { score, step: step + 1, state: progress.learned().clone() });
            }
            progress.since_best = if best { 0 } else { progress.since_best + 1 };
            if observer.on(Event::Validated { step: step + 1, score, best })? == Flow::Stop {
                flow = Flow::Stop;
            }
        }
        let converged = converged(&progress);
        if due(plan.save_every) || flow == Flow::Stop || converged || step + 1 == plan.steps {
            observer.on(Event::Checkpoint(&progress))?;
        }
        if flow == Flow::Stop && step + 1 < plan.steps {
            return Ok(Fit { progress, outcome: Outcome::Stopped });
        }
        if converged {
            return Ok(Fit { progress, outcome: Outcome::Converged });
        }
    }
    Ok(Fit { progress, outcome: Outcome::Finished })
}

/// The gradients of the items whose inner loops stayed finite; the others are skipped and told.
///
/// Errs when none is left.
fn without_diverged(made: Vec<Result<Gradient>>, step: u64, observer: &mut dyn Observer) -> Result<Vec<Gradient>> {
    let mut gradients = Vec::with_capacity(made.len());
    let mut diverged = None;
    for gradient in made {
        match gradient {
            Ok(gradient) => gradients.push(gradient),
            Err(error @ LearnError::InnerDiverged { .. }) => {
                observer.on(Event::Warning(format!("step {}: {error}; the task was skipped", step + 1)))?;
                diverged = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match diverged {
        Some(error) if gradients.is_empty() => {
            Err(LearnError::StepDiverged { step: step + 1, problem: error.to_string() })
        }
        _ => Ok(gradients),
    }
}

/// The mean over items, summed in their order.
fn mean_gradient(gradients: Vec<Gradient>) -> Result<Gradient> {
    let share = 1.0 / gradients.len() as f64;
    let mut items = gradients.into_iter();
    let Some(first) = items.next() else {
        return Err(LearnError::Invalid("a step of 0 items learns nothing: use a batch size of at least 1".into()));
    };
    if share == 1.0 {
        return Ok(first);
    }
    let mut total = first;
    for item in items {
        total.loss += item.loss;
        total.params = total.params.zip(&item.params, |a, b| a + b)?;
        total.buffers = total.buffers.zip(&item.buffers, |a, b| a + b)?;
        for (name, value) in item.metrics {
            *total.metrics.entry(name).or_insert(0.0) += value;
        }
    }
    Ok(Gradient {
        loss: total.loss * share,
        metrics: total.metrics.into_iter().map(|(name, value)| (name, value * share)).collect::<BTreeMap<_, _>>(),
        params: total.params.map(|tensor| tensor * share)?,
        buffers: total.buffers.map(|tensor| tensor * share)?,
    })
}

impl Gradient {
    /// A gradient whose item changes no running statistics.
    pub fn of(loss: f64, params: Params) -> Self {
        Self { loss, metrics: BTreeMap::new(), params, buffers: Buffers::default() }
    }
}
