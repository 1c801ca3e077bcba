//! Accuracy against the time that a method takes.

use crate::scale::{Scale, Tick, bounds};
use crate::text::{duration, percent};
use crate::{Interval, Kind};
use askama::Template;
use serde::{Deserialize, Serialize};

/// Accuracy against time, for each method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// One point per method.
    pub points: Vec<CostPoint>,
}

/// One method's accuracy and time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostPoint {
    /// The method.
    pub name: String,
    /// What it learned before.
    pub kind: Kind,
    /// Its accuracy, from 0 to 1.
    pub accuracy: Interval,
    /// Seconds of training before it meets a task.
    pub train_seconds: f64,
    /// Seconds of learning a task.
    pub adapt_seconds: f64,
    /// Seconds of classifying an image.
    pub predict_seconds: f64,
}

impl CostPoint {
    /// Seconds until it can classify.
    fn seconds(&self) -> f64 {
        self.train_seconds + self.adapt_seconds
    }
}

#[derive(Template)]
#[template(path = "costs.html")]
pub(crate) struct Page<'a> {
    points: Vec<Point<'a>>,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    kinds: Vec<Kind>,
    id: usize,
    title: &'a str,
    description: String,
}

struct Point<'a> {
    of: &'a CostPoint,
    number: usize,
    x: String,
    y: String,
    accuracy: String,
    times: [String; 3],
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a Costs, id: usize, title: &'a str) -> Self {
        let times = figure.points.iter().map(CostPoint::seconds).filter(|&seconds| seconds > 0.0);
        let (low, high) = bounds(times).unwrap_or((0.1, 10.0));
        let x = Scale::logarithmic([low / 1.6, high * 1.6], [10.0, 96.0]);
        let y = Scale::shares(figure.points.iter().map(|point| point.accuracy.mean), [92.0, 6.0]);
        let point = |(place, of): (usize, &'a CostPoint)| Point {
            number: place + 1,
            x: x.at(of.seconds().max(low / 1.6)),
            y: y.at(of.accuracy.mean),
            accuracy: percent(of.accuracy.mean),
            times: [of.train_seconds, of.adapt_seconds, of.predict_seconds].map(duration),
            of,
        };
        let points: Vec<Point<'a>> = figure.points.iter().enumerate().map(point).collect();
        let has = |kind: &Kind| figure.points.iter().any(|point| point.kind == *kind);
        let words =
            |point: &Point<'_>| format!("{} {}% in {}", point.of.name, point.accuracy, duration(point.of.seconds()));
        let description = points.iter().map(words).collect::<Vec<_>>().join("; ");
        Self {
            x_ticks: x.ticks(6, |seconds| duration(seconds).replace(".0 ", " ")),
            y_ticks: y.ticks(6, |share| format!("{:.0}%", share * 100.0)),
            kinds: Kind::ALL.into_iter().filter(has).collect(),
            points,
            id,
            title,
            description,
        }
    }
}
