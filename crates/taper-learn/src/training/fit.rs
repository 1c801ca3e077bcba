//! The one training loop: draw, gradients in parallel, mean in item order, clip, step, report,
//! validate, keep the best, save.
//!
//! Pretraining and meta-training differ in the item (a mini-batch, an episode) and in the
//! objective, not in the loop. Random choices depend only on (seed, step, item), so a resumed run
//! equals an unbroken one bit for bit. Processes that share the job divide the items of a step; every one
//! of them then takes the same step, so a run has the same bits on any number of processes.

use crate::ranks::{Ranks, any};
use crate::runs::same_progress;
use crate::training::finite::not_finite;
use crate::training::mean_gradient::mean_gradient;
use crate::{
    Draw, Event, Flow, LearnError, Observer, Result,
    training::{Average, Gradient, Objective, Optimizer, OptimizerState, Rates, Schedule},
};
use std::collections::BTreeMap;
use taper_models::{Buffers, Params, State};
use taper_ops::{PackedOnce, map_in_order};

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Number of steps.
    pub steps: u64,
    /// Items per step.
    pub items: usize,
    /// Base learning rate.
    pub learning_rate: f64,
    /// The learning rate over the run.
    pub schedule: Schedule,
    /// How a gradient becomes a step.
    pub optimizer: Optimizer,
    /// Parts of the network with another learning rate.
    pub rates: Rates,
    /// Largest norm of a gradient; larger ones are scaled down to it.
    pub clip: Option<f64>,
    /// Steps, counted from 0, before which the optimizer is reset, because other parameters are learned from
    /// then on.
    pub restarts: Vec<u64>,
    /// Which states are averaged; the average is then what is validated and kept.
    pub average: Average,
    /// Steps between validations; 0 for no validation.
    pub validate_every: u64,
    /// Validations without a new best after which to stop; 0 to run to the end.
    pub patience: u64,
    /// Steps between checkpoints; 0 for one only at the end.
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

/// The progress of a run: everything that resuming it needs.
#[derive(Debug, Clone)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// The latest parameters and running statistics.
    pub state: State,
    /// The optimizer's state.
    pub moments: OptimizerState,
    /// The average of the states so far, if the plan asks for one.
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
    /// The progress before the first step.
    pub fn new(state: State) -> Self {
        Self { step: 0, state, moments: OptimizerState::default(), average: None, best: None, since_best: 0 }
    }

    /// What the run has learned: the average of its states if there is one, otherwise the latest.
    pub fn learned(&self) -> &State {
        self.average.as_ref().unwrap_or(&self.state)
    }

    /// The best validated state, or what was learned if nothing was validated.
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
    /// Its final progress.
    pub progress: Progress,
    /// Why it ended.
    pub outcome: Outcome,
}

