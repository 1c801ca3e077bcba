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
    /// For each of these folds, whether its images, in their order, were classified correctly.
    #[serde(default, with = "digits")]
    pub(crate) hits: Vec<Vec<bool>>,
    #[serde(rename = "ways_of_folding")]
    pub(crate) folds_per_repetition: usize,
    pub(crate) seconds: f64,
    /// The temperature that suits the logits of the held-out images; `None` if it is fitted when the classifier is kept.
    #[serde(default)]
    pub(crate) temperature: Option<f64>,
    /// Why it can't be kept, although it was scored; `None` if it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<String>,
}

/// Each fold as a text of digits, 1 for an image that was classified correctly.
mod digits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(hits: &[Vec<bool>], to: S) -> Result<S::Ok, S::Error> {
        let digits = |fold: &Vec<bool>| fold.iter().map(|&hit| if hit { '1' } else { '0' }).collect::<String>();
        hits.iter().map(digits).collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Vec<bool>>, D::Error> {
        let folds = Vec::<String>::deserialize(from)?;
        Ok(folds.iter().map(|fold| fold.chars().map(|digit| digit == '1').collect()).collect())
    }
}

impl CandidateScore {
    /// About how many seconds it takes to make a classifier of this head: it learns from all images, and for its
    /// calibration from the other folds of each and from halves.
    pub(crate) fn seconds_to_close(&self) -> f64 {
        let times = 1 + self.folds_per_repetition + 2;
        times as f64 * self.seconds_of_a_fold()
    }

    /// About how many seconds it takes to fine-tune on all images, of which a fold leaves some out, with a margin.
    pub(crate) fn seconds_to_fine_tune(&self) -> f64 {
        const MARGIN: f64 = 1.1;
        MARGIN * self.seconds_of_a_fold() / (1.0 - 1.0 / self.folds_per_repetition as f64)
    }

    /// The seconds that must be left for fine-tuning on one more fold and then on all images, if both turn out slower than
    /// so far.
    pub(crate) fn seconds_for_one_more(&self) -> f64 {
        const SLOWER: f64 = 1.25;
        SLOWER * (self.seconds_of_a_fold() + self.seconds_to_fine_tune())
    }

    fn seconds_of_a_fold(&self) -> f64 {
        self.seconds / self.folds.len().max(1) as f64
    }

    /// These folds of a candidate that has been scored since `start`: whether the images of each were classified
    /// correctly.
    pub(crate) fn new(name: &str, hits: Vec<Vec<bool>>, folds_per_repetition: usize, start: Instant) -> Self {
        Self {
            name: name.to_string(),
            folds: hits.iter().map(|hits| Right::of(hits)).collect(),
            hits,
            folds_per_repetition,
            seconds: start.elapsed().as_secs_f64(),
            temperature: None,
            left_out: None,
        }
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

    /// How many more predictions are right than `other`'s on the folds that both were scored on, and the standard error
    /// of that if neither were better: repetitions classify the same images again.
    pub(crate) fn lead(&self, other: &Self) -> (f64, f64) {
        let shared = self.folds.len().min(other.folds.len());
        let right = |score: &Self| score.folds[..shared].iter().map(|fold| fold.right).sum::<usize>() as f64;
        let pairs = self.hits.iter().zip(&other.hits).take(shared);
        let differ = pairs.flat_map(|(own, others)| own.iter().zip(others)).filter(|(own, other)| own != other).count();
        let repetitions = shared.div_ceil(self.folds_per_repetition.max(1));
        (right(self) - right(other), ((differ * repetitions) as f64).sqrt())
    }

    /// Whether it is better than `other` on the folds that both were scored on.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        self.lead(other).0 > 0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(right: &[usize]) -> CandidateScore {
        let hits = right.iter().map(|&right| (0..20).map(|image| image < right).collect()).collect();
        CandidateScore::new("", hits, 5, Instant::now())
    }

    #[test]
    fn candidates_are_compared_on_the_folds_that_both_were_scored_on() {
        let (whole, early) = (score(&[15, 15, 5, 5, 5]), score(&[16, 15]));
        assert!(early.beats(&whole) && !whole.beats(&early));
        assert!(!score(&[14, 16]).beats(&whole), "of equal ones neither is better");
    }

    #[test]
    fn the_error_of_a_lead_counts_images_that_are_classified_differently_and_repetitions_once() {
        let (one, other) = (score(&[15, 17]), score(&[12, 18]));
        assert_eq!(one.lead(&other), (2.0, 2.0));
        let twice = |right: &[usize]| {
            let filled: Vec<usize> = right.iter().copied().chain([10; 3]).collect();
            score(&[filled.clone(), filled].concat())
        };
        assert_eq!(twice(&[15, 17]).lead(&twice(&[12, 18])), (4.0, 4.0));
    }

    #[test]
    fn after_a_fold_a_quarter_slower_there_is_still_time_to_train_on_all_images() {
        let tenths = |folds: usize, seconds| CandidateScore { seconds, ..score(&vec![15; folds]) };
        let (first, second) = (tenths(1, 10.0), tenths(2, 10.0 + 12.5));
        assert!(first.seconds_for_one_more() - 12.5 >= second.seconds_to_fine_tune());
        assert!(first.seconds_to_fine_tune() > 10.0 / 0.8);
    }

    #[test]
    fn few_folds_have_the_interval_of_their_images() {
        let interval = score(&[15, 17]).interval();
        assert_eq!((interval.mean, interval.low), (0.8, wilson_interval(32, 40).low));
    }
}
