//! A classifier's scores as tables and as JSON.

use crate::output::Output;
use crate::table::{in_words, table};
use serde_json::{Value, json};
use taper_transfer::{ClassReport, ValidationReport, WorstError};

/// Classes up to which the whole confusion matrix is printed.
const MATRIX_UP_TO: usize = 12;
/// Errors printed.
const ERRORS_SHOWN: usize = 5;

/// Prints the scores on the images of a part.
pub(crate) fn print(report: &ValidationReport, part: &str, output: &Output) {
    let share = |value: f64| format!("{:.1}", value * 100.0);
    let row = |class: &ClassReport| {
        let figures = [class.precision, class.recall, class.f1].map(share);
        [vec![class.name.clone(), class.images.to_string()], figures.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = report.classes.iter().map(row).collect();
    output.table(&["class", "images", "precision %", "recall %", "F1 %"], &rows);
    if report.classes.len() <= MATRIX_UP_TO {
        let names = report.classes.iter().map(|class| class.name.as_str());
        let header: Vec<&str> = ["true ↓ predicted →"].into_iter().chain(names).collect();
        let row = |(class, counts): (&ClassReport, &Vec<usize>)| {
            [vec![class.name.clone()], counts.iter().map(ToString::to_string).collect()].concat()
        };
        let rows: Vec<Vec<String>> = report.classes.iter().zip(&report.confusion).map(row).collect();
        output.line(format!("\n{}", table(&header, &rows)));
    }
    if !report.worst_errors.is_empty() {
        let row = |error: &WorstError| {
            let WorstError { image, class, predicted, probability } = error;
            vec![image.clone(), class.clone(), predicted.clone(), format!("{:.0}%", probability * 100.0)]
        };
        let rows: Vec<Vec<String>> = report.worst_errors.iter().take(ERRORS_SHOWN).map(row).collect();
        output.line(format!("\n{}", table(&["worst errors", "true class", "predicted", "probability"], &rows)));
    }
    output.line(format!(
        "\non {} {part} images{}: accuracy {}, macro-F1 {}",
        report.images,
        if report.views > 1 { format!(", {} views each", report.views) } else { String::new() },
        in_words(report.accuracy),
        in_words(report.macro_f1)
    ));
}

/// The figures, as parts of a method's entry in a result event.
pub(crate) fn figures(report: &ValidationReport) -> Value {
    let ValidationReport { accuracy, macro_f1, views, .. } = report;
    json!({"accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high], "macro_f1": macro_f1.mean,
        "macro_f1_ci95": [macro_f1.low, macro_f1.high], "views": views})
}
