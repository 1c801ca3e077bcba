//! How often probabilities are right: a reliability diagram.

use crate::scale::{Scale, Tick, points};
use crate::text::percent;
use askama::Template;
use serde::{Deserialize, Serialize};

/// How often probabilities are right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Ascending in probability; those without images may be missing.
    pub bins: Vec<CalibrationBin>,
    /// The mean distance between probability and share of right answers, weighted by images.
    pub expected_error: f64,
}

/// Images whose predicted class has a probability in some range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// The range's lower end.
    pub from: f64,
    /// The range's upper end.
    pub to: f64,
    /// Number of images.
    pub images: usize,
    /// Their mean probability.
    pub probability: f64,
    /// The share of them that is classified correctly.
    pub right: f64,
}

#[derive(Template)]
#[template(path = "calibration.html")]
pub(crate) struct Page<'a> {
    bins: Vec<Bin<'a>>,
    line: String,
    ticks_x: Vec<Tick>,
    ticks_y: Vec<Tick>,
    diagonal: [String; 4],
    error: String,
    id: usize,
    title: &'a str,
}

struct Bin<'a> {
    of: &'a CalibrationBin,
    x: String,
    y: String,
    radius: String,
    texts: [String; 3],
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a Calibration, id: usize, title: &'a str) -> Self {
        let (x, y) = (Scale::linear([0.0, 1.0], [10.0, 97.0]), Scale::linear([0.0, 1.0], [92.0, 4.0]));
        let most = figure.bins.iter().map(|bin| bin.images).max().unwrap_or(1).max(1) as f64;
        let filled = || figure.bins.iter().filter(|bin| bin.images > 0);
        let bin = |bin: &'a CalibrationBin| Bin {
            x: x.at(bin.probability),
            y: y.at(bin.right),
            // the area is the number of images
            radius: format!("{:.1}", 3.0 + 9.0 * (bin.images as f64 / most).sqrt()),
            texts: [
                format!("{:.0} to {:.0}", bin.from * 100.0, bin.to * 100.0),
                percent(bin.probability),
                percent(bin.right),
            ],
            of: bin,
        };
        Self {
            bins: filled().map(bin).collect(),
            line: points(filled().map(|bin| (x.place(bin.probability), y.place(bin.right)))),
            ticks_x: x.ticks(5, |share| format!("{:.0}%", share * 100.0)),
            ticks_y: y.ticks(5, |share| format!("{:.0}%", share * 100.0)),
            diagonal: [x.at(0.0), x.at(1.0), y.at(0.0), y.at(1.0)],
            error: percent(figure.expected_error),
            id,
            title,
        }
    }
}
