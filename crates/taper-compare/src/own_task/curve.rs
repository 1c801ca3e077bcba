//! Accuracy over the number of labels.

use super::draws::Count;
use crate::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taper_learn::Interval;
use taper_learn::statistics::{Estimate, ScoredTask, accuracy_estimate, weighted_estimate};
use taper_transfer::LabelCount;

/// Accuracy after learning from so many labels per class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The number of labels that was asked for.
    pub labels: LabelCount,
    /// Labels per class, the mean over classes.
    pub per_class: f64,
    /// Accuracy on images of these classes, with an interval that allows for new images and new labels.
    pub accuracy: Interval,
    /// Draws of labels.
    pub draws: usize,
    /// Seconds of learning from the labels, mean over draws.
    pub adapt_seconds: f64,
    /// Seconds of classifying an image.
    pub predict_seconds: f64,
}

/// Answers of one method at several numbers of labels, each by draw.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    /// Ascending in labels.
    pub(super) points: Vec<(Count, BTreeMap<u64, ScoredTask>)>,
}

impl Series {
    /// Accuracy at each number of labels.
    pub(super) fn estimates(&self) -> Result<Vec<(Count, Estimate)>> {
        let estimate = |(count, tasks): &(Count, BTreeMap<u64, ScoredTask>)| {
            let tasks: Vec<ScoredTask> = tasks.values().cloned().collect();
            Ok((*count, accuracy_estimate(&[&tasks])?))
        };
        self.points.iter().filter(|(_, tasks)| !tasks.is_empty()).map(estimate).collect()
    }

    /// The most labels with answers, of all classes together.
    pub(super) fn reach(&self) -> usize {
        let answered = self.points.iter().filter(|(_, tasks)| !tasks.is_empty());
        answered.map(|(count, _)| count.images).max().unwrap_or(0)
    }

    fn at(&self, labels: LabelCount) -> Option<&BTreeMap<u64, ScoredTask>> {
        let found = self.points.iter().find(|(count, _)| count.labels == labels);
        found.map(|(_, tasks)| tasks).filter(|tasks| !tasks.is_empty())
    }

    /// The numbers of labels at which both have answers.
    pub(super) fn shared(&self, other: &Self) -> Vec<Count> {
        let both = |labels| self.at(labels).is_some() && other.at(labels).is_some();
        self.points.iter().map(|(count, _)| *count).filter(|count| both(count.labels)).collect()
    }

    /// The accuracy of `a` less that of `b`, a weighted mean over numbers of labels, on the draws that all
    /// have in common. Answers of a single draw go with every draw: all labels there are make no others.
    pub(super) fn difference(a: &Self, b: &Self, weights: &[(LabelCount, f64)]) -> Result<Option<Estimate>> {
        let mut parts: Vec<(f64, &BTreeMap<u64, ScoredTask>)> = Vec::new();
        for &(labels, weight) in weights {
            let (Some(first), Some(second)) = (a.at(labels), b.at(labels)) else { return Ok(None) };
            parts.extend([(weight, first), (-weight, second)]);
        }
        let Some((_, longest)) = parts.iter().max_by_key(|(_, tasks)| tasks.len()) else { return Ok(None) };
        let of_draw = |tasks: &'_ BTreeMap<u64, ScoredTask>, draw: u64| -> Option<ScoredTask> {
            if tasks.len() == 1 { tasks.values().next().cloned() } else { tasks.get(&draw).cloned() }
        };
        let mut aligned: Vec<Vec<ScoredTask>> = vec![Vec::new(); parts.len()];
        for &draw in longest.keys() {
            let row: Option<Vec<ScoredTask>> = parts.iter().map(|(_, tasks)| of_draw(tasks, draw)).collect();
            let Some(row) = row.filter(|row| row.iter().all(|task| task.asks_the_same(&row[0]))) else { continue };
            aligned.iter_mut().zip(row).for_each(|(tasks, task)| tasks.push(task));
        }
        if aligned.first().is_none_or(Vec::is_empty) {
            return Ok(None);
        }
        let weighted: Vec<(f64, &[ScoredTask])> =
            parts.iter().zip(&aligned).map(|((weight, _), tasks)| (*weight, tasks.as_slice())).collect();
        Ok(Some(weighted_estimate(&weighted)?))
    }
}
