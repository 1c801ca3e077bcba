//! A candidate's score on folds of the training images.

use serde::{Deserialize, Serialize};
use std::time::Instant;
use taper_learn::{
    Interval,
    evaluation::Right,
    statistics::{repeated_folds_interval, wilson_interval},
};

/// A candidate's score on folds of the training images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CandidateScore {
    pub(crate) name: String,
    /// Correct predictions on each held-out fold, one repetition after the other.
    pub(crate) folds: Vec<Right>,
    #[serde(rename = "ways_of_folding")]
    pub(crate) folds_per_repetition: usize,
    pub(crate) seconds: f64,
    /// The temperature that suits the logits of the held-out images; `None` if it is fitted when the classifier is kept.
    #[serde(default)]
    pub(crate) temperature: Option<f64>,
}

impl CandidateScore {
    /// These folds of a candidate that has been scored since `start`.
    pub(crate) fn new(name: &str, folds: Vec<Right>, folds_per_repetition: usize, start: Instant) -> Self {
        let seconds = start.elapsed().as_secs_f64();
        Self { name: name.to_string(), folds, folds_per_repetition, seconds, temperature: None }
    }

    /// Accuracy over the folds that were scored.
    pub(crate) fn interval(&self) -> Interval {
        /// With fewer folds, whose spread says little, Wilson's interval over the images is used.
        const SPREAD_FROM: usize = 4;
        if self.folds.len() < SPREAD_FROM {
            let total = |part: fn(&Right) -> usize| self.folds.iter().map(part).sum();
            return wilson_interval(total(|fold| fold.right), total(|fold| fold.of));
        }
        let shares: Vec<f64> = self.folds.iter().map(|fold| fold.share()).collect();
        repeated_folds_interval(&shares, self.folds_per_repetition)
    }

    /// Images that were classified.
    pub(crate) fn decisions(&self) -> usize {
        self.folds.iter().map(|fold| fold.of).sum()
    }

    /// Whether it is better than `other` on the folds that both were scored on.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        let shared = self.folds.len().min(other.folds.len());
        let right = |score: &Self| score.folds[..shared].iter().map(|fold| fold.right).sum::<usize>();
        right(self) > right(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(right: &[usize]) -> CandidateScore {
        let folds = right.iter().map(|&right| Right { right, of: 20 }).collect();
        CandidateScore { name: String::new(), folds, folds_per_repetition: 5, seconds: 0.0, temperature: None }
    }

    #[test]
    fn candidates_are_compared_on_the_folds_that_both_were_scored_on() {
        let (whole, early) = (score(&[15, 15, 5, 5, 5]), score(&[16, 15]));
        assert!(early.beats(&whole) && !whole.beats(&early));
        assert!(!score(&[14, 16]).beats(&whole), "of equal ones neither is better");
    }

    #[test]
    fn few_folds_have_the_interval_of_their_images() {
        let interval = score(&[15, 17]).interval();
        assert_eq!((interval.mean, interval.low), (0.8, wilson_interval(32, 40).low));
    }
}
