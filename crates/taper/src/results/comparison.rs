//! What a comparison on tasks of random classes found.

use crate::output::Output;
use crate::report::{result_json, with};
use crate::table::{bar, duration, percent};
use serde_json::{Value, json};
use std::path::Path;
use taper_compare::{Comparison, MethodReport, Report, Start};
use taper_data::Scope;

/// The result for programs.
pub(crate) fn comparison_json(report: &Report, seconds: f64, out: Option<&Path>) -> Value {
    let methods = report.methods.iter().map(|method| entry(&report.comparison, method)).collect();
    let result = result_json("compare", seconds, methods, out);
    with(
        result,
        json!({"verdict": report.verdict.words, "claims": report.verdict.claims, "chosen": report.chosen,
            "warnings": report.warnings}),
    )
}

/// Prints the setting in a few lines, the table and the verdict.
pub(crate) fn show_comparison(report: &Report, output: &Output) {
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
    let mut header = vec!["method", "kind", "accuracy %"];
    header.extend(output.is_terminal().then_some(""));
    header.extend(["vs. best", "training", "adapting", "labels/class", "trained on"]);
    let best = report.most_accurate().map(|best| &best.name);
    let cells = |method: &MethodReport| {
        let mut row = vec![method.title(), method.kind.to_string(), percent(method.accuracy)];
        row.extend(output.is_terminal().then(|| bar(method.accuracy.mean)));
        row.extend([
            if Some(&method.name) == best { "0 (best)".into() } else { percent(method.from_best) },
            duration(method.train_seconds),
            duration(method.cost.adapt_seconds),
            comparison.shots.to_string(),
            method.trained_on.clone(),
        ]);
        row
    };
    output.table(&header, &methods.iter().map(cells).collect::<Vec<_>>());
    output.line("");
    output.strong_line(&verdict.words);
    report.warnings.iter().for_each(|warning| output.warning_line(format!("{warning}.")));
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
