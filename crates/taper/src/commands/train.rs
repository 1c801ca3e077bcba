//! `taper train`: a classifier from a folder of labeled images.

use crate::args::{InputPath, Train, UsageError};
use crate::classifier_report;
use crate::data;
use crate::output::Output;
use crate::page;
use crate::report::{RESULT, Sources, result_json, run_directory, stopped_or_failed, with};
use crate::table::{duration, in_words};
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Dataset, LargeClasses, Look};
use taper_learn::{Interval, Observer, RunDirectory, runs::write_atomically};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_transfer::{
    Expectation, Fitted, Problem, RatePoint, RateTest, SearchOptions, TransferError, TriedCandidate, check_training,
    find_learning_rate, search, train,
};

/// Searches for the best way to train if --search is given, or if there are weights and no option says how
/// to train; otherwise trains with the options.
pub(crate) fn run(options: &Train, output: &Output) -> Result<()> {
    let start = Instant::now();
    if !options.search && !options.says_nothing() {
        options.check_no_search_options()?;
    }
    let hints = WeightHints { architecture: options.backbone, classes: None };
    let read = |weights: &InputPath| Pretrained::read(weights.path(), &hints);
    let named = options.weights.as_ref().map(data::weights).transpose();
    // weights take as long to read as a few hundred images to compare
    let (dataset, pretrained) = rayon::join(
        || data::labeled(options.data.as_ref().map(InputPath::path), &options.labels),
        || named.as_ref().ok().and_then(Option::as_ref).map(read).transpose(),
    );
    let dataset = large_enough(dataset?, options, output)?;
    let (mut weights, mut pretrained) = (named?, pretrained?);
    if weights.is_none() && wants_default_weights(options, dataset.as_ref())? {
        weights = data::default_weights("training from scratch", output)?;
        pretrained = weights.as_ref().map(read).transpose()?;
    }
    let mut reporter = output.reporter();
    let problem = Problem::new(dataset, pretrained.as_ref(), &options.problem(), &mut reporter)?
        .with_cache(data::feature_cache(options.cache.as_deref()));
    let has_features = pretrained.is_some() || problem.dataset().vector(0).is_some();
    let searches = options.search || (has_features && options.says_nothing());
    if problem.dataset().held_out().is_empty() {
        let (kept, aside) = (problem.training().images.len(), problem.validation().images.len());
        output.note(format!(
            "learning from {kept} images; {aside} others are set aside to score the result (--validation)"
        ));
    }
    // nothing is written before everything is checked
    if searches {
        options.searching()?;
        if options.run.tensorboard {
            let problem = "--tensorboard is for training in steps, but this run searches how to train: remove it, or say \
                           how to train, such as --epochs 10";
            return Err(UsageError(problem.into()).into());
        }
    } else {
        options.check_no_search_options()?;
        check_training(&problem, &options.training())?;
    }
    if options.find_lr {
        return find_lr(options, &problem, output);
    }
    // a resumed run does what this one does, whatever the hub's cache holds by then
    let budget = if searches { Some(options.search_budget()) } else { options.budget };
    let written = Train { search: searches, budget, weights, ..options.clone() };
    let data = [problem.dataset().as_ref()];
    let sources = Sources { data: &data, weights: written.weights.iter().collect() };
    let run = run_directory("train", &written, &options.run, &sources, output)?;
    let kept = run.as_ref();
    let mut reporter = output.recorder(kept, options.run.tensorboard);
    let fitted = if searches {
        in_time(&problem, &options.searching()?, start, kept, &mut reporter)
    } else {
        train(&problem, &options.training(), kept, &mut reporter)
    };
    let fitted = fitted.map_err(|error| stopped_or_failed(error, kept))?;
    if searches {
        print_candidates(&fitted, &problem, output);
    }
    classifier_report::print(&fitted.report, "validation", output);
    if let Some(test) = &fitted.test {
        output.line("");
        classifier_report::print(test, "test", output);
    }
    finish(&fitted, &problem, searches, kept, start, output)
}

