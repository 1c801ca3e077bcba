//! A stage of a run: training that has a name, is logged, saved and resumed.

use crate::ranks::Ranks;
use crate::runs::{same_progress, shared_progress};
use crate::{
    Draw, Event, Flow, LearnError, Observer, Plan, Progress, Result, RunDirectory, fit,
    training::{Fit, Objective, Outcome},
};
use serde_json::json;
use std::sync::{Arc, atomic::AtomicBool};
use std::time::Instant;
use taper_models::State;

/// Training with a name, and a checkpoint of that name if there is a run directory.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    /// The name, unique within a run.
    pub name: &'a str,
    /// Where the stage is saved; `None` keeps nothing.
    pub run: Option<&'a RunDirectory>,
}

/// The result of a stage's training.
#[derive(Debug)]
pub struct StageOutcome {
    /// The final state of the training loop.
    pub progress: Progress,
    /// Seconds of training, summed over all sessions.
    pub seconds: f64,
}

impl Stage<'_> {
    /// Trains to the plan's end, from the stage's checkpoint in the run directory if there is one. Of processes that
    /// share the job only rank 0 has a run directory; the others start from what it reads.
    ///
    /// # Errors
    /// Returns [`LearnError::Stopped`] if the observer asks to stop, after everything is saved, and
    /// whatever [`fit`] or saving returns.
    pub fn train<O: Objective + ?Sized>(
        &self,
        plan: &Plan,
        start: State,
        objective: &O,
        items: impl Fn(Draw) -> Result<O::Item> + Sync,
        validate: impl FnMut(&State) -> Result<f64>,
        observer: &mut dyn Observer,
    ) -> Result<StageOutcome> {
        let Self { run, name } = *self;
        let saved = match run {
            Some(run) => run.load(name)?,
            None => None,
        };
        let ranks = observer.ranks();
        let saved = shared_progress(saved, ranks.as_ref())?;
        let step = saved.as_ref().map_or(0, |saved| saved.step);
        let before = run.map_or(0.0, |run| seconds_so_far(run, name, step));
        if let Some(run) = run {
            run.rewind_log(name, step)?;
        }
        observer.on(Event::Started { stage: name, step, steps: plan.steps })?;
        let mut recorder = Recorder { stage: *self, outer: observer, start: Instant::now(), before, steps: plan.steps };
        let start = saved.unwrap_or_else(|| Progress::new(start));
        same_progress(&start, ranks.as_ref())?;
        let Fit { progress, outcome } = fit(start, plan, objective, items, validate, &mut recorder)
            .map_err(|error| LearnError::Stage { stage: name.to_string(), problem: Box::new(error) })?;
        let seconds = recorder.seconds();
        observer.on(Event::Finished { stage: name })?;
        if outcome == Outcome::Stopped {
            return Err(LearnError::Stopped { at: format!("step {} of {} of {name}", progress.step, plan.steps) });
        }
        Ok(StageOutcome { progress, seconds })
    }
}

/// Logs and saves what the training loop reports, and forwards it.
struct Recorder<'a> {
    stage: Stage<'a>,
    outer: &'a mut dyn Observer,
    start: Instant,
    before: f64,
    steps: u64,
}

impl Recorder<'_> {
    fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    fn record(&mut self, record: &serde_json::Value) -> Result<()> {
        self.outer.on(Event::Record(record))?;
        self.stage.run.map_or(Ok(()), |run| run.log(record))
    }
}

impl Observer for Recorder<'_> {
    fn on(&mut self, event: Event<'_>) -> Result<Flow> {
        let name = self.stage.name;
        match &event {
            Event::Step { step, steps, loss, metrics, learning_rate } => {
                let every = (steps / 100).max(1);
                if step.is_multiple_of(every) || step == steps {
                    let mut record = json!({"event": "step", "stage": name, "step": step, "steps": steps,
                        "loss": loss, "learning_rate": learning_rate, "seconds": self.seconds()});
                    for (name, value) in *metrics {
                        record[*name] = json!(value);
                    }
                    self.record(&record)?;
                }
            }
            Event::Validated { step, score, best } => {
                let record = json!({"event": "validation", "stage": name, "step": step, "score": score, "best": best});
                self.record(&record)?;
            }
            Event::Checkpoint(progress) => {
                if let Some(run) = self.stage.run {
                    let record = json!({"event": "saved", "stage": name, "step": progress.step,
                        "seconds": self.seconds(), "finished": progress.step == self.steps});
                    self.record(&record)?;
                    run.save(name, progress)?;
                }
            }
            _ => {}
        }
        self.outer.on(event)
    }

    fn ranks(&self) -> Arc<dyn Ranks> {
        self.outer.ranks()
    }

    fn stop(&self) -> Option<&'static AtomicBool> {
        self.outer.stop()
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
