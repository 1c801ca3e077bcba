//! Lake's Omniglot challenge: 20-way one-shot runs, each item classified by itself.

use crate::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::{EpisodeIndices, Inputs, LakeRuns, View};
use taper_learn::heads::{Hausdorff, NearestNeighbor};
use taper_learn::{Adapt, Evaluation, Interval, evaluate, statistics::wilson_interval};

/// How a method does on the challenge's runs.
#[derive(Debug, Clone)]
pub struct LakeScore {
    /// Correct answers and items of each run.
    pub by_run: BTreeMap<String, (usize, usize)>,
    /// Accuracies and costs per task.
    pub evaluation: Evaluation,
}

impl LakeScore {
    /// Scores a method; one that is transductive gets each item as a task of its own.
    ///
    /// # Errors
    /// Returns an error if an image can't be read or adapting fails.
    pub fn of(method: &dyn Adapt, runs: &LakeRuns, inputs: &dyn Inputs, seed: u64) -> Result<Self> {
        let tasks: Vec<EpisodeIndices> = (0..runs.runs())
            .flat_map(|run| {
                let task = runs.task(run);
                if method.transductive() { task.each_query() } else { vec![task.clone()] }
            })
            .collect();
        let evaluation = evaluate(method, tasks.len() as u64, seed, |n| Ok(inputs.episode(&tasks[n as usize], None)?))?;
        let mut by_run: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for (task, accuracy) in tasks.iter().zip(&evaluation.accuracies) {
            let (correct, items) = by_run.entry(task.source.clone()).or_default();
            *correct += (accuracy * task.query.len() as f64).round() as usize;
            *items += task.query.len();
        }
        Ok(Self { by_run, evaluation })
    }

    /// Number of decisions.
    pub fn items(&self) -> usize {
        self.by_run.values().map(|(_, items)| items).sum()
    }

    /// Share of correct decisions, with Wilson's interval.
    pub fn accuracy(&self) -> Interval {
        wilson_interval(self.by_run.values().map(|(correct, _)| correct).sum(), self.items())
    }
}

/// The methods that need no learning, with how each sees a drawing: all of its ink, blurred by
/// scaling down for the first.
const FLOORS: [(&str, &str, &dyn Adapt); 2] = [
    ("nearest-blurred-pixels", "gray invert center(mass) resize(15x15)", &NearestNeighbor),
    ("modified-hausdorff", "gray invert", &Hausdorff),
];

/// Scores of the methods that need no learning, by name.
///
/// # Errors
/// Returns an error if an image can't be read.
pub fn lake_floors(runs: &Arc<LakeRuns>, seed: u64) -> Result<Vec<(&'static str, LakeScore)>> {
    let score = |(name, transform, floor): (&'static str, &str, &dyn Adapt)| {
        let view = View::new(runs.clone(), transform.parse()?)?;
        Ok((name, LakeScore::of(floor, runs, &view, seed)?))
    };
    FLOORS.into_iter().map(score).collect()
}
