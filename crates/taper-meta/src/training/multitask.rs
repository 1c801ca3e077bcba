//! Joint training over fixed tasks with one shared head (the seed recipe): not meta-learning, but the
//! baseline that it must beat.

use super::TaskSource;
use crate::SharedTasks;
use std::sync::{Arc, atomic::AtomicBool};
use taper_learn::{
    Draw, Event, Flow, Observer, Plan, Result, RunDirectory,
    evaluation::accuracy,
    ranks::Ranks,
    training::{Stage, StageOutcome, Supervised, Targeted, Trainable},
};
use taper_models::{Architecture, Head, Network, Norm, State};

/// Share of each class's images that is tested on and not trained on.
const TEST_SHARE: f64 = 0.25;

/// Distinguishes test batches from training batches of the same seed.
const TEST_SEED: u64 = 0x7465_7374;

/// How a multitask network is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct MultitaskTraining {
    /// The network.
    pub architecture: Architecture,
    /// Classes per task.
    pub ways: usize,
    /// Images per step.
    pub batch: usize,
    /// Passes over the tasks.
    pub epochs: u64,
    /// Test images per step: a quarter of each class's images is held out, and every task is tested
    /// after its step. `None` trains on all images and tests nothing.
    pub queries: Option<usize>,
    /// Everything else; 0 steps mean `epochs`.
    pub plan: Plan,
}

/// The result of multitask training.
#[derive(Debug)]
pub struct MultitaskOutcome {
    /// The network with its shared head.
    pub network: Network,
    /// The end of training.
    pub outcome: StageOutcome,
    /// Test accuracy of each task in the last epoch, earlier sessions included.
    pub last_epoch: Vec<f64>,
}

/// Trains one shared head over fixed tasks; an epoch is one pass over them.
///
/// # Errors
/// Returns an error if no group has enough classes, or training fails or is stopped.
///
/// ```
/// use std::sync::Arc;
/// use taper_data::{Glyphs, GlyphsSize, View};
/// use taper_learn::{NoopObserver, Plan, training::Stage};
/// use taper_meta::training::{MultitaskTraining, TaskSource, multitask};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let glyphs = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 2, characters: 3, drawings: 4 })?);
/// let view = Arc::new(View::new(glyphs, "gray resize(16x16) invert".parse()?)?);
/// let training = MultitaskTraining {
///     architecture: "conv4-4".parse()?,
///     ways: 3,
///     batch: 4,
///     epochs: 2,
///     queries: Some(2),
///     plan: Plan { steps: 0, ..Plan::default() },
/// };
/// let source = TaskSource::new(view, (0..6).collect());
/// let stage = Stage { name: "multitask", run: None };
/// let trained = multitask(stage, &source, &training, &mut NoopObserver)?;
/// assert_eq!(trained.last_epoch.len(), 2); // an alphabet is a task
/// # Ok(())
/// # }
/// ```
pub fn multitask(
    stage: Stage<'_>,
    source: &TaskSource,
    training: &MultitaskTraining,
    observer: &mut dyn Observer,
) -> Result<MultitaskOutcome> {
    let MultitaskTraining { architecture, ways, batch, epochs, queries, plan } = training;
    let view = source.view.as_ref();
    let all = SharedTasks::new(source.dataset(), &source.classes, *ways, plan.seed)?;
    let (tasks, test) = match queries {
        Some(_) => all.split(TEST_SHARE, plan.seed),
        None => (all.clone(), all),
    };
    let count = tasks.len() as u64;
    let steps = if plan.steps == 0 { epochs * count } else { plan.steps };
    let plan = Plan { steps, validate_every: u64::from(queries.is_some()), ..plan.clone() };
    let network = Network::new(architecture.backbone(view.shape())?, Head::Linear { outputs: *ways });
    let objective = Supervised::new(network.clone(), Trainable::All, Norm::Batch);
    let items = |at: Draw| Targeted::of(&tasks.batch(view, at.step as usize, *batch, at)?, None, 0.0);
    let mut step = stage.run.map_or(Ok(None), |run| run.load(stage.name))?.map_or(0, |saved| saved.step);
    let last_epoch_from = (steps - 1) / count * count;
    let mut scores = stage.run.map_or_else(Vec::new, |run| logged_scores(run, stage.name, last_epoch_from, step));
    let score = |state: &State| -> Result<f64> {
        let at = Draw { seed: plan.seed ^ TEST_SEED, step, number: step };
        let batch = test.batch(view, step as usize, queries.unwrap_or(1), at)?;
        let accuracy = accuracy(&network.logits(state, &batch.inputs)?, &batch.labels)?;
        if step >= last_epoch_from {
            scores.push(accuracy);
        }
        step += 1;
        Ok(accuracy)
    };
    let mut lines = TaskLines { names: tasks.names().map(String::from).collect(), outer: observer };
    let start = network.init(plan.seed)?;
    let outcome = stage.train(&plan, start, &objective, items, score, &mut lines)?;
    Ok(MultitaskOutcome { network, outcome, last_epoch: scores })
}

