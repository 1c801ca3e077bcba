//! Accuracies of methods as a dot plot: one row a method, the interval as a line.

use crate::scale::{Scale, Tick};
use crate::text::percent;
use crate::{Interval, Kind};
use askama::Template;
use serde::{Deserialize, Serialize};

/// Accuracies of methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracies {
    /// What the first column names, such as `method`.
    pub what: String,
    /// One row per method, in the order of the page.
    pub rows: Vec<AccuracyRow>,
}

/// One method's accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccuracyRow {
    /// The method.
    pub name: String,
    /// What it learned before; `None` if rows are not methods.
    pub kind: Option<Kind>,
    /// Its accuracy, from 0 to 1.
    pub accuracy: Interval,
    /// Something about it, such as what it was trained on.
    pub note: String,
    /// Whether it is the one that the report is about: the best, or the one kept.
    pub marked: bool,
}

#[derive(Template)]
#[template(path = "accuracies.html")]
pub(crate) struct Page<'a> {
    figure: &'a Accuracies,
    rows: Vec<Row<'a>>,
    ticks: Vec<Tick>,
    kinds: Vec<Kind>,
    id: usize,
    title: &'a str,
    description: String,
    has_notes: bool,
}

struct Row<'a> {
    of: &'a AccuracyRow,
    low: String,
    mean: String,
    high: String,
    class: &'static str,
    accuracy: String,
    interval: String,
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a Accuracies, id: usize, title: &'a str) -> Self {
        let ends = figure.rows.iter().flat_map(|row| [row.accuracy.low, row.accuracy.high]);
        let scale = Scale::shares(ends, [3.0, 97.0]);
        let row = |row: &'a AccuracyRow| {
            let Interval { mean, low, high } = row.accuracy;
            Row {
                low: scale.at(low),
                mean: scale.at(mean),
                high: scale.at(high),
                class: row.kind.map_or("plain", Kind::class),
                accuracy: percent(mean),
                interval: format!("{} to {}", percent(low), percent(high)),
                of: row,
            }
        };
        let has = |kind: &Kind| figure.rows.iter().any(|row| row.kind == Some(*kind));
        let best = figure.rows.iter().max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean));
        let best = best
            .map_or(String::new(), |row| format!("; the highest is {} with {}%", row.name, percent(row.accuracy.mean)));
        Self {
            figure,
            rows: figure.rows.iter().map(row).collect(),
            ticks: scale.ticks(5, |share| format!("{:.0}%", share * 100.0)),
            kinds: Kind::ALL.into_iter().filter(has).collect(),
            id,
            title,
            description: format!("Accuracy of {} rows with 95% intervals{best}.", figure.rows.len()),
            has_notes: figure.rows.iter().any(|row| !row.note.is_empty()),
        }
    }
}
