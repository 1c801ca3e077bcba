//! Looks for a learning rate: the loss over steps whose rate rises from hardly anything to far too
//! much (Smith 2017, section 3.3).

use crate::output::Output;
use crate::table::table;
use anyhow::{Result, bail};
use serde_json::json;
use taper_learn::{Draw, Event, Flow, LearnError, Objective, Observer, Plan, Progress, Schedule, fit};
use taper_models::State;

const STEPS: u64 = 100;
const FROM: f64 = 1e-6;
const TO: f64 = 1.0;

/// Trains by `plan` but for the rates, and says the curve of losses and the rate that it suggests: a
/// tenth of that with the least loss.
pub(super) fn find_lr<O: Objective + ?Sized>(
    plan: &Plan,
    state: State,
    objective: &O,
    items: impl Fn(Draw) -> taper_learn::Result<O::Item> + Sync,
    output: &Output,
) -> Result<()> {
    let plan = Plan {
        steps: STEPS,
        learning_rate: TO,
        schedule: Schedule::Rising { from: FROM / TO },
        validate_every: 0,
        save_every: 0,
        ..plan.clone()
    };
    let mut curve = Curve::default();
    match fit(Progress::new(state), &plan, objective, items, |_| Ok(0.0), &mut curve) {
        // the rate at which it breaks is what the curve ends with
        Ok(_) | Err(LearnError::Diverged { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(suggested) = curve.suggested() else {
        bail!("the loss is no number from the first step on: look at the images with `taper inspect`");
    };
    let rows: Vec<Vec<String>> = curve.0.iter().step_by(5).map(|&(rate, loss)| row(rate, loss, &curve)).collect();
    output.line(table(&["learning rate", "loss", ""], &rows));
    output.line(format!("\ntry --lr {suggested:.0e}, a tenth of the rate with the least loss"));
    let points: Vec<_> = curve.0.iter().map(|&(rate, loss)| json!({"learning_rate": rate, "loss": loss})).collect();
    output.event(&json!({"event": "learning-rates", "curve": points, "suggested": suggested}));
    Ok(())
}

fn row(rate: f64, loss: f64, curve: &Curve) -> Vec<String> {
    const WIDTH: f64 = 40.0;
    let top = curve.0.first().map_or(loss, |first| first.1).max(1e-9) * 1.5;
    let bar = "#".repeat((WIDTH * (loss / top).clamp(0.0, 1.0)).round() as usize);
    vec![format!("{rate:.1e}"), format!("{loss:.3}"), bar]
}

/// Rates with their losses, each a mean of those before that fades by a tenth a step.
#[derive(Default)]
struct Curve(Vec<(f64, f64)>);

impl Curve {
    fn suggested(&self) -> Option<f64> {
        let least = self.0.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(least.0 / 10.0)
    }
}

impl Observer for Curve {
    /// Stops where the loss is four times the least.
    fn on(&mut self, event: Event<'_>) -> taper_learn::Result<Flow> {
        let Event::Step { loss, learning_rate, .. } = event else { return Ok(Flow::Continue) };
        let smooth = self.0.last().map_or(loss, |&(_, before)| 0.9 * before + 0.1 * loss);
        self.0.push((learning_rate, smooth));
        let least = self.0.iter().map(|&(_, loss)| loss).fold(f64::INFINITY, f64::min);
        Ok(if smooth > 4.0 * least { Flow::Stop } else { Flow::Continue })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_tenth_of_the_rate_of_least_loss_is_suggested_and_a_broken_loss_ends_the_test() {
        let mut curve = Curve::default();
        let metrics = BTreeMap::new();
        let mut step = |learning_rate, loss| {
            curve.on(Event::Step { step: 1, steps: 9, loss, metrics: &metrics, learning_rate }).unwrap()
        };
        assert!([(1e-3, 2.0), (1e-2, 1.0), (1e-1, 0.5)].map(|(rate, loss)| step(rate, loss)) == [Flow::Continue; 3]);
        assert!(step(1.0, 100.0) == Flow::Stop);
        assert!((curve.suggested().unwrap() - 1e-2).abs() < 1e-12);
    }
}
