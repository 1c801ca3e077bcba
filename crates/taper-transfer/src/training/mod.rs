//! Training by options: a head on frozen features, part of a network, or all of it, by gradient
//! descent.

mod batches;
mod early_stopping;
mod options;
mod phases;
mod rate_test;
mod trainable;

pub use options::{Balance, Freeze, ScheduleShape, TrainingOptions};
pub use rate_test::{RatePoint, RateTest, find_learning_rate};
pub use trainable::TrainedPart;

use crate::search::fine_tuned_support;
use crate::{Fitted, Problem, Result, ValidationReport};
use batches::{Batches, labeled_batch, steps_per_epoch};
use early_stopping::StoppingSplit;
use phases::{Phase, Phases};
use std::cell::Cell;
use taper_data::Copies;
use taper_learn::{
    Event, Flow, Observer, RunDirectory,
    evaluation::{Labeled, accuracy},
    provenance::Provenance,
    training::Stage,
};
use taper_models::{Mode, Norm, State};
use taper_ops::{cross_entropy, rng};

/// The stage's name in a run directory.
const STAGE: &str = "classifier";

/// Trains with these options, and scores the result on the validation images, which no choice depends on.
///
/// With a run directory the training is saved after every epoch and resumes there, to the same bits as an
/// unbroken one; the classifier is saved as `model/`.
///
/// # Errors
/// Returns an error if options exclude each other or name parts that the network does not have, if the loss
/// diverges, and [`taper_learn::LearnError::Stopped`] if the observer asks to stop.
///
/// ```
/// use std::sync::Arc;
/// use taper_data::{Glyphs, GlyphsSize};
/// use taper_learn::NoopObserver;
/// use taper_transfer::{Problem, ProblemOptions, TrainingOptions, train};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let images = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 6 })?);
/// let options = ProblemOptions { backbone: Some("conv4-4".parse()?), ..ProblemOptions::default() };
/// let problem = Problem::new(images, None, &options, &mut NoopObserver)?;
/// let options = TrainingOptions { epochs: 1, ..TrainingOptions::default() };
/// let fitted = train(&problem, &options, None, &mut NoopObserver)?;
/// println!("{:.0} % of the validation images", 100.0 * fitted.report.accuracy.mean);
/// # Ok(())
/// # }
/// ```
pub fn train(
    problem: &Problem,
    options: &TrainingOptions,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    check(problem, options)?;
    let seed = problem.seed();
    let copies = (options.views > 1).then(|| Copies::new(problem.view(), options.views, seed)).transpose()?;
    let StoppingSplit { training, stopping } = match options.patience {
        Some(_) => StoppingSplit::new(problem.training(), seed)?,
        None => StoppingSplit { training: problem.training().clone(), stopping: problem.training().select(&[]) },
    };
    let phases = Phases::new(options, problem, observer)?;
    let state = phases.start(problem);
    let steps_per_epoch = steps_per_epoch(options, &training)?;
    let objective = phases.objective(norm(problem, options), steps_per_epoch);
    let plan = options.plan(steps_per_epoch, phases.restarts(steps_per_epoch), seed);
    let batches = Batches::new(options, problem, &training, &phases)?;
    let mut epoch = run.map_or(Ok(None), |run| run.load(STAGE))?.map_or(0, |saved| saved.step / steps_per_epoch);
    let accuracy = Cell::new(0.0);
    let validate = |state: &State| -> taper_learn::Result<f64> {
        let phase = phases.at(epoch);
        accuracy.set(validation_accuracy(problem, options, phase, state, epoch)?);
        epoch += 1;
        if stopping.images.is_empty() {
            Ok(accuracy.get())
        } else {
            Ok(-mean_loss(problem, options, phase, state, &stopping)?)
        }
    };
    let stage = Stage { name: STAGE, run };
    let mut lines = EpochLines { accuracy: &accuracy, steps_per_epoch, outer: observer };
    let outcome = stage.train(&plan, state, &objective, |at| batches.batch(at), validate, &mut lines)?;
    let learned = match options.patience {
        Some(_) => outcome.progress.into_best(),
        // the last state is kept, without choosing one, so the validation score stays unbiased
        None => outcome.progress.learned().clone(),
    };
    let Phase { network, inputs, .. } = phases.last();
    let report = |labeled: &Labeled| {
        ValidationReport::new(problem, labeled, inputs.as_ref(), copies.as_ref(), network, &learned)
    };
    let test = if problem.test().images.is_empty() { None } else { Some(report(problem.test())?) };
    let report = report(problem.validation())?;
    let validated_on = if stopping.images.is_empty() { Vec::new() } else { vec![problem.used(&stopping.images)?] };
    let provenance = Provenance { validated_on, ..Provenance::default() };
    let (network, state) = (problem.network().clone(), problem.merged(&learned));
    let support = fine_tuned_support(problem, &network, &state)?;
    let model = problem.model(network, state, provenance, Some(support))?;
    let name = problem.network().backbone().name();
    Fitted { name, model, report, test, expected: None, candidates: Vec::new(), train_seconds: outcome.seconds }
        .saved(run)
}

