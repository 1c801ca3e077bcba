//! The cells of a survey.

use crate::output::Output;
use crate::table::{distinct, duration, table};
use serde_json::{Value, json};
use taper_transfer::Cell;

/// Prints the cells, and returns their entries for programs.
pub(crate) fn show_survey(cells: &[Cell], output: &Output) -> Vec<Value> {
    print(cells, output);
    cells.iter().map(entry).collect()
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

/// A cell's entry in the result.
fn entry(cell: &Cell) -> Value {
    json!({"name": cell.method, "kind": "transfer", "data": cell.data, "network": cell.network,
        "labels": cell.labels, "draws": cell.draws, "accuracy": cell.accuracy, "ci95": [cell.low, cell.high],
        "train_seconds": cell.train_seconds, "adapt_seconds": 0.0, "predict_seconds": cell.predict_seconds})
}
