//! Paired differences between methods around zero, with what each of them shows.

use crate::Interval;
use crate::scale::{Scale, Tick, bounds};
use crate::text::points;
use askama::Template;
use serde::{Deserialize, Serialize};

/// Differences between pairs of methods on the same tasks or images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Differences {
    /// One row per pair.
    pub rows: Vec<Difference>,
}

/// A difference between two methods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The method compared.
    pub first: String,
    /// The method it is compared with.
    pub second: String,
    /// Accuracy of the first less that of the second, from -1 to 1.
    pub difference: Interval,
    /// What this shows, in a few words.
    pub shows: String,
}

#[derive(Template)]
#[template(path = "differences.html")]
pub(crate) struct Page<'a> {
    rows: Vec<Row<'a>>,
    ticks: Vec<Tick>,
    zero: String,
    id: usize,
    title: &'a str,
}

struct Row<'a> {
    of: &'a Difference,
    low: String,
    mean: String,
    high: String,
    points: String,
    interval: String,
    /// Whether the interval lies on one side of 0.
    decided: bool,
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a Differences, id: usize, title: &'a str) -> Self {
        let ends = figure.rows.iter().flat_map(|row| [row.difference.low, row.difference.high]).chain([0.0]);
        let (low, high) = bounds(ends).unwrap_or((-0.1, 0.1));
        let room = ((high - low) * 0.04).max(0.005);
        let scale = Scale::linear([low - room, high + room], [3.0, 97.0]);
        let row = |row: &'a Difference| {
            let Interval { mean, low, high } = row.difference;
            Row {
                of: row,
                low: scale.at(low),
                mean: scale.at(mean),
                high: scale.at(high),
                points: points(mean),
                interval: format!("{} to {}", points(low), points(high)),
                decided: low > 0.0 || high < 0.0,
            }
        };
        Self {
            rows: figure.rows.iter().map(row).collect(),
            ticks: scale.ticks(5, |difference| {
                let text = points(difference);
                text.strip_suffix(".0").map_or(text.clone(), String::from)
            }),
            zero: scale.at(0.0),
            id,
            title,
        }
    }
}
