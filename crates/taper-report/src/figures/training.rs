//! Learning curves: loss and validation score over the steps of each stage of training.

use crate::scale::{Scale, Tick, bounds, points};
use crate::text::duration;
use askama::Template;
use serde::{Deserialize, Serialize};

/// The stages of training of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// In the order in which they began.
    pub stages: Vec<StageCurve>,
}

/// One stage of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCurve {
    /// Its name.
    pub name: String,
    /// Steps planned.
    pub steps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Steps and losses, ascending in steps.
    pub losses: Vec<(u64, f64)>,
    /// Steps and validation scores, higher is better; empty without validation.
    pub scores: Vec<(u64, f64)>,
}

#[derive(Template)]
#[template(path = "training.html")]
pub(crate) struct Page<'a> {
    stages: Vec<Stage<'a>>,
    id: usize,
}

struct Stage<'a> {
    of: &'a StageCurve,
    charts: Vec<Chart>,
    loss: String,
    best: String,
    seconds: String,
}

struct Chart {
    what: &'static str,
    class: &'static str,
    line: String,
    y_ticks: Vec<Tick>,
    description: String,
}

impl<'a> Page<'a> {
    pub(crate) fn new(figure: &'a Training, id: usize) -> Self {
        let stage = |of: &'a StageCurve| {
            let best = of.scores.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
            let charts = [("loss", "s1", &of.losses), ("validation score", "s2", &of.scores)];
            Stage {
                charts: charts.into_iter().filter_map(|(what, class, values)| chart(what, class, values)).collect(),
                loss: of.losses.last().map_or("–".into(), |(_, loss)| number(*loss)),
                best: best.map_or("–".into(), |(step, score)| format!("{} at step {step}", number(score))),
                seconds: duration(of.seconds),
                of,
            }
        };
        Self { stages: figure.stages.iter().map(stage).collect(), id }
    }
}

/// A line over the steps; `None` if there are no two values.
fn chart(what: &'static str, class: &'static str, values: &[(u64, f64)]) -> Option<Chart> {
    let (first, last) = (values.first()?, values.last()?);
    let (low, high) = bounds(values.iter().map(|value| value.1)).filter(|_| values.len() > 1)?;
    let room = ((high - low) * 0.08).max(1e-3);
    let x = Scale::linear([first.0 as f64, last.0 as f64], [13.0, 100.0]);
    let y = Scale::linear([low - room, high + room], [96.0, 8.0]);
    Some(Chart {
        what,
        class,
        line: points(
            values.iter().filter(|value| value.1.is_finite()).map(|(step, v)| (x.place(*step as f64), y.place(*v))),
        ),
        y_ticks: y.ticks(3, number),
        description: format!(
            "{what} from {} at step {} to {} at step {}",
            number(first.1),
            first.0,
            number(last.1),
            last.0
        ),
    })
}

/// A loss or a score with three places that count.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_string(),
    }
}
