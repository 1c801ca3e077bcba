//! `taper evaluate --protocol lake`: Lake's Omniglot challenge.

use crate::args::{Evaluate, Usage};
use crate::data;
use crate::output::Output;
use crate::registry::learner;
use crate::table::{duration, table};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::{Copies, EpisodeIndices, Inputs, LakeRuns, View};
use taper_learn::heads::{Hausdorff, NearestNeighbor};
use taper_learn::{Adapt, Averaged, Evaluation, Interval, Model, evaluate, wilson_interval};

/// What the floors see of a drawing: its pixels blurred, by scaling down; all of its ink.
const FLOORS: [(&str, &str, &dyn Adapt); 2] = [
    ("nearest-blurred-pixels", "gray invert center(mass) resize(15x15)", &NearestNeighbor),
    ("modified-hausdorff", "gray invert", &Hausdorff),
];

/// Scores a learner on the runs, one item at a time, with the floors that need no learning beside
/// it; the learner comes first in the result.
pub(crate) fn run(model: &Model, options: &Evaluate, output: &Output) -> Result<Vec<Value>> {
    let Some(path) = &options.data else {
        return Err(Usage("--protocol lake scores runs: give their folder or zip after the model".into()).into());
    };
    let runs = Arc::new(LakeRuns::open(path)?);
    let method = learner(model)?;
    let view = data::view(runs.clone(), model.transform.parse()?)?;
    let (seed, views) = (options.common.seed, options.views.views);
    let scored = if views == 1 {
        Score::of(method.as_ref(), &runs, view.as_ref(), seed)?
    } else {
        Score::of(&Averaged(method.as_ref()), &runs, &Copies::new(&view, views, seed)?, seed)?
    };
    let mut rows: Vec<Vec<String>> = scored
        .by_run
        .iter()
        .map(|(run, &(right, items))| vec![run.clone(), items.to_string(), error_percent(right, items)])
        .collect();
    rows.push(vec!["all".into(), scored.items().to_string(), scored.error()]);
    output.line(table(&["run", "decisions", "error %"], &rows));
    let mut floors = Vec::new();
    for (name, transform, floor) in FLOORS {
        let view = View::new(runs.clone(), transform.parse()?)?;
        floors.push((name, Score::of(floor, &runs, &view, seed)?));
    }
    let name = &model.trained.method;
    let all = std::iter::once((name.as_str(), "meta", &scored))
        .chain(floors.iter().map(|(name, score)| (*name, "floor", score)));
    let rows: Vec<Vec<String>> = all
        .clone()
        .map(|(name, _, score)| vec![name.to_string(), score.error(), duration(score.evaluation.cost.predict_seconds)])
        .collect();
    output.line("");
    output.line(table(&["method", "error %", "time a task"], &rows));
    output.line(format!(
        "error over {} decisions, each item alone, with its 95 % interval (Wilson){}",
        scored.items(),
        if views == 1 { String::new() } else { format!("; {views} views of each image") }
    ));
    Ok(all.map(|(name, kind, score)| score.json(name, kind)).collect())
}

/// Right answers of a method.
struct Score {
    /// Right answers and items of each run.
    by_run: BTreeMap<String, (usize, usize)>,
    evaluation: Evaluation,
}

impl Score {
    /// A method whose queries see each other gets each item as a task of its own.
    fn of(method: &dyn Adapt, runs: &LakeRuns, inputs: &dyn Inputs, seed: u64) -> Result<Self> {
        let tasks: Vec<EpisodeIndices> = (0..runs.runs())
            .flat_map(|run| {
                let task = runs.task(run);
                if method.transductive() { task.each_query() } else { vec![task.clone()] }
            })
            .collect();
        let evaluation = evaluate(method, tasks.len() as u64, seed, |n| Ok(inputs.episode(&tasks[n as usize], None)?))?;
        let mut by_run: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (task, accuracy) in tasks.iter().zip(&evaluation.accuracies) {
            let (right, items) = by_run.entry(task.source.clone()).or_default();
            *right += (accuracy * task.query.len() as f64).round() as usize;
            *items += task.query.len();
        }
        Ok(Self { by_run, evaluation })
    }

    fn items(&self) -> usize {
        self.by_run.values().map(|(_, items)| items).sum()
    }

    fn accuracy(&self) -> Interval {
        wilson_interval(self.by_run.values().map(|(right, _)| right).sum(), self.items())
    }

    /// `6.25 (4.3 to 9.1)`.
    fn error(&self) -> String {
        let Interval { mean, low, high } = self.accuracy();
        format!("{:.2} ({:.1} to {:.1})", 100.0 * (1.0 - mean), 100.0 * (1.0 - high), 100.0 * (1.0 - low))
    }

    fn json(&self, name: &str, kind: &str) -> Value {
        let (accuracy, cost) = (self.accuracy(), self.evaluation.cost);
        let runs: BTreeMap<&String, f64> =
            self.by_run.iter().map(|(run, &(right, items))| (run, 1.0 - right as f64 / items as f64)).collect();
        json!({
            "name": name, "kind": kind, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
            "train_seconds": 0.0, "adapt_seconds": cost.adapt_seconds, "predict_seconds": cost.predict_seconds,
            "decisions": self.items(), "error_by_run": runs,
        })
    }
}

fn error_percent(right: usize, items: usize) -> String {
    format!("{:.1}", 100.0 * (items - right) as f64 / items as f64)
}