/// Checks that the options are valid, before a run starts.
///
/// # Errors
/// Returns an error if options exclude each other, or name parts that the network does not have.
pub fn check(problem: &Problem, options: &TrainingOptions) -> Result<()> {
    options.check()?;
    options.unfreeze_schedule(problem)?;
    Copies::new(problem.view(), options.views, problem.seed())?;
    Ok(())
}

/// Whose statistics normalize the batches of the training.
fn norm(problem: &Problem, options: &TrainingOptions) -> Norm {
    if options.learns_statistics(problem) { Norm::Batch } else { Norm::Stored }
}

/// Accuracy on the validation images.
fn validation_accuracy(
    problem: &Problem,
    options: &TrainingOptions,
    phase: &Phase,
    state: &State,
    epoch: u64,
) -> taper_learn::Result<f64> {
    let images = &problem.validation().images;
    let mut right = 0;
    for (number, images) in images.chunks(options.batch_size).enumerate() {
        let batch = labeled_batch(problem, phase.inputs.as_ref(), images, None)?;
        let mode = match options.as_published {
            true => Mode::train(rng(problem.seed(), "validation", epoch * 1_000_000 + number as u64)),
            false => Mode::evaluate(),
        };
        let logits = phase.network.forward(&state.params, &state.buffers, &batch.inputs, mode)?.output;
        right += (accuracy(&logits, &batch.labels)? * images.len() as f64).round() as usize;
    }
    Ok(right as f64 / images.len() as f64)
}

/// Mean cross-entropy on labeled images.
fn mean_loss(
    problem: &Problem,
    options: &TrainingOptions,
    phase: &Phase,
    state: &State,
    labeled: &Labeled,
) -> taper_learn::Result<f64> {
    let mut loss = 0.0;
    for images in labeled.images.chunks(options.batch_size) {
        let batch = labeled_batch(problem, phase.inputs.as_ref(), images, None)?;
        let logits = phase.network.logits(state, &batch.inputs)?;
        loss += f64::from(cross_entropy(&logits, &batch.labels, 0.0)?.to_scalar::<f32>()?) * images.len() as f64;
    }
    Ok(loss / labeled.images.len() as f64)
}

/// Reports each epoch's validation accuracy as a line.
struct EpochLines<'a> {
    accuracy: &'a Cell<f64>,
    steps_per_epoch: u64,
    outer: &'a mut dyn Observer,
}

