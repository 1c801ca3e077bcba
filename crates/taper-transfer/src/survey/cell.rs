//! The cells of a survey, each written to the run as soon as it is known.

use crate::Result;
use crate::run_list::RunList;
use serde::{Deserialize, Serialize};
use taper_learn::{Event, Flow, Interval, LearnError, Observer, RunDirectory, evaluation::Confusion};

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
    /// Share of the validation images that are classified correctly.
    pub accuracy: f64,
    /// Lower end of its 95% interval.
    pub low: f64,
    /// Upper end of its 95% interval.
    pub high: f64,
    /// Seconds of training.
    pub train_seconds: f64,
    /// Seconds to classify one image from cached features or activations.
    pub predict_seconds: f64,
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

/// A candidate's score in a cell.
pub(super) struct CellScore {
    pub(super) confusion: Confusion,
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
        score: impl FnOnce() -> Result<CellScore>,
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
        let CellScore { confusion, train_seconds, predict_seconds } = score()?;
        let Interval { mean: accuracy, low, high } = confusion.accuracy();
        let Place { data, network, key, labels, method } = place;
        let line = format!("{data}, {network}, {labels}, {method}: {:.1}%", accuracy * 100.0);
        let cell = Cell { data, network, labels, method, key, accuracy, low, high, train_seconds, predict_seconds };
        self.filled.push(cell)?;
        match observer.on(Event::Note(line))? {
            Flow::Stop => Err(LearnError::Stopped { at: format!("{} cells", self.filled.len()) }.into()),
            Flow::Continue => Ok(()),
        }
    }
}
