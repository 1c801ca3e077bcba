//! The one evaluator.

use crate::{Adapt, Interval, LearnError, Result, accuracy, mean_interval};
use std::collections::BTreeMap;
use std::time::Instant;
use taper_data::Episode;
use taper_ops::{map_in_order, rng};

/// Seconds a task, each on one thread.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Cost {
    /// From support set to classifier.
    pub adapt_seconds: f64,
    /// To classify all queries.
    pub predict_seconds: f64,
}

/// How well a method does on many tasks.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Share of queries that is right, an episode.
    pub accuracies: Vec<f64>,
    /// Where each episode came from.
    pub sources: Vec<String>,
    /// Mean cost a task.
    pub cost: Cost,
}

impl Evaluation {
    /// Mean accuracy over episodes with its 95 % interval.
    pub fn accuracy(&self) -> Interval {
        mean_interval(&self.accuracies)
    }

    /// Evaluations of one method on several data sets as one; none of none.
    pub fn together(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(|mut all, part| {
            let (before, more) = (all.accuracies.len() as f64, part.accuracies.len() as f64);
            let mean = |a: f64, b: f64| (a * before + b * more) / (before + more).max(1.0);
            all.cost.adapt_seconds = mean(all.cost.adapt_seconds, part.cost.adapt_seconds);
            all.cost.predict_seconds = mean(all.cost.predict_seconds, part.cost.predict_seconds);
            all.accuracies.extend(part.accuracies);
            all.sources.extend(part.sources);
            all
        })
    }

    /// The same by source.
    pub fn by_source(&self) -> BTreeMap<&str, Interval> {
        let mut parts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (source, &accuracy) in self.sources.iter().zip(&self.accuracies) {
            parts.entry(source).or_default().push(accuracy);
        }
        parts.into_iter().map(|(source, values)| (source, mean_interval(&values))).collect()
    }
}

/// Scores `method` on episodes 0 to `episodes`, in parallel over episodes; `episode` makes the one
/// of a number. The same for any number of threads.
///
/// Errs when there is no episode, or making or adapting one fails.
pub fn evaluate(
    method: &dyn Adapt,
    episodes: u64,
    seed: u64,
    episode: impl Fn(u64) -> Result<Episode> + Sync,
) -> Result<Evaluation> {
    if episodes == 0 {
        return Err(LearnError::Invalid("0 episodes measure nothing, use --episodes 200".into()));
    }
    let numbers: Vec<u64> = (0..episodes).collect();
    let scored = map_in_order(&numbers, |_, &number| -> Result<(f64, String, Cost)> {
        use rand::Rng as _;
        let task = episode(number)?;
        let rng: u64 = rng(seed, "adapt", number).random();
        let start = Instant::now();
        let classifier = method.adapt(&task.support, rng)?;
        let adapt_seconds = start.elapsed().as_secs_f64();
        let logits = classifier.logits(&task.query.inputs)?;
        let predict_seconds = start.elapsed().as_secs_f64() - adapt_seconds;
        Ok((accuracy(&logits, &task.query.labels)?, task.source, Cost { adapt_seconds, predict_seconds }))
    });
    let mut evaluation = Evaluation { accuracies: Vec::new(), sources: Vec::new(), cost: Cost::default() };
    for result in scored {
        let (accuracy, source, cost) = result?;
        evaluation.accuracies.push(accuracy);
        evaluation.sources.push(source);
        evaluation.cost.adapt_seconds += cost.adapt_seconds / episodes as f64;
        evaluation.cost.predict_seconds += cost.predict_seconds / episodes as f64;
    }
    Ok(evaluation)
}
