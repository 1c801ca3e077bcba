//! A comparison on tasks of random classes.

use crate::args::{Compare, InputPath, UsageError};
use crate::data;
use crate::hints::with_hint;
use crate::output::Output;
use crate::report::{result_json, run_directory, stopped_or_failed, with};
use crate::table::{duration, percent, table};
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{CompareError, Comparison, ComparisonData, MethodReport, Report, Start};
use taper_data::{Dataset, Look, Scope};
use taper_models::catalog::{Pretrained, WeightHints};

pub(super) fn run(options: &Compare, dataset: Arc<dyn Dataset>, output: &Output) -> Result<()> {
    let start = Instant::now();
    let mut comparison = options.comparison(Look::of(dataset.as_ref())?.channels > 1);
    comparison.check()?;
    comparison.backbone = data::backbone(dataset.as_ref(), comparison.backbone, Comparison::default().backbone);
    comparison.shape()?.check(dataset.as_ref())?;
    let compared = ComparisonData {
        split: data::split(options.tasks.split.as_ref(), dataset.as_ref())?,
        meta_data: data::dataset(options.meta_data.as_ref().map(InputPath::path))?,
        dataset,
    };
    let weights = options.weights.as_ref().map(data::weights).transpose()?;
    let pretrained = weights.as_ref().map(|file| Pretrained::read(file.path(), &WeightHints::default())).transpose()?;
    pretrained.iter().flat_map(|pretrained| &pretrained.notes).for_each(|note| output.note(note));
    let options = &Compare { weights, ..options.clone() };
    let run = run_directory("compare", options, &options.run)?;
    let mut reporter = output.reporter();
    let report =
        comparison.run(&compared, pretrained.as_ref(), run.as_ref(), &mut reporter).map_err(|error| match error {
            CompareError::TooFewClasses { .. } => UsageError(with_hint(&error.into())).into(),
            error => stopped_or_failed(error, run.as_ref()),
        })?;
    print(&report, output);
    if let (Some(run), Some(model), Some(name)) = (&run, &report.model, &report.chosen) {
        let path = run.model_path();
        model.save(&path)?;
        output.line(format!(
            "{name} is saved in {}: `taper adapt {} SUPPORT_FOLDER --out MINE` makes a classifier from it.",
            path.display(),
            run.path().display()
        ));
    }
    let seconds = start.elapsed().as_secs_f64();
    output.line(format!("{} in total.", duration(seconds)));
    let methods = report.methods.iter().map(|method| entry(&report.comparison, method)).collect();
    let result = result_json("compare", seconds, methods, run.as_ref().map(|run| run.path()));
    output.event(&with(
        result,
        json!({"verdict": report.verdict.words, "claims": report.verdict.claims, "chosen": report.chosen,
            "warnings": report.warnings}),
    ));
    Ok(())
}

/// The setting in a few lines, the table, the verdict.
fn print(report: &Report, output: &Output) {
    let Report { comparison, data, methods, verdict, .. } = report;
    let (tested_on, trained_on) = (&data.tested_on, &data.trained_on);
    output.line(if tested_on == trained_on {
        format!(
            "{tested_on}: {} training classes, {} validation classes, {} test classes.",
            data.training_classes, data.validation_classes, data.test_classes
        )
    } else {
        format!(
            "{tested_on} has {} classes, too few to split: methods train on {trained_on} and are tested on {tested_on}.",
            data.test_classes
        )
    });
    output.line(format!(
        "\n{} test tasks of {}-way {}-shot with {} queries per class{}; {} on images {} pixels wide, {} images seen in training, seed {}.\n",
        comparison.episodes,
        comparison.ways,
        comparison.shots,
        comparison.queries,
        within(data.scope),
        comparison.backbone,
        data.image_width,
        comparison.images,
        comparison.seed
    ));
    let header = ["method", "kind", "accuracy %", "vs. best", "training", "adapting", "labels/class", "trained on"];
    let best = methods.iter().rev().max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean)).map(|best| &best.name);
    let cells = |method: &MethodReport| {
        vec![
            format!("{}{}", method.name, if method.transductive { " (transductive)" } else { "" }),
            method.kind.to_string(),
            percent(method.accuracy),
            if Some(&method.name) == best { "0 (best)".into() } else { percent(method.from_best) },
            duration(method.train_seconds),
            duration(method.cost.adapt_seconds),
            comparison.shots.to_string(),
            method.trained_on.clone(),
        ]
    };
    output.line(table(&header, &methods.iter().map(cells).collect::<Vec<_>>()));
    output.line(format!("\n{}", verdict.words));
    report.warnings.iter().for_each(|warning| output.line(format!("Warning: {warning}.")));
}

/// Whether tasks stay within groups, in words.
fn within(scope: Scope) -> &'static str {
    match scope {
        Scope::Group => ", each task within a group",
        Scope::All => "",
    }
}

/// A method's entry in the result.
fn entry(comparison: &Comparison, method: &MethodReport) -> Value {
    let MethodReport { name, kind, accuracy, from_best, cost, .. } = method;
    json!({
        "name": name, "kind": kind.to_string(), "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
        "train_seconds": method.train_seconds, "adapt_seconds": cost.adapt_seconds,
        "predict_seconds": cost.predict_seconds,
        "episodes": method.task_accuracies.first().map_or(0, Vec::len), "repeats": method.task_accuracies.len(),
        "from_best": {"difference": from_best.mean, "ci95": [from_best.low, from_best.high]},
        "validation": method.validation.mean, "start": start(method),
        "labels": comparison.shots.to_string(), "trained_on": method.trained_on, "transductive": method.transductive,
    })
}

/// What a method had learned from before: weights, or weights and then this comparison's training tasks.
fn start(method: &MethodReport) -> &'static str {
    match (&method.start, method.train_seconds > 0.0) {
        (Start::Nothing, _) => "nothing",
        (Start::Elsewhere(_), false) => "weights",
        (Start::Elsewhere(_), true) => "weights+meta",
    }
}
