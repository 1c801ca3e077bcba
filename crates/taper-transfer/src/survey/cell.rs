//! The cells of a survey, each written to the run as soon as it is known.

use crate::Result;
use crate::run_list::RunList;
use serde::{Deserialize, Serialize};
use taper_learn::statistics::{paired_difference, wilson_interval};
use taper_learn::{Event, Flow, Interval, LearnError, Observer, RunDirectory};

/// The score of one method with one number of labels on one problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The data set's name in the survey.
    pub data: String,
    /// The network's name in the survey.
    pub network: String,
    /// Labeled images per class, or `all`.
    pub labels: String,
    /// The head, or what was fine-tuned.
    pub method: String,
    /// Fingerprint of the problem's images, labels, preprocessing and weights, which distinguishes different files
    /// of equal names.
    #[serde(default)]
    pub key: String,
    /// How many draws of the labels the figures are means of.
    #[serde(default = "one")]
    pub draws: usize,
    /// Share of the validation images that are classified correctly.
    pub accuracy: f64,
    /// Lower end of its 95% interval, over images and, with several draws, over draws of the labels.
    pub low: f64,
    /// Upper end of its 95% interval.
    pub high: f64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds to classify one image from cached features or activations.
    pub predict_seconds: f64,
}

fn one() -> usize {
    1
}

/// The position of a cell in the survey.
pub(super) struct Place {
    pub(super) data: String,
    pub(super) network: String,
    pub(super) key: String,
    pub(super) labels: String,
    pub(super) method: String,
}

impl Place {
    fn is_of(&self, cell: &Cell) -> bool {
        self.key == cell.key && self.labels == cell.labels && self.method == cell.method
    }
}

/// A candidate's score with one draw of the labels.
pub(super) struct CellScore {
    /// Validation images that are classified correctly.
    pub(super) right: usize,
    /// Validation images.
    pub(super) of: usize,
    pub(super) train_seconds: f64,
    pub(super) predict_seconds: f64,
}

/// The cells that are known.
pub(super) struct Cells<'a> {
    filled: RunList<Cell>,
    /// The places of the survey so far, each once: a cell's number is its position here.
    places: Vec<[String; 3]>,
    /// Which cells are filled here, by their numbers.
    mine: &'a dyn Fn(usize) -> bool,
}

impl<'a> Cells<'a> {
    /// The cells that earlier sessions of the run filled.
    pub(super) fn open(run: Option<&RunDirectory>, mine: &'a dyn Fn(usize) -> bool) -> Result<Self> {
        Ok(Self { filled: RunList::open(run, "cells.json")?, places: Vec::new(), mine })
    }

    /// All cells, in the order in which they were filled.
    pub(super) fn into_cells(self) -> Vec<Cell> {
        self.filled.into_entries()
    }

    /// Fills a cell with what `score` returns, unless it is known or belongs to another part. Fails if the observer asks to stop.
    pub(super) fn fill(
        &mut self,
        place: Place,
        observer: &mut dyn Observer,
        score: impl FnOnce() -> Result<Vec<CellScore>>,
    ) -> Result<()> {
        let own = [&place.key, &place.labels, &place.method].map(String::clone);
        if self.places.contains(&own) {
            return Ok(());
        }
        let number = self.places.len();
        self.places.push(own);
        if !(self.mine)(number) || self.filled.iter().any(|cell| place.is_of(cell)) {
            return Ok(());
        }
        let scores = score()?;
        let draws = scores.len();
        let mean = |of: fn(&CellScore) -> f64| scores.iter().map(of).sum::<f64>() / draws as f64;
        let train_seconds = mean(|score| score.train_seconds);
        let predict_seconds = mean(|score| score.predict_seconds);
        let Interval { mean: accuracy, low, high } = accuracy(&scores);
        let Place { data, network, key, labels, method } = place;
        let line = format!("{data}, {network}, {labels}, {method}: {:.1}%", accuracy * 100.0);
        let figures =
            Cell { data, network, labels, method, key, draws, accuracy, low, high, train_seconds, predict_seconds };
        self.filled.push(figures)?;
        match observer.on(Event::Note(line))? {
            Flow::Stop => Err(LearnError::Stopped { at: format!("{} cells", self.filled.len()) }.into()),
            Flow::Continue => Ok(()),
        }
    }
}

/// The mean accuracy of draws that were scored on the same images, with an interval over images, by Wilson's formula, and
/// over draws.
fn accuracy(scores: &[CellScore]) -> Interval {
    let images = scores.first().map_or(0, |score| score.of);
    let right: usize = scores.iter().map(|score| score.right).sum();
    let draws = scores.len().max(1);
    let pooled = wilson_interval(right, images * draws);
    // the images are the same in every draw, so they count once
    let of_images = wilson_interval((right + draws / 2) / draws, images);
    let shares: Vec<f64> = scores.iter().map(|score| score.right as f64 / score.of.max(1) as f64).collect();
    // of differences from the mean, since an interval of accuracies ends at 0 and 1
    let of_draws = if draws > 1 { paired_difference(&shares, &vec![pooled.mean; draws]).margin() } else { 0.0 };
    let around = |margin: f64| margin.hypot(of_draws);
    let mean = pooled.mean;
    let low = (mean - around(of_images.mean - of_images.low)).max(0.0);
    Interval { mean, low, high: (mean + around(of_images.high - of_images.mean)).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(right: &[usize]) -> Interval {
        let score = |&right| CellScore { right, of: 100, train_seconds: 0.0, predict_seconds: 0.0 };
        accuracy(&right.iter().map(score).collect::<Vec<_>>())
    }

    #[test]
    fn several_draws_have_their_mean_and_an_interval_that_covers_other_images_and_draws() {
        let (one, equal, apart) = (of(&[80]), of(&[80, 80, 80]), of(&[70, 80, 90]));
        assert_eq!(one, wilson_interval(80, 100));
        for (a, b) in [(one.low, equal.low), (one.high, equal.high), (equal.mean, apart.mean)] {
            assert!((a - b).abs() < 1e-12, "{one:?} {equal:?} {apart:?}");
        }
        // three draws 10 points apart: 4.30 standard errors of 5.8 points
        let margin = (0.8 - equal.low).hypot(4.303 * 0.1 / 3f64.sqrt());
        assert!((0.8 - apart.low - margin).abs() < 1e-3, "{apart:?}");
        assert!(apart.high <= 1.0 && apart.high > equal.high);
    }
}
