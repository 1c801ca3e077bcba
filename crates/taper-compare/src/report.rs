//! What a comparison found, as a value: everything that a table, a JSON result or a page needs.

use crate::{Comparison, Start, Verdict};
use serde::{Deserialize, Serialize};
use taper_data::Scope;
use taper_learn::{Interval, Model, evaluation::Cost, methods::Kind};

/// What a comparison found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was asked.
    pub comparison: Comparison,
    /// What was trained on, chosen on and tested on.
    pub data: DataSummary,
    /// One entry per method, in the order of tables.
    pub methods: Vec<MethodReport>,
    /// What the comparison shows, as claims and in words.
    pub verdict: Verdict,
    /// Name of the method that does best on validation tasks, of those that can be kept.
    pub chosen: Option<String>,
    /// What the user should know, such as methods that were left out.
    pub warnings: Vec<String>,
    /// The chosen method, ready to adapt to new classes.
    #[serde(skip)]
    pub model: Option<Model>,
}

/// What was trained on, chosen on and tested on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    /// The data set whose classes are tested on.
    pub tested_on: String,
    /// The data set that methods were trained on.
    pub trained_on: String,
    /// Classes that methods were trained on.
    pub training_classes: usize,
    /// Classes that choices were made on.
    pub validation_classes: usize,
    /// Classes that were tested on.
    pub test_classes: usize,
    /// Where the classes of a test task come from.
    pub scope: Scope,
    /// Width of the images that networks see, in pixels.
    pub image_width: usize,
}

/// How one method did.
#[derive(Debug, Serialize)]
pub struct MethodReport {
    /// What tables call it.
    pub name: String,
    /// What it has learned before it meets a task.
    pub kind: Kind,
    /// What it had learned from before this comparison.
    pub start: Start,
    /// What it was trained on, in words.
    pub trained_on: String,
    /// Whether its predictions depend on the other queries.
    pub transductive: bool,
    /// Accuracy on test tasks.
    pub accuracy: Interval,
    /// Difference from the best method on the same test tasks.
    pub from_best: Interval,
    /// Accuracy on validation tasks.
    pub validation: Interval,
    /// Seconds of training, mean over training runs.
    pub train_seconds: f64,
    /// Mean seconds per test task.
    pub cost: Cost,
    /// Test tasks on which its inner loop diverged, which count as guesses.
    pub diverged: usize,
    /// Accuracy on each test task, for each training run.
    pub task_accuracies: Vec<Vec<f64>>,
}

impl Report {
    /// The most accurate method on test tasks, or the first of several that are equally accurate; `None` if there is no method.
    pub fn most_accurate(&self) -> Option<&MethodReport> {
        self.methods.iter().rev().max_by(|a, b| a.accuracy.mean.total_cmp(&b.accuracy.mean))
    }
}

impl MethodReport {
    /// Its name, and whether its predictions depend on the other queries.
    pub fn title(&self) -> String {
        format!("{}{}", self.name, if self.transductive { " (transductive)" } else { "" })
    }

    /// What the report repeats about the method, if anything.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self { name, diverged, .. } = self;
        (*diverged > 0).then(|| format!("{name} diverged on {diverged} test task(s), which count as guesses"))
    }
}
