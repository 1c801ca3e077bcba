//! The survey's table: each cell is written down as soon as it is known.

use crate::output::{Output, Stopped, interrupted};
use crate::table::{duration, table};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use taper_learn::{Confusion, RunDirectory, write_atomically};

/// One figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) data: String,
    pub(super) network: String,
    /// A class.
    pub(super) labels: String,
    pub(super) method: String,
    pub(super) accuracy: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) train_seconds: f64,
    pub(super) predict_seconds: f64,
}

impl Cell {
    /// An empty one.
    pub(super) fn new(data: &str, network: &str, labels: &str, method: &str) -> Self {
        let [data, network, labels, method] = [data, network, labels, method].map(String::from);
        let (accuracy, low, high, train_seconds, predict_seconds) = Default::default();
        Self { data, network, labels, method, accuracy, low, high, train_seconds, predict_seconds }
    }

    fn place(&self) -> [&str; 4] {
        [&self.data, &self.network, &self.labels, &self.method]
    }
}

/// All that are known.
pub(super) struct Cells {
    file: Option<PathBuf>,
    cells: Vec<Cell>,
}

impl Cells {
    /// Those that an earlier session of the run left.
    pub(super) fn open(run: Option<&RunDirectory>) -> Result<Self> {
        let file = run.map(|run| run.path().join("cells.json"));
        let cells = match file.as_ref().filter(|file| file.exists()) {
            Some(file) => {
                let about = || file.display().to_string();
                serde_json::from_str(&std::fs::read_to_string(file).with_context(about)?)
                    .with_context(|| format!("{}: is broken, start again with --force", about()))?
            }
            None => Vec::new(),
        };
        Ok(Self { file, cells })
    }

    pub(super) fn all(&self) -> &[Cell] {
        &self.cells
    }

    /// Fills a cell by `score`, unless it is known.
    ///
    /// Errs when the user stopped the run.
    pub(super) fn fill(
        &mut self,
        cell: Cell,
        output: &Output,
        score: impl FnOnce() -> Result<(Confusion, f64, f64)>,
    ) -> Result<()> {
        if self.cells.iter().any(|known| known.place() == cell.place()) {
            return Ok(());
        }
        if interrupted() {
            let hint = if self.file.is_some() { "go on with --resume" } else { "use --out next time" };
            return Err(Stopped(format!("stopped after {} cells, {hint}", self.cells.len())).into());
        }
        let (confusion, train_seconds, predict_seconds) = score()?;
        let interval = confusion.accuracy();
        let (accuracy, low, high) = (interval.mean, interval.low, interval.high);
        output.note(format!("{}: {:.1} %", cell.place().join(", "), accuracy * 100.0));
        self.cells.push(Cell { accuracy, low, high, train_seconds, predict_seconds, ..cell });
        if let Some(file) = &self.file {
            write_atomically(file, &serde_json::to_vec(&self.cells)?)?;
        }
        Ok(())
    }

    /// A row a method, a column a number of labels, for each data set and network.
    pub(super) fn tell(&self, output: &Output) {
        let unique = |part: fn(&Cell) -> &String, among: &[&Cell]| {
            let mut found: Vec<String> = Vec::new();
            among.iter().for_each(|cell| {
                if !found.contains(part(cell)) {
                    found.push(part(cell).clone());
                }
            });
            found
        };
        let all: Vec<&Cell> = self.cells.iter().collect();
        for data in unique(|cell| &cell.data, &all) {
            let of_data: Vec<&Cell> = all.iter().copied().filter(|cell| cell.data == data).collect();
            for network in unique(|cell| &cell.network, &of_data) {
                let cells: Vec<&Cell> = of_data.iter().copied().filter(|cell| cell.network == network).collect();
                let labels = unique(|cell| &cell.labels, &cells);
                let figure = |method: &str, labels: &str| {
                    let found = cells.iter().find(|cell| cell.method == method && cell.labels == labels);
                    found.map_or(String::new(), |cell| {
                        let [mean, low, high] = [cell.accuracy, cell.low, cell.high].map(|share| share * 100.0);
                        format!("{mean:.1} ({low:.1} to {high:.1})")
                    })
                };
                let rows: Vec<Vec<String>> = unique(|cell| &cell.method, &cells)
                    .iter()
                    .map(|method| {
                        let last = cells.iter().rfind(|cell| cell.method == *method);
                        let times = last.map_or([0.0; 2], |cell| [cell.train_seconds, cell.predict_seconds]);
                        let figures = labels.iter().map(|labels| figure(method, labels));
                        [method.clone()].into_iter().chain(figures).chain(times.map(duration)).collect()
                    })
                    .collect();
                let header: Vec<String> = [format!("{data}, {network}")]
                    .into_iter()
                    .chain(labels.iter().map(|labels| format!("{labels} a class, %")))
                    .chain(["training".into(), "an image".into()])
                    .collect();
                let header: Vec<&str> = header.iter().map(String::as_str).collect();
                output.line(format!("\n{}", table(&header, &rows)));
            }
        }
    }
}