impl Observer for EpochLines<'_> {
    fn on(&mut self, event: Event<'_>) -> taper_learn::Result<Flow> {
        if let Event::Validated { step, .. } = event {
            let (epoch, accuracy) = (step / self.steps_per_epoch, self.accuracy.get());
            self.outer.on(Event::Line(format!("Epoch: {epoch}, Validation Accuracy: {:.1} %", accuracy * 100.0)))?;
        }
        self.outer.on(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransferError;
    use crate::toy::Toy;
    use taper_learn::{LearnError, NoopObserver, runs::Existing};

    /// Stops at a step, and counts the epochs' lines.
    #[derive(Default)]
    struct Watcher {
        stop_at: Option<u64>,
        lines: Vec<String>,
    }

    impl Observer for Watcher {
        fn on(&mut self, event: Event<'_>) -> taper_learn::Result<Flow> {
            match event {
                Event::Step { step, .. } if Some(step) == self.stop_at => return Ok(Flow::Stop),
                Event::Line(line) => self.lines.push(line),
                _ => {}
            }
            Ok(Flow::Continue)
        }
    }

    fn options() -> TrainingOptions {
        TrainingOptions { epochs: 4, batch_size: 5, train: "layer3".parse().ok(), ..TrainingOptions::default() }
    }

    #[test]
    fn a_training_that_an_observer_stops_resumes_to_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", Existing::Refuse).unwrap();
        let problem = Toy::new(&[6, 6]).problem(0);
        let mut watcher = Watcher::default();
        let unbroken = train(&problem, &options(), None, &mut watcher).unwrap();
        assert_eq!(watcher.lines.len(), 4);
        assert!(watcher.lines[3].starts_with("Epoch: 4, Validation Accuracy: "), "{:?}", watcher.lines);
        let mut watcher = Watcher { stop_at: Some(5), ..Watcher::default() };
        let stopped = train(&problem, &options(), Some(&run), &mut watcher).unwrap_err();
        assert!(matches!(stopped, TransferError::Learn(LearnError::Stopped { .. })), "{stopped}");
        let mut watcher = Watcher::default();
        let resumed = train(&problem, &options(), Some(&run), &mut watcher).unwrap();
        assert!(watcher.lines[0].starts_with("Epoch: 2, "), "{:?}", watcher.lines);
        assert_eq!(resumed.model.packed().unwrap(), unbroken.model.packed().unwrap());
        assert_eq!(resumed.report, unbroken.report);
    }

    #[test]
    fn early_stopping_trains_on_every_class_and_needs_a_class_of_two_images() {
        let options = TrainingOptions { patience: Some(1), epochs: 3, ..TrainingOptions::default() };
        let fitted = train(&Toy::new(&[1, 1, 9]).problem(0), &options, None, &mut NoopObserver).unwrap();
        assert_eq!(fitted.report.images, 6);
        let error = train(&Toy::new(&[1, 1]).problem(0), &options, None, &mut NoopObserver).unwrap_err();
        assert!(matches!(error, TransferError::NothingToHoldOut), "{error}");
    }

    #[test]
    fn options_that_exclude_each_other_and_unknown_parts_are_errors_before_training() {
        let problem = Toy::new(&[4, 4]).problem(0);
        let refused = |options: TrainingOptions| check(&problem, &options).unwrap_err().to_string();
        let default = TrainingOptions::default;
        assert!(refused(TrainingOptions { mixup: Some(0.2), cutmix: Some(1.0), ..default() }).contains("exclude"));
        assert!(refused(TrainingOptions { freeze: Some(Freeze::Nothing), ..options() }).contains("exclude"));
        assert!(refused(TrainingOptions { train: "layer9".parse().ok(), ..default() }).contains("`layer9`"));
        assert!(refused(TrainingOptions { views: 4, ..default() }).contains("no random step"));
        assert!(refused(TrainingOptions { epochs: 0, ..default() }).contains("0 epochs"));
        let gradual = TrainingOptions { train: "gradual".parse().ok(), ..default() };
        let error = find_learning_rate(&problem, &gradual, &mut NoopObserver).unwrap_err();
        assert!(matches!(error, TransferError::GradualRateTest), "{error}");
    }

    #[test]
    fn options_come_back_from_what_is_written_down() {
        let all = TrainingOptions { mixup: Some(0.2), patience: Some(3), balance: Balance::Sampling, ..options() };
        for options in [TrainingOptions::default(), all] {
            let text = serde_json::to_string(&options).unwrap();
            assert_eq!(serde_json::from_str::<TrainingOptions>(&text).unwrap(), options, "{text}");
        }
        let short: TrainingOptions = serde_json::from_str(r#"{"schedule": "one-cycle"}"#).unwrap();
        assert_eq!(short.schedule, ScheduleShape::OneCycle);
    }
}
