//! `taper meta-train`: a learner from many small tasks.

use crate::args::{MetaTrain, UsageError};
use crate::cluster::enough;
use crate::data;
use crate::output::Output;
use crate::page;
use crate::report::{Sources, method_json, result_json, run_directory, stopped_or_failed};
use crate::table::{percent, share};
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{
    CompareError, LearnerData, LearnerTest, LearnerTraining, MoreData, PreparedTraining, TrainedLearner, method,
};
use taper_data::{Dataset, Glyphs};
use taper_learn::{
    Evaluation, Interval, LearnError, Method, RunDirectory, methods::Training, statistics::mean_interval,
};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_report::Fact;

pub(crate) fn run(options: &MetaTrain, output: &Output) -> Result<()> {
    let start = Instant::now();
    let method = method(&options.method)?;
    let training = options.training(method);
    method.resolve(&training.settings).map_err(|error| UsageError(error.to_string()))?;
    options.check(method)?;
    options.tasks.shape()?;
    check_processes(&training, method, options.weights.is_some(), output)?;
    let weights = options.weights.as_ref().map(data::weights).transpose()?;
    let pretrained = weights.as_ref().map(|file| Pretrained::read(file.path(), &WeightHints::default())).transpose()?;
    pretrained.iter().flat_map(|pretrained| &pretrained.notes).for_each(|note| output.note(note));
    let found = LearnerData { pretrained: pretrained.as_ref(), ..found(options, output)? };
    let backbone = data::backbone(found.dataset.as_ref(), training.backbone, LearnerTraining::default().backbone);
    let training = LearnerTraining { backbone, ..training };
    // nothing is written before everything is checked
    let prepared = training.prepare(&found, &mut output.reporter()).map_err(|error| match error {
        CompareError::Invalid(_) => UsageError(error.to_string()).into(),
        CompareError::Learn(LearnError::Invalid(problem)) if options.symmetries => {
            UsageError(format!("--symmetries: {problem}")).into()
        }
        error => anyhow::Error::from(error),
    })?;
    let written = MetaTrain { weights, ..options.clone() };
    let data = [found.dataset.as_ref()];
    let sources = Sources { data: &data, weights: written.weights.iter().collect() };
    let run = run_directory("meta-train", &written, &options.run, &sources, output)?;
    let trained = prepared
        .train(run.as_ref(), &mut output.recorder(run.as_ref(), options.run.tensorboard))
        .map_err(|error| stopped_or_failed(error, run.as_ref()))?;
    if let Some(run) = &run {
        trained.model.save(&run.model_path())?;
    }
    let (scored, methods) = scores(&prepared, &trained, output)?;
    if let Some(run) = &run {
        output.line(format!("saved the learner to {}", run.model_path().display()));
    }
    let facts = vec![
        Fact::new("Tasks", prepared.shape().to_string()),
        Fact::new("Network", trained.model.network.backbone().name()),
        Fact::new("Classes trained on", prepared.tasks().main.classes.len().to_string()),
        Fact::new("Seed", options.run.common.seed.to_string()),
    ];
    let (dataset, description) = (prepared.tasks().main.dataset(), prepared.tasks().description());
    let report = page::meta_train(&prepared.method().info(), dataset, &scored, facts, description);
    page::save(run.as_ref(), Ok(report), output);
    let seconds = start.elapsed().as_secs_f64();
    output.event(&result_json("meta-train", seconds, methods, run.as_ref().map(RunDirectory::path)));
    Ok(())
}

/// Fails if a training step has fewer items than there are processes.
fn check_processes(training: &LearnerTraining, method: &dyn Method, from_weights: bool, output: &Output) -> Result<()> {
    match method.info().training {
        Training::SharedTasks if output.ranks().count() > 1 => {
            let name = method.info().name;
            Err(UsageError(format!("{name} learns from one task after another: start one process")).into())
        }
        Training::Episodes { .. } => {
            Ok(enough(output.ranks(), training.tasks_per_step(from_weights), "tasks per step", "--meta-batch-size")?)
        }
        _ => {
            let batches = training.batches_per_step.unwrap_or(1);
            Ok(enough(output.ranks(), batches, "mini-batches per step", "--batches-per-step")?)
        }
    }
}