/// The scores that earlier sessions logged of the steps from `first` to before `end`, counted from 0.
fn logged_scores(run: &RunDirectory, stage: &str, first: u64, end: u64) -> Vec<f64> {
    let text = std::fs::read_to_string(run.path().join("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|record| record["event"] == "validation" && record["stage"] == stage)
        .filter(|record| record["step"].as_u64().is_some_and(|step| step > first && step <= end))
        .filter_map(|record| record["score"].as_f64())
        .collect()
}

/// Reports each task's test accuracy as a line.
struct TaskLines<'a> {
    names: Vec<String>,
    outer: &'a mut dyn Observer,
}

impl Observer for TaskLines<'_> {
    fn on(&mut self, event: Event<'_>) -> Result<Flow> {
        if let Event::Validated { step, score, .. } = event {
            let (epoch, task) = ((step - 1) / self.names.len() as u64, (step - 1) % self.names.len() as u64);
            let name = &self.names[task as usize];
            self.outer
                .on(Event::Line(format!("Epoch: {epoch}, Task: {name}, Test Accuracy: {:.0} %", score * 100.0)))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use taper_data::{Dataset, Glyphs, GlyphsSize, View};
    use taper_learn::{LearnError, NoopObserver, runs::Existing, training::Schedule};

    /// Stops after this step.
    struct StopAt(u64);

    impl Observer for StopAt {
        fn on(&mut self, event: Event<'_>) -> Result<Flow> {
            let stop = matches!(event, Event::Step { step, .. } if step == self.0);
            Ok(if stop { Flow::Stop } else { Flow::Continue })
        }
    }

    #[test]
    fn a_resumed_multitask_run_remembers_the_scores_of_before() {
        let glyphs = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 2, characters: 6, drawings: 6 }).unwrap());
        let classes = (0..glyphs.classes().len() as u32).collect();
        let view = View::new(glyphs, "gray resize(16x16) invert".parse().unwrap()).unwrap();
        let source = TaskSource::new(Arc::new(view), classes);
        // three epochs of four tasks: the last epoch is steps 9 to 12
        let training = MultitaskTraining {
            architecture: "conv4-4".parse().unwrap(),
            ways: 3,
            batch: 4,
            epochs: 3,
            queries: Some(2),
            plan: Plan { schedule: Schedule::Constant, ..Plan::default() },
        };
        let train = |run: Option<&RunDirectory>, observer: &mut dyn Observer| {
            multitask(Stage { name: "multitask", run }, &source, &training, observer)
        };
        let unbroken = train(None, &mut NoopObserver).unwrap().last_epoch;
        assert_eq!(unbroken.len(), 4);
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", Existing::Refuse).unwrap();
        for step in [5, 10, 11] {
            let stopped = train(Some(&run), &mut StopAt(step)).unwrap_err();
            assert!(matches!(stopped, LearnError::Stopped { .. }), "{stopped}");
        }
        assert_eq!(train(Some(&run), &mut NoopObserver).unwrap().last_epoch, unbroken);
        assert_eq!(train(Some(&run), &mut NoopObserver).unwrap().last_epoch, unbroken, "a finished run too");
    }
}