/// Searches in what is left of the budget: opening the images takes a part of it.
fn in_time(
    problem: &Problem,
    options: &SearchOptions,
    start: Instant,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Fitted, TransferError> {
    let spent = start.elapsed().as_secs_f64();
    let left = SearchOptions { budget: (options.budget - spent).max(0.0), ..options.clone() };
    search(problem, &left, run, observer).map_err(|error| match error {
        TransferError::BudgetTooShort { needed, images, .. } => {
            TransferError::BudgetTooShort { budget: options.budget, needed: spent + needed, images }
        }
        other => other,
    })
}

/// The data set, without its small classes if --min-images asks for it.
fn large_enough(whole: Arc<dyn Dataset>, options: &Train, output: &Output) -> Result<Arc<dyn Dataset>> {
    let dataset: Arc<dyn Dataset> = match options.min_images {
        Some(min_images) => Arc::new(LargeClasses::new(whole, min_images)),
        None => whole,
    };
    if dataset.classes().len() < 2 {
        let problem = "--min-images leaves fewer than two classes: use a smaller number";
        return Err(UsageError(problem.into()).into());
    }
    data::describe(dataset.as_ref(), output)?;
    Ok(dataset)
}

/// Whether these are photographs, and no option says where to start or how to train.
fn wants_default_weights(options: &Train, dataset: &dyn Dataset) -> Result<bool> {
    let is_silent = options.backbone.is_none() && options.says_nothing() && options.data.is_some();
    let can_tell = is_silent && options.run.resume.is_none() && dataset.vector(0).is_none();
    Ok(can_tell && Look::of(dataset)?.channels == 3)
}

/// Prints what a search tried, and which candidate it kept.
fn print_candidates(fitted: &Fitted, problem: &Problem, output: &Output) {
    let row = |tried: &TriedCandidate| match (tried.accuracy, &tried.skipped) {
        (Some(Interval { mean, low, high }), _) => vec![
            tried.name.clone(),
            format!("{:.1}", mean * 100.0),
            format!("{:.1} to {:.1}", low * 100.0, high * 100.0),
            tried.decisions.to_string(),
            duration(tried.seconds),
        ],
        (None, reason) => {
            let reason = reason.clone().unwrap_or_default();
            vec![tried.name.clone(), String::new(), reason, String::new(), String::new()]
        }
    };
    if !fitted.candidates.is_empty() {
        let rows: Vec<Vec<String>> = fitted.candidates.iter().map(row).collect();
        output.line("cross-validated on the training images:");
        output.table(&["candidate", "accuracy %", "95% CI", "predictions", "time"], &rows);
    }
    let images = problem.training().images.len();
    let accuracy_of = |tried: &TriedCandidate| tried.accuracy.map_or(0.0, |accuracy| accuracy.mean);
    let kept = fitted.candidates.iter().find(|tried| tried.name == fitted.name).map_or(1.0, accuracy_of);
    let is_behind = fitted.candidates.iter().any(|tried| accuracy_of(tried) > kept);
    let why = if is_behind { " (others were better by less than a standard error, or on fewer folds)" } else { "" };
    output.line(format!("keeping {}, trained on all {images} training images{why}", fitted.name));
    if let Some(Expectation { accuracy, with_twice_the_labels }) = &fitted.expected {
        let (expected, accuracy) = (accuracy, in_words(*accuracy));
        output.line(format!("expected accuracy on new images, estimated from the training images: {accuracy}"));
        if expected.mean <= 1.0 / problem.training().ways as f64 {
            output.warning_line(
                "this is no better than guessing: check the labels, and whether the images show what tells the classes apart",
            );
        }
        if let Some(more) = with_twice_the_labels {
            output.line(format!("expected with twice as many labels: {}", in_words(*more)));
        }
    }
    output.line("");
}

/// An accuracy with its interval.
fn expected_json(Interval { mean, low, high }: &Interval) -> Value {
    json!({"accuracy": mean, "ci95": [low, high]})
}

/// Prints where the classifier is, and writes the result.
fn finish(
    fitted: &Fitted,
    problem: &Problem,
    searches: bool,
    run: Option<&RunDirectory>,
    start: Instant,
    output: &Output,
) -> Result<()> {
    if let Some(run) = run {
        output.line(format!("saved the classifier to {}", run.model_path().display()));
    }
    page::save(run, page::train(fitted, problem), output);
    if let Some(run) = run {
        let run = run.path().display();
        output.line(format!("Next: `taper predict {run} PICTURES` names the classes of other pictures."));
    }
    let kind = if problem.weights().is_some() || searches { "transfer" } else { "scratch" };
    let facts = json!({"name": fitted.name, "kind": kind, "train_seconds": fitted.train_seconds, "adapt_seconds": 0.0});
    let mut method = with(classifier_report::figures(&fitted.report), facts);
    if searches {
        let scored = fitted.candidates.iter().filter_map(|tried| {
            let Interval { mean, low, high } = tried.accuracy?;
            Some(json!({"name": tried.name, "accuracy": mean, "ci95": [low, high], "seconds": tried.seconds}))
        });
        method["tried"] = scored.collect();
        if let Some(Expectation { accuracy, with_twice_the_labels }) = &fitted.expected {
            method["expected"] = expected_json(accuracy);
            method["expected_with_twice_the_labels"] = with_twice_the_labels.as_ref().map(expected_json).into();
        }
    }
    if let Some(test) = &fitted.test {
        method["test"] = classifier_report::figures(test);
    }
    let seconds = start.elapsed().as_secs_f64();
    let result = result_json("train", seconds, vec![method], run.map(RunDirectory::path));
    if let Some(run) = run {
        write_atomically(&run.file(RESULT)?, serde_json::to_string_pretty(&result)?.as_bytes())?;
    }
    output.event(&result);
    Ok(())
}

/// Prints a test of learning rates.
fn find_lr(options: &Train, problem: &Problem, output: &Output) -> Result<()> {
    if options.run.out.is_some() || options.run.resume.is_some() || options.run.tensorboard {
        return Err(UsageError("--find-lr saves nothing: remove --out, --resume and --tensorboard".into()).into());
    }
    let mut reporter = output.reporter();
    let found = find_learning_rate(problem, &options.training(), &mut reporter);
    let RateTest { curve, suggested } = found.map_err(|error| match error {
        TransferError::GradualRateTest => {
            UsageError("--find-lr trains the same parameters throughout: remove gradual".into()).into()
        }
        other => stopped_or_failed(other, None),
    })?;
    const WIDTH: f64 = 40.0;
    let top = curve.first().map_or(1.0, |first| first.loss).max(1e-9) * 1.5;
    let row = |&RatePoint { learning_rate, loss }: &RatePoint| {
        let bar = "#".repeat((WIDTH * (loss / top).clamp(0.0, 1.0)).round() as usize);
        vec![format!("{learning_rate:.1e}"), format!("{loss:.3}"), bar]
    };
    let rows: Vec<Vec<String>> = curve.iter().step_by(5).map(row).collect();
    output.table(&["learning rate", "loss", ""], &rows);
    output.line(format!("\ntry --lr {suggested:.0e}, a tenth of the rate with the least loss"));
    output.event(&json!({"event": "learning-rates", "curve": curve, "suggested": suggested}));
    Ok(())
}
