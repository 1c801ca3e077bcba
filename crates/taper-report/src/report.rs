//! What a report says, as plain values that are saved with a run.

use crate::figures::{
    Accuracies, Calibration, Confusion, Costs, Differences, LabelCurves, Map, Table, Training, WorstErrors,
};
use serde::{Deserialize, Serialize};

/// Everything that a page shows.
///
/// ```
/// use taper_report::{Fact, Report, page};
///
/// let report = Report {
///     title: "Which kind of learning needs fewer labels?".into(),
///     verdict: "Neither kind of learning is shown to win.".into(),
///     facts: vec![Fact::new("Test tasks", "600")],
///     ..Report::default()
/// };
/// assert!(page(&report)?.contains("<dd>600</dd>"));
/// # Ok::<(), taper_report::ReportError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// What the page is about, in a few words.
    pub title: String,
    /// The command that made the run and what it worked on, such as `compare`, `trashnet`.
    pub context: Vec<String>,
    /// The result in words.
    pub verdict: String,
    /// The figures that a reader looks for first, and the setting.
    pub facts: Vec<Fact>,
    /// What the reader should know before trusting the figures.
    pub warnings: Vec<String>,
    /// Figures, in the order of the page.
    pub sections: Vec<Section>,
    /// What was learned from.
    pub learned_from: Vec<String>,
    /// What was left out, and why.
    pub left_out: Vec<Fact>,
    /// How to run it again.
    pub again: Again,
}

/// A name with its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value, formatted.
    pub value: String,
}

impl Fact {
    /// A name with its value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// How to run it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Again {
    /// The command.
    pub command: String,
    /// All options, as the run's configuration file has them.
    pub config: String,
    /// The program's version.
    pub version: String,
}

/// A figure with its title.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// What the figure shows, in a few words.
    pub title: String,
    /// How to read it, and what it is of.
    pub text: String,
    /// The figure.
    pub figure: Figure,
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "figure", rename_all = "kebab-case")]
pub enum Figure {
    /// Accuracies with their intervals.
    Accuracies(Accuracies),
    /// Differences between pairs of methods.
    Differences(Differences),
    /// Accuracy against time.
    Costs(Costs),
    /// Accuracy over the number of labels.
    LabelCurves(LabelCurves),
    /// Loss and validation score over the steps of training.
    Training(Training),
    /// Which classes are taken for which.
    Confusion(Confusion),
    /// The most confident errors.
    WorstErrors(WorstErrors),
    /// How often probabilities are right.
    Calibration(Calibration),
    /// Images by the similarity of their features.
    Map(Map),
    /// Other numbers.
    Table(Table),
}

/// A mean with the ends of its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// What a method has learned before it meets a task, which decides on its color and mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing: it compares pixels.
    Floor,
    /// Nothing: it trains a network on the task alone.
    Scratch,
    /// To classify other images.
    Transfer,
    /// To learn from few images.
    Meta,
}

impl Kind {
    /// All kinds, in the order of legends.
    pub(crate) const ALL: [Self; 4] = [Self::Transfer, Self::Meta, Self::Scratch, Self::Floor];

    /// What a reader calls it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Floor => "compares pixels",
            Self::Scratch => "from scratch",
            Self::Transfer => "transfer learning",
            Self::Meta => "meta-learning",
        }
    }

    /// Its mark and color in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Scratch => "scratch",
            Self::Transfer => "transfer",
            Self::Meta => "meta",
        }
    }
}
