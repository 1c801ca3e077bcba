//! The cells of a survey, each written to the run as soon as it is known.

use crate::{Result, TransferError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use taper_learn::{Confusion, Event, Flow, Interval, LearnError, Observer, RunDirectory, write_atomically};

/// The score of one method with one number of labels on one problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The data set, as the survey calls it.
    pub data: String,
    /// The network, as the survey calls it.
    pub network: String,
    /// Labeled images per class, or `all`.
    pub labels: String,
    /// The head, or what was fine-tuned.
    pub method: String,
    /// Fingerprint of the problem's images, labels, preprocessing and weights: equal names of different files
    /// are told apart by it.
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
    /// Seconds to classify one image from what is cached.
    pub predict_seconds: f64,
}

/// Where a cell is in the survey.
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

/// What a candidate scored in a cell.
pub(super) struct CellScore {
    pub(super) confusion: Confusion,
    pub(super) train_seconds: f64,
    pub(super) predict_seconds: f64,
}

/// The cells that are known.
pub(super) struct Cells {
    file: Option<PathBuf>,
    cells: Vec<Cell>,
}

impl Cells {
    /// The cells that earlier sessions of the run filled.
    pub(super) fn open(run: Option<&RunDirectory>) -> Result<Self> {
        let file = run.map(|run| run.file("cells.json")).transpose()?;
        let cells = match file.clone().filter(|file| file.exists()) {
            Some(path) => {
                let failed = |source| LearnError::File { path: path.clone(), source };
                let text = std::fs::read_to_string(&path).map_err(failed)?;
                serde_json::from_str(&text)
                    .map_err(|error| TransferError::DamagedFile { path: path.clone(), problem: error.to_string() })?
            }
            None => Vec::new(),
        };
        Ok(Self { file, cells })
    }

    /// All cells, in the order in which they were filled.
    pub(super) fn into_cells(self) -> Vec<Cell> {
        self.cells
    }

    /// Fills a cell with what `score` returns, unless it is known. Fails if the observer asks to stop.
    pub(super) fn fill(
        &mut self,
        place: Place,
        observer: &mut dyn Observer,
        score: impl FnOnce() -> Result<CellScore>,
    ) -> Result<()> {
        if self.cells.iter().any(|cell| place.is_of(cell)) {
            return Ok(());
        }
        let CellScore { confusion, train_seconds, predict_seconds } = score()?;
        let Interval { mean: accuracy, low, high } = confusion.accuracy();
        let Place { data, network, key, labels, method } = place;
        let line = format!("{data}, {network}, {labels}, {method}: {:.1} %", accuracy * 100.0);
        let cell = Cell { data, network, labels, method, key, accuracy, low, high, train_seconds, predict_seconds };
        self.cells.push(cell);
        if let Some(file) = &self.file {
            let text = serde_json::to_vec(&self.cells).map_err(|error| LearnError::Invalid(error.to_string()))?;
            write_atomically(file, &text)?;
        }
        match observer.on(Event::Note(line))? {
            Flow::Stop => Err(LearnError::Stopped { at: format!("{} cells", self.cells.len()) }.into()),
            Flow::Continue => Ok(()),
        }
    }
}