/// Trains from `start` by `plan`: `items` makes the item of a draw, `validate` scores a state
/// (higher is better) every `plan.validate_every` steps.
///
/// # Errors
/// Returns an error at the first NaN or infinite loss, and if a step leaves a parameter, running
/// statistic or moment of the optimizer that is not finite, before such a state is validated or
/// saved. Saved checkpoints are kept.
///
/// ```
/// use taper_data::Batch;
/// use taper_learn::training::{Supervised, Targeted, Trainable};
/// use taper_learn::{Draw, NoopObserver, Plan, Progress, fit};
/// use taper_models::{Architecture, Head, Network, Norm};
///
/// let backbone = "conv4-4".parse::<Architecture>()?.backbone((1, 16, 16))?;
/// let network = Network::new(backbone, Head::Linear { outputs: 2 });
/// let objective = Supervised::new(network.clone(), Trainable::All, Norm::Batch);
/// let batch = |at: Draw| {
///     let images = taper_ops::uniform(&mut at.rng("images"), (4, 1, 16, 16), 0.0, 1.0)?;
///     Targeted::of(&Batch::new(images, &[0, 1, 0, 1], 2)?, None, 0.0)
/// };
/// let plan = Plan { steps: 3, ..Plan::default() };
/// let start = Progress::new(network.init(0)?);
/// let fitted = fit(start, &plan, &objective, batch, |_| Ok(0.0), &mut NoopObserver)?;
/// assert_eq!(fitted.progress.step, 3);
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
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
    let ranks = observer.ranks();
    let ranks = ranks.as_ref();
    let mut losses: Option<[f64; 2]> = None;
    while progress.step < plan.steps {
        let step = progress.step;
        let draws: Vec<Draw> = (0..plan.items as u64)
            .map(|index| Draw { seed: plan.seed, step, number: step * plan.items as u64 + index })
            .collect();
        let state = &progress.state;
        // with a single item this would only keep its packed weights longer
        let shared = (plan.items > 1).then(|| PackedOnce::new(state.params.iter().map(|(_, weight)| weight)));
        let own = &draws[ranks.block(draws.len())];
        let made = map_in_order(own, |_, &draw| objective.gradient(state, &items(draw)?, draw));
        drop(shared);
        let learning_rate = plan.learning_rate * plan.schedule.factor(step, plan.steps);
        let mean = mean_gradient(made, step, ranks, observer)?;
        let length = if plan.clip.is_some() { mean.params.norm()? } else { 0.0 };
        if !mean.loss.is_finite() || !length.is_finite() {
            return Err(LearnError::Diverged { step: step + 1, loss: mean.loss, learning_rate });
        }
        losses = Some([losses.map_or(mean.loss, |[first, _]| first), mean.loss]);
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
        let mut flow = agreed(observer.on(event)?, ranks)?;
        let due = |every: u64| every > 0 && (step + 1).is_multiple_of(every);
        let validates = due(plan.validate_every) || (plan.validate_every > 0 && step + 1 == plan.steps);
        if validates || due(plan.save_every) || flow == Flow::Stop || step + 1 == plan.steps {
            // a step of finite loss may still overflow: such a state is neither scored nor kept
            if let Some(what) = not_finite(&progress)? {
                return Err(LearnError::NotFinite { step: step + 1, what, learning_rate });
            }
            same_progress(&progress, ranks)?;
        }
        if validates {
            let score = validate(progress.learned())?;
            let best = progress.best.as_ref().is_none_or(|best| score > best.score) && !score.is_nan();
            if best {
                progress.best = Some(Best { score, step: step + 1, state: progress.learned().clone() });
            }
            progress.since_best = if best { 0 } else { progress.since_best + 1 };
            if agreed(observer.on(Event::Validated { step: step + 1, score, best })?, ranks)? == Flow::Stop {
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
    if let Some([first, last]) = losses
        && last > EXPLODED * first.max(1.0)
    {
        let learning_rate = plan.learning_rate;
        observer.on(Event::Warning(format!(
            "the loss rose from {first:.3} to {last:.1e}: training at a learning rate of {learning_rate} diverged, \
             so nothing was learned; use a smaller one"
        )))?;
    }
    Ok(Fit { progress, outcome: Outcome::Finished })
}

/// A run whose last loss is so many times its first one has diverged, although all its numbers are finite.
const EXPLODED: f64 = 100.0;

/// To stop if the observer of any process asks to.
fn agreed(flow: Flow, ranks: &dyn Ranks) -> Result<Flow> {
    Ok(if any(ranks, flow == Flow::Stop)? { Flow::Stop } else { Flow::Continue })
}

impl Gradient {
    /// A gradient whose item changes no running statistics.
    pub fn of(loss: f64, params: Params) -> Self {
        Self { loss, metrics: BTreeMap::new(), params, buffers: Buffers::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    /// A finite loss of constant slope, and running statistics of this value.
    struct Slope(f32);

    impl Objective for Slope {
        type Item = ();

        fn gradient(&self, state: &State, _item: &(), _at: Draw) -> Result<Gradient> {
            let params = state.params.map(Tensor::ones_like)?;
            let buffers = [("mean".to_string(), Tensor::new(&[self.0], &Device::Cpu)?)].into_iter().collect();
            Ok(Gradient { loss: 1.0, metrics: BTreeMap::new(), params, buffers })
        }
    }

    /// A loss that grows a thousandfold with every step.
    struct Exploding;

    impl Objective for Exploding {
        type Item = ();

        fn gradient(&self, state: &State, _item: &(), at: Draw) -> Result<Gradient> {
            Ok(Gradient::of(1e3f64.powi(at.step as i32), state.params.map(Tensor::zeros_like)?))
        }
    }

    /// The warnings.
    #[derive(Default)]
    struct Warned(Vec<String>);

    impl Observer for Warned {
        fn on(&mut self, event: Event<'_>) -> Result<Flow> {
            if let Event::Warning(warning) = event {
                self.0.push(warning);
            }
            Ok(Flow::Continue)
        }
    }

    #[test]
    fn a_run_that_diverges_in_finite_numbers_is_called_so() {
        let warned = |objective: &dyn Objective<Item = ()>| {
            let (mut observer, plan) = (Warned::default(), Plan { steps: 5, ..Plan::default() });
            fit(start(), &plan, objective, |_| Ok(()), |_| Ok(0.0), &mut observer).unwrap();
            observer.0
        };
        assert!(warned(&Exploding)[0].starts_with("the loss rose from 1.000 to 1.0e12"));
        assert!(warned(&Slope(0.0)).is_empty());
    }

    /// The steps that were saved.
    #[derive(Default)]
    struct Saved(Vec<u64>);

    impl Observer for Saved {
        fn on(&mut self, event: Event<'_>) -> Result<Flow> {
            if let Event::Checkpoint(progress) = event {
                assert!(not_finite(progress)?.is_none());
                self.0.push(progress.step);
            }
            Ok(Flow::Continue)
        }
    }

    fn start() -> Progress {
        let weight = Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap();
        Progress::new(State { params: [("w".to_string(), weight)].into_iter().collect(), ..State::default() })
    }

    /// Trains by `plan`; returns the saved steps as well.
    fn run(plan: &Plan, statistic: f32, validate: impl FnMut(&State) -> Result<f64>) -> (Result<Fit>, Vec<u64>) {
        let mut saved = Saved::default();
        let fitted = fit(start(), plan, &Slope(statistic), |_| Ok(()), validate, &mut saved);
        (fitted, saved.0)
    }

    #[test]
    fn a_last_step_that_overflows_is_not_saved_as_a_finished_model() {
        // eleven steps of 3e37 are below the largest f32; twelve are not
        let overflowing = Plan { steps: 12, learning_rate: 3e37, ..Plan::default() };
        for (save_every, kept) in [(0, &[][..]), (11, &[11])] {
            let (fitted, saved) = run(&Plan { save_every, ..overflowing.clone() }, 0.0, |_| Ok(0.0));
            let error = fitted.unwrap_err();
            assert!(matches!(&error, LearnError::NotFinite { step: 12, .. }), "{error}");
            assert!(error.to_string().contains("parameter `w`"), "{error}");
            assert_eq!(saved, kept);
        }
        let (fitted, saved) = run(&Plan { steps: 11, ..overflowing }, 0.0, |_| Ok(0.0));
        assert!(fitted.is_ok() && saved == [11]);
    }

    #[test]
    fn statistics_that_are_not_finite_are_not_saved_either() {
        let (fitted, saved) = run(&Plan { steps: 1, ..Plan::default() }, f32::NAN, |_| Ok(0.0));
        assert!(fitted.unwrap_err().to_string().contains("statistic `mean`"));
        assert_eq!(saved, [0; 0]);
    }

    #[test]
    fn a_state_that_is_not_finite_is_never_validated_nor_the_best() {
        let plan = Plan { steps: 14, learning_rate: 3e37, validate_every: 1, ..Plan::default() };
        let mut validated = 0;
        let (fitted, _) = run(&plan, 0.0, |state| {
            validated += 1;
            assert!(state.params.get("w").unwrap().to_vec1::<f32>().unwrap().iter().all(|value| value.is_finite()));
            Ok(1.0)
        });
        assert!(fitted.is_err());
        assert_eq!(validated, 11);
    }

    #[test]
    fn a_score_of_nan_is_never_the_best() {
        let plan = Plan { steps: 3, validate_every: 1, ..Plan::default() };
        let mut scores = [f64::NAN, 0.5, f64::NAN].into_iter();
        let (fitted, _) = run(&plan, 0.0, |_| Ok(scores.next().unwrap()));
        assert_eq!(fitted.unwrap().progress.best.map(|best| (best.score, best.step)), Some((0.5, 2)));
    }
}