/// The data of the options.
fn found(options: &MetaTrain, output: &Output) -> Result<LearnerData<'static>> {
    let synthetic = |alphabets| -> Result<Arc<dyn Dataset>> { Ok(Arc::new(Glyphs::for_training(alphabets)?)) };
    let (dataset, is_synthetic) = match (&options.data, options.glyphs) {
        (None, Some(alphabets)) => (synthetic(alphabets)?, true),
        (data, _) => (data::given_labeled(data.as_ref(), &options.labels, output)?, false),
    };
    let mut also = Vec::new();
    if let (Some(_), Some(alphabets)) = (&options.data, options.glyphs) {
        also.push(MoreData { dataset: synthetic(alphabets)?, share: options.glyphs_share, is_synthetic: true });
    }
    for more in &options.also {
        let dataset = data::given(Some(&more.path), output)?;
        also.push(MoreData { dataset, share: more.share, is_synthetic: false });
    }
    if also.iter().map(|more| more.share).sum::<f64>() >= 1.0 {
        let problem = "--also and --glyphs-share leave no tasks for DATA: use shares that sum to less than 1";
        return Err(UsageError(problem.into()).into());
    }
    let split = data::split(options.tasks.split.as_ref(), dataset.as_ref())?;
    Ok(LearnerData { dataset, is_synthetic, split, also, pretrained: None })
}

/// Names of what was scored with the accuracies, and the entries of the result.
type Scores = (Vec<(String, Interval)>, Vec<Value>);

/// Scores the learner on classes that it has not met, and prints the scores.
fn scores(prepared: &PreparedTraining<'_>, trained: &TrainedLearner, output: &Output) -> Result<Scores> {
    let info = prepared.method().info();
    if info.training == Training::SharedTasks {
        return Ok(last_epoch(prepared, trained, output));
    }
    let tests = prepared.test(trained, &mut output.reporter())?;
    for LearnerTest { dataset, evaluation } in &tests {
        output.line(format!(
            "{}: {}% on {} tasks of {}, from classes of {dataset} that it was not trained on{}",
            info.title,
            percent(evaluation.accuracy()),
            evaluation.accuracies.len(),
            prepared.shape(),
            if info.transductive { " (transductive)" } else { "" }
        ));
    }
    let scored = tests.iter().map(|test| (test.dataset.clone(), test.evaluation.accuracy())).collect();
    let several = tests.len() > 1;
    let all = Evaluation::together(tests.into_iter().map(|test| test.evaluation));
    if let (true, Some(all)) = (several, &all) {
        output.line(format!("{}: {} on all of them", info.title, share(all.accuracy())));
    }
    let entry = |all: Evaluation| method_json(info.name, &info.kind.to_string(), &all, trained.seconds);
    Ok((scored, all.map(entry).into_iter().collect()))
}

/// Multitask training tests its own tasks.
fn last_epoch(prepared: &PreparedTraining<'_>, trained: &TrainedLearner, output: &Output) -> Scores {
    if trained.last_epoch.is_empty() {
        return Scores::default();
    }
    let (info, accuracy) = (prepared.method().info(), mean_interval(&trained.last_epoch));
    output.line(format!("last epoch: {} over {} tasks", share(accuracy), trained.last_epoch.len()));
    let entry = json!({"name": info.name, "kind": info.kind.to_string(), "accuracy": accuracy.mean,
        "ci95": [accuracy.low, accuracy.high], "train_seconds": trained.seconds, "adapt_seconds": 0.0});
    let name = format!("{}, last epoch", prepared.tasks().main.dataset().name());
    (vec![(name, accuracy)], vec![entry])
}
