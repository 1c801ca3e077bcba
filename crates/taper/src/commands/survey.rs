//! `taper survey`: every head and kind of fine-tuning, over data sets, networks and numbers of labels.

use crate::args::{Survey, UsageError};
use crate::data;
use crate::output::Output;
use crate::report::{result_json, run_directory, stopped_or_failed};
use crate::table::{duration, table};
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Instant;
use taper_compare::METHODS;
use taper_data::Look;
use taper_models::catalog::{Pretrained, WeightHints};
use taper_transfer::{Cell, Problem, TransferError, check_survey, survey};

pub(crate) fn run(options: &Survey, output: &Output) -> Result<()> {
    let start = Instant::now();
    // nothing is written before everything is checked
    let problems = problems(options, output)?;
    let surveyed = options.survey();
    check_survey(&problems, &surveyed, METHODS).map_err(usage)?;
    let run = run_directory("survey", options, &options.run)?;
    let cells = survey(&problems, &surveyed, METHODS, run.as_ref(), &mut output.reporter())
        .map_err(|error| stopped_or_failed(error, run.as_ref()))?;
    print(&cells, output);
    let methods = cells.iter().map(entry).collect();
    let seconds = start.elapsed().as_secs_f64();
    output.event(&result_json("survey", seconds, methods, run.as_ref().map(|run| run.path())));
    Ok(())
}

/// An error about an option, as such.
fn usage(error: TransferError) -> anyhow::Error {
    match error {
        TransferError::NoSuchStage { place, network, stages } => {
            let problem =
                format!("--fine-tune {place}: {network} has {stages} such stages: use a smaller number or all");
            UsageError(problem).into()
        }
        other => other.into(),
    }
}

/// Each data set with each network for it.
fn problems(options: &Survey, output: &Output) -> Result<Vec<Problem>> {
    let mut reporter = output.reporter();
    let mut problems = Vec::new();
    let cache = data::feature_cache(options.cache.as_deref());
    for path in &options.datasets {
        let dataset = data::given(Some(path), output)?;
        let in_color = Look::of(dataset.as_ref())?.channels == 3;
        let for_color = options.color_weights.iter().filter(|_| in_color);
        for weights in for_color.chain(&options.weights) {
            let weights = data::weights(weights)?;
            let pretrained = Pretrained::read(weights.path(), &WeightHints::default())?;
            let problem = Problem::new(dataset.clone(), Some(&pretrained), &options.problem(), &mut reporter)?;
            problems.push(problem.with_cache(cache.clone()));
        }
    }
    Ok(problems)
}

/// For each data set and network a table: a row per method, a column per number of labels.
fn print(cells: &[Cell], output: &Output) {
    let tables = distinct(cells.iter().map(|cell| (&cell.data, &cell.network)));
    for (data, network) in tables {
        let cells: Vec<&Cell> = cells.iter().filter(|cell| (&cell.data, &cell.network) == (data, network)).collect();
        let labels = distinct(cells.iter().map(|cell| &cell.labels));
        let figure = |method: &String, labels: &String| {
            let found = cells.iter().find(|cell| cell.method == *method && cell.labels == *labels);
            found.map_or(String::new(), |cell| {
                let [mean, low, high] = [cell.accuracy, cell.low, cell.high].map(|share| share * 100.0);
                format!("{mean:.1} ({low:.1} to {high:.1})")
            })
        };
        let row = |method: &String| {
            let last = cells.iter().rfind(|cell| cell.method == *method);
            let times = last.map_or([0.0; 2], |cell| [cell.train_seconds, cell.predict_seconds]);
            let figures = labels.iter().map(|labels| figure(method, labels));
            [method.clone()].into_iter().chain(figures).chain(times.map(duration)).collect()
        };
        let rows: Vec<Vec<String>> = distinct(cells.iter().map(|cell| &cell.method)).into_iter().map(row).collect();
        let header: Vec<String> = [format!("{data}, {network}")]
            .into_iter()
            .chain(labels.iter().map(|labels| format!("{labels} per class, %")))
            .chain(["training".into(), "per image".into()])
            .collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        output.line(format!("\n{}", table(&header, &rows)));
    }
}

/// The different values, in the order in which they first appear.
fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// A cell's entry in the result.
fn entry(cell: &Cell) -> Value {
    json!({"name": cell.method, "kind": "transfer", "data": cell.data, "network": cell.network,
        "labels": cell.labels, "accuracy": cell.accuracy, "ci95": [cell.low, cell.high],
        "train_seconds": cell.train_seconds, "adapt_seconds": 0.0, "predict_seconds": cell.predict_seconds})
}
