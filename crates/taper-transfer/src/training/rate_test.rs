//! A test of learning rates: the loss over steps whose rate rises from very small to much too large
//! (Smith 2017, section 3.3).

use super::batches::{Batches, steps_per_epoch};
use super::phases::Phases;
use super::{TrainingOptions, check, norm};
use crate::{Problem, Result, TransferError};
use serde::{Deserialize, Serialize};
use taper_learn::{Event, Flow, LearnError, Observer, Plan, Progress, fit, training::Schedule};

const STEPS: u64 = 100;
const FROM: f64 = 1e-6;
const TO: f64 = 1.0;

/// The result of a test of learning rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateTest {
    /// The rates in rising order with their losses.
    pub curve: Vec<RatePoint>,
    /// A tenth of the rate with the least loss.
    pub suggested: f64,
}

/// The loss at one learning rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RatePoint {
    /// The learning rate.
    pub learning_rate: f64,
    /// The loss, averaged over the steps so far with weights that decay by a tenth per step.
    pub loss: f64,
}

/// Trains for up to 100 steps at rising learning rates, and suggests one. The other options are those of the
/// planned training; nothing is saved.
///
/// # Errors
/// Returns an error if the options unfreeze gradually, or if the loss is not finite from the first step on;
/// and whatever [`train`](super::train) returns.
pub fn find_learning_rate(
    problem: &Problem,
    options: &TrainingOptions,
    observer: &mut dyn Observer,
) -> Result<RateTest> {
    check(problem, options)?;
    if options.is_gradual() {
        return Err(TransferError::GradualRateTest);
    }
    let training = problem.training();
    let phases = Phases::new(options, problem, observer)?;
    let state = phases.start(problem);
    let steps_per_epoch = steps_per_epoch(options, training)?;
    let objective = phases.objective(norm(problem, options), steps_per_epoch);
    let batches = Batches::new(options, problem, training, &phases)?;
    let plan = Plan {
        steps: STEPS,
        learning_rate: TO,
        schedule: Schedule::Rising { from: FROM / TO },
        validate_every: 0,
        save_every: 0,
        ..options.plan(steps_per_epoch, Vec::new(), problem.seed())
    };
    let mut curve = Curve { points: Vec::new(), outer: observer, stopped: false };
    match fit(Progress::new(state), &plan, &objective, |at| batches.batch(at), |_| Ok(0.0), &mut curve) {
        // the rate at which training diverges ends the curve
        Ok(_) | Err(LearnError::Diverged { .. } | LearnError::NotFinite { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if curve.stopped {
        return Err(LearnError::Stopped { at: format!("step {} of {STEPS}", curve.points.len()) }.into());
    }
    let suggested = curve.suggested().ok_or(TransferError::NoFiniteLoss)?;
    Ok(RateTest { curve: curve.points, suggested })
}

/// Collects the curve.
struct Curve<'a> {
    points: Vec<RatePoint>,
    outer: &'a mut dyn Observer,
    stopped: bool,
}

impl Curve<'_> {
    fn suggested(&self) -> Option<f64> {
        let least = self.points.iter().min_by(|a, b| a.loss.total_cmp(&b.loss))?;
        Some(least.learning_rate / 10.0)
    }
}

impl Observer for Curve<'_> {
    /// Stops when the loss exceeds four times the least one.
    fn on(&mut self, event: Event<'_>) -> taper_learn::Result<Flow> {
        if let Event::Step { loss, learning_rate, .. } = event {
            let loss = self.points.last().map_or(loss, |before| 0.9 * before.loss + 0.1 * loss);
            self.points.push(RatePoint { learning_rate, loss });
            if self.outer.on(Event::Advanced {
                what: "learning rates",
                done: self.points.len(),
                total: STEPS as usize,
            })? == Flow::Stop
            {
                self.stopped = true;
                return Ok(Flow::Stop);
            }
            let least = self.points.iter().map(|point| point.loss).fold(f64::INFINITY, f64::min);
            return Ok(if loss > 4.0 * least { Flow::Stop } else { Flow::Continue });
        }
        Ok(Flow::Continue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use taper_learn::NoopObserver;

    #[test]
    fn a_tenth_of_the_rate_of_least_loss_is_suggested_and_a_broken_loss_ends_the_test() {
        let mut curve = Curve { points: Vec::new(), outer: &mut NoopObserver, stopped: false };
        let metrics = BTreeMap::new();
        let mut step = |learning_rate, loss| {
            curve.on(Event::Step { step: 1, steps: 9, loss, metrics: &metrics, learning_rate }).unwrap()
        };
        assert!([(1e-3, 2.0), (1e-2, 1.0), (1e-1, 0.5)].map(|(rate, loss)| step(rate, loss)) == [Flow::Continue; 3]);
        assert!(step(1.0, 100.0) == Flow::Stop);
        assert!((curve.suggested().unwrap() - 1e-2).abs() < 1e-12);
    }
}
