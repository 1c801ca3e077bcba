//! The report of an evaluation.

use super::interval;
use anyhow::Result;
use taper_data::one_line;
use taper_learn::Interval;
use taper_report::{Accuracies, AccuracyRow, Fact, Figure, Kind, Report, Section};

/// What was scored, and how it did.
pub(crate) struct Scored {
    /// The model, in a few words.
    pub(crate) model: String,
    /// What it was scored on, in words.
    pub(crate) on: String,
    pub(crate) accuracy: Interval,
    /// Name, accuracy and note of each part, such as a class; of methods also their kinds.
    pub(crate) parts: Vec<(String, Option<Kind>, Interval, String)>,
    /// What a part is.
    pub(crate) what: &'static str,
    /// More about the answers.
    pub(crate) sections: Result<Vec<Section>>,
}

/// The report.
///
/// # Errors
/// Returns an error if what is known about the answers could not be made.
pub(crate) fn evaluate(scored: Scored) -> Result<Report> {
    let Interval { mean, low, high } = scored.accuracy;
    let [percent, from, to] = [mean, low, high].map(|share| format!("{:.1}", share * 100.0));
    let row = |(name, kind, accuracy, note): &(String, Option<Kind>, Interval, String)| AccuracyRow {
        name: one_line(name).into_owned(),
        kind: *kind,
        accuracy: interval(*accuracy),
        note: note.clone(),
        marked: false,
    };
    let by_part = Section {
        title: format!("Accuracy by {}", scored.what),
        text: "Lines are 95% intervals.".into(),
        figure: Figure::Accuracies(Accuracies {
            what: scored.what.into(),
            rows: scored.parts.iter().map(row).collect(),
        }),
    };
    let (model, on) = (one_line(&scored.model), one_line(&scored.on));
    Ok(Report {
        title: format!("How well does {model} do?"),
        context: vec!["Evaluation".into(), on.to_string()],
        verdict: format!("{percent}% of the answers of {model} are right (95% CI {from} to {to})."),
        facts: vec![Fact::new("Scored on", on)],
        sections: std::iter::once(by_part).chain(scored.sections?).collect(),
        ..Report::default()
    })
}
