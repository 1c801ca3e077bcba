//! A stage of a run: training that is saved, resumed, shown and stopped.

use crate::output::{Output, Stopped, interrupted};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use serde_json::json;
use std::time::Instant;
use taper_learn::{
    Draw, Event, Fit, Flow, LearnError, Objective, Observer, Outcome, Plan, Progress, RunDirectory, fit,
};
use taper_models::State;

/// Training that has a name, and a checkpoint of that name where there is a run directory.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) name: &'a str,
    pub(crate) run: Option<&'a RunDirectory>,
    pub(crate) output: &'a Output,
}

/// A stage's end.
pub(crate) struct Trained {
    pub(crate) progress: Progress,
    /// Seconds of training, all sessions together.
    pub(crate) seconds: f64,
}

impl Stage<'_> {
    /// Trains to the plan's end, from where the run directory says the stage stands.
    ///
    /// Errs with [`Stopped`] when the user asked to stop; everything is saved by then.
    pub(crate) fn train<O: Objective + ?Sized>(
        &self,
        plan: &Plan,
        start: State,
        objective: &O,
        items: impl Fn(Draw) -> taper_learn::Result<O::Item> + Sync,
        validate: impl FnMut(&State) -> taper_learn::Result<f64>,
    ) -> Result<Trained> {
        let Self { run, name, output } = *self;
        let saved = match run {
            Some(run) => run.load(name)?,
            None => None,
        };
        let done = saved.as_ref().map_or(0, |saved| saved.step);
        let before = run.map_or(0.0, |run| seconds_so_far(run, name, done));
        if let Some(run) = run {
            run.rewind_log(name, done)?;
        }
        let bar = output.bar(name, plan.steps)?;
        bar.set_position(done);
        if saved.is_some() && done < plan.steps {
            output.note(format!("{name}: going on after step {done} of {}", plan.steps));
        }
        let mut watcher = Watcher { run, name, output, bar, start: Instant::now(), before, steps: plan.steps };
        let start = saved.unwrap_or_else(|| Progress::new(start));
        let Fit { progress, outcome } =
            fit(start, plan, objective, items, validate, &mut watcher).with_context(|| format!("training {name}"))?;
        watcher.bar.finish_and_clear();
        if outcome == Outcome::Stopped {
            return Err(self.stopped(progress.step, plan.steps).into());
        }
        Ok(Trained { progress, seconds: watcher.seconds() })
    }

    fn stopped(&self, step: u64, steps: u64) -> Stopped {
        let hint = match self.run {
            Some(run) => format!("saved; go on with --resume {}", run.path().display()),
            None => "nothing was kept: use --out next time".to_string(),
        };
        Stopped(format!("stopped after step {step} of {steps} of {}, {hint}", self.name))
    }
}

struct Watcher<'a> {
    run: Option<&'a RunDirectory>,
    name: &'a str,
    output: &'a Output,
    bar: ProgressBar,
    start: Instant,
    before: f64,
    steps: u64,
}

impl Watcher<'_> {
    fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    fn log(&self, event: &serde_json::Value) -> taper_learn::Result<()> {
        self.output.event(event);
        self.run.map_or(Ok(()), |run| run.log(event))
    }
}

impl Observer for Watcher<'_> {
    fn on(&mut self, event: Event<'_>) -> Result<Flow, LearnError> {
        match event {
            Event::Step { step, steps, loss, metrics, learning_rate } => {
                self.bar.set_position(step);
                let every = (steps / 100).max(1);
                if step.is_multiple_of(every) || step == steps {
                    let mut event = json!({"event": "step", "stage": self.name, "step": step, "steps": steps,
                        "loss": loss, "learning_rate": learning_rate, "seconds": self.seconds()});
                    for (name, value) in metrics {
                        event[*name] = json!(value);
                    }
                    self.log(&event)?;
                }
                if !self.output.is_terminal() && step.is_multiple_of((steps / 4).max(1)) {
                    self.output.note(format!("{}: step {step} of {steps}, loss {loss:.3}", self.name));
                }
            }
            Event::Validated { step, score, best } => {
                self.log(
                    &json!({"event": "validation", "stage": self.name, "step": step, "score": score, "best": best}),
                )?;
            }
            Event::Checkpoint(progress) => {
                if let Some(run) = self.run {
                    self.log(
                        &json!({"event": "saved", "stage": self.name, "step": progress.step, "seconds": self.seconds(),
                        "finished": progress.step == self.steps}),
                    )?;
                    run.save(self.name, progress)?;
                }
            }
            Event::Warning(text) => self.output.note(format!("warning: {text}")),
        }
        Ok(if interrupted() { Flow::Stop } else { Flow::Continue })
    }
}

/// Seconds that the log says the stage had taken at `step`.
fn seconds_so_far(run: &RunDirectory, name: &str, step: u64) -> f64 {
    let text = std::fs::read_to_string(run.path().join("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event["stage"] == name && event["step"].as_u64().is_some_and(|at| at <= step))
        .filter_map(|event| event["seconds"].as_f64())
        .fold(0.0, f64::max)
}
