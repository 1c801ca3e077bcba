//! Accuracy over the number of labels, and where curves cross.

use crate::Interval;
use crate::scale::{Scale, Tick, attribute, bounds, points};
use crate::text::percent;
use askama::Template;
use serde::{Deserialize, Serialize};

/// Accuracy over the number of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelCurves {
    /// One curve per method, in the order of the table.
    pub curves: Vec<LabelCurve>,
    /// Where curves cross.
    pub crossings: Vec<Crossing>,
}

/// One method's accuracy over the number of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelCurve {
    /// The method.
    pub name: String,
    /// Whether it is one of the few that are drawn in color: the best of its approach.
    pub highlighted: bool,
    /// Ascending in labels.
    pub points: Vec<LabelPoint>,
}

/// An accuracy at a number of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelPoint {
    /// The number as it was asked for, such as `5` or `all`.
    pub labels: String,
    /// Labels per class.
    pub per_class: f64,
    /// The accuracy, from 0 to 1.
    pub accuracy: Interval,
}

/// A number of labels from which on one method is more accurate than another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// Labels per class.
    pub labels: f64,
    /// The crossing in words, with its interval.
    pub words: String,
}

/// Curves in color, at most: as many as there are colors that everybody can tell apart.
const COLORS: usize = 6;

#[derive(Template)]
#[template(path = "label_curves.html")]
pub(crate) struct Page<'a> {
    figure: &'a LabelCurves,
    others: Vec<String>,
    bests: Vec<Drawn<'a>>,
    columns: Vec<String>,
    rows: Vec<(&'a str, Vec<String>)>,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    crossings: Vec<String>,
    id: usize,
    title: &'a str,
    description: String,
}

struct Drawn<'a> {
    name: &'a str,
    number: usize,
    line: String,
    points: Vec<[String; 4]>,
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a LabelCurves, id: usize, title: &'a str) -> Self {
        let all = || figure.curves.iter().flat_map(|curve| &curve.points);
        let (low, high) =
            bounds(all().map(|point| point.per_class).filter(|&labels| labels > 0.0)).unwrap_or((1.0, 10.0));
        let x = Scale::logarithmic([low, high.max(low * 1.01)], [10.0, 95.0]);
        let shown = figure.curves.iter().flat_map(|curve| curve.points.iter().map(move |point| (curve, point)));
        let ends = shown.flat_map(|(curve, point)| match curve.highlighted {
            true => vec![point.accuracy.low, point.accuracy.high],
            false => vec![point.accuracy.mean],
        });
        let y = Scale::shares(ends, [92.0, 4.0]);
        let line = |curve: &LabelCurve| {
            points(curve.points.iter().map(|point| (x.place(point.per_class), y.place(point.accuracy.mean))))
        };
        let best = |(place, curve): (usize, &'a LabelCurve)| Drawn {
            name: &curve.name,
            number: place + 1,
            line: line(curve),
            points: curve
                .points
                .iter()
                .map(|LabelPoint { per_class, accuracy: Interval { mean, low, high }, .. }| {
                    // whiskers of several curves at one number of labels lie beside each other
                    let aside = 0.5 * (place as f64 - 1.0);
                    [attribute(x.place(*per_class) + aside), y.at(*low), y.at(*mean), y.at(*high)]
                })
                .collect(),
        };
        let is_best = |place: usize| {
            let before = figure.curves[..place].iter().filter(|curve| curve.highlighted).count();
            figure.curves[place].highlighted && before < COLORS
        };
        let (bests, others): (Vec<usize>, Vec<usize>) = (0..figure.curves.len()).partition(|&place| is_best(place));
        let mut columns: Vec<(&str, f64)> = Vec::new();
        for point in all() {
            if columns.iter().all(|(labels, _)| *labels != point.labels) {
                columns.push((&point.labels, point.per_class));
            }
        }
        columns.sort_by(|a, b| a.1.total_cmp(&b.1));
        let cell = |curve: &LabelCurve, labels: &str| {
            let found = curve.points.iter().find(|point| point.labels == labels);
            found.map_or(String::new(), |LabelPoint { accuracy: Interval { mean, low, high }, .. }| {
                format!("{} ({}–{})", percent(*mean), percent(*low), percent(*high))
            })
        };
        let row = |curve: &'a LabelCurve| {
            (curve.name.as_str(), columns.iter().map(|(labels, _)| cell(curve, labels)).collect())
        };
        let last = |place: &usize| {
            let curve = &figure.curves[*place];
            let last = curve.points.last();
            last.map(|last| {
                format!("{} reaches {}% with {} labels", curve.name, percent(last.accuracy.mean), last.labels)
            })
        };
        Self {
            others: others.iter().map(|&place| line(&figure.curves[place])).collect(),
            description: bests.iter().filter_map(last).collect::<Vec<_>>().join("; "),
            bests: bests.into_iter().map(|place| &figure.curves[place]).enumerate().map(best).collect(),
            rows: figure.curves.iter().map(row).collect(),
            x_ticks: ticks(&x, &columns),
            columns: columns.iter().map(|(labels, per_class)| named(labels, *per_class)).collect(),
            y_ticks: y.ticks(6, |share| format!("{:.0}%", share * 100.0)),
            crossings: figure.crossings.iter().map(|crossing| x.at(crossing.labels)).collect(),
            figure,
            id,
            title,
        }
    }
}

/// A mark for each number of labels, unless it would touch the one before.
fn ticks(x: &Scale, columns: &[(&str, f64)]) -> Vec<Tick> {
    const APART: f64 = 7.0;
    let mut ticks: Vec<(f64, Tick)> = Vec::new();
    for (labels, per_class) in columns {
        let place = x.place(*per_class);
        if ticks.last().is_none_or(|(before, _)| place - before >= APART) {
            ticks.push((place, Tick { at: attribute(place), label: (*labels).to_string() }));
        }
    }
    ticks.into_iter().map(|(_, tick)| tick).collect()
}

/// `5`, `all (86)`.
fn named(labels: &str, per_class: f64) -> String {
    if labels == "all" { format!("all ({per_class:.0})") } else { labels.to_string() }
}
