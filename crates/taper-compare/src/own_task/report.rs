//! What a comparison on a data set's own classes found, as a value.

use super::crossing::Crossing;
use super::curve::{CurvePoint, Series};
use super::draws::{Count, Draws};
use super::forecast::Forecast;
use super::options::OwnTask;
use super::row::{Approach, LabelStart, LeftOut, Row};
use super::scores::{Answers, Scores};
use crate::{Claim, Result};
use serde::Serialize;
use taper_learn::{Interval, Model, evaluation, methods::Kind};

/// What a comparison on a data set's own classes found.
#[derive(Debug, Serialize)]
pub struct OwnTaskReport {
    /// What was asked.
    pub comparison: OwnTask,
    /// What was learned from and scored.
    pub data: OwnTaskSummary,
    /// One entry per method, in the order of tables.
    pub methods: Vec<Curve>,
    /// Methods that were not scored, and why.
    pub left_out: Vec<LeftOut>,
    /// Where the curves of the best method of each approach cross.
    pub crossings: Vec<Crossing>,
    /// What more labels would give the chosen method.
    pub forecasts: Vec<Forecast>,
    /// What is shown about the best method of each approach.
    pub claims: Vec<Claim>,
    /// The verdict in words.
    pub words: String,
    /// The method that does best where choices are made.
    pub chosen: Option<Chosen>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The chosen method, trained on all images that may be labeled.
    #[serde(skip)]
    pub model: Option<Model>,
    /// What the chosen method answered about images that it did not learn from; `None` without a chosen method.
    #[serde(skip)]
    pub answers: Option<KeptAnswers>,
}

impl OwnTaskReport {
    /// The forecasts that say something: of an accuracy that differs from today's, within an interval that is not very
    /// wide.
    pub fn useful_forecasts(&self) -> Vec<Forecast> {
        super::words::useful(&self.forecasts, self.chosen.as_ref())
    }
}

/// What the chosen method answered about images that it did not learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptAnswers {
    /// The answers; a label is a place among `classes`.
    pub answers: evaluation::Answers,
    /// Full names of the classes.
    pub classes: Vec<String>,
    /// Whether the images are those that the data set's owner set aside, and the answers those of the classifier
    /// that is kept; otherwise they are those of classifiers that learned from the other folds.
    pub held_out: bool,
}

/// What was learned from and scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OwnTaskSummary {
    /// The data set.
    pub name: String,
    /// Classes to tell apart.
    pub classes: usize,
    /// Images that may be labeled.
    pub images: usize,
    /// Images that are only scored, since the data set's owner set them aside.
    pub held_out: usize,
    /// The pretrained weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// What was meta-trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_data: Option<MetaSummary>,
    /// Seconds that were allowed.
    pub budget: f64,
}

/// What was meta-trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetaSummary {
    /// The data set.
    pub name: String,
    /// Its classes that were used.
    pub classes: usize,
    /// Its images that were used.
    pub images: usize,
    /// Images left out because the data set compared on holds them too.
    pub shared: usize,
}

/// How one method does over the number of labels.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// What tables call it.
    pub name: String,
    /// Its kind of learning.
    pub kind: Kind,
    /// What it does with the weights.
    pub approach: Approach,
    /// What it has learned from before.
    pub start: LabelStart,
    /// What it was trained on before, in words.
    pub trained_on: String,
    /// Seconds of that training.
    pub train_seconds: f64,
    /// Accuracy at each number of labels, ascending.
    pub points: Vec<CurvePoint>,
    /// Why larger numbers of labels are left out, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Answers that no choice depends on.
    #[serde(skip)]
    pub(super) measured: Series,
    /// Answers that choices are made on.
    #[serde(skip)]
    pub(super) choice: Series,
}

/// The method that does best where choices are made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chosen {
    /// What tables call it.
    pub name: String,
    /// Labels per class of its last point.
    pub labels: f64,
    /// The accuracy to expect of it, measured with so many labels.
    pub accuracy: Interval,
}

impl Curve {
    /// A row's curve.
    pub(super) fn of(row: &Row, scores: &Scores, draws: &Draws, counts: &[Count]) -> Result<Self> {
        let series = |which| Series {
            points: counts.iter().map(|&count| (count, scores.answers(draws, count.labels, which))).collect(),
        };
        let (table, choice, apart) = (series(Answers::shown(draws)), series(Answers::Choice), series(Answers::Measure));
        let points = table.estimates()?.into_iter().map(|(count, estimate)| CurvePoint {
            labels: count.labels,
            per_class: count.per_class,
            accuracy: estimate.interval(),
            draws: scores.of(count.labels).len(),
            adapt_seconds: scores.mean(count.labels, |cell| cell.adapt_seconds),
            predict_seconds: scores
                .mean(count.labels, |cell| cell.predict_seconds / cell.predicted.len().max(1) as f64),
        });
        Ok(Self {
            name: row.name.clone(),
            kind: row.kind,
            approach: row.approach,
            start: row.start,
            trained_on: row.trained_on.clone(),
            train_seconds: row.train_seconds,
            points: points.collect(),
            left_out: scores.left_out.clone(),
            measured: apart,
            choice,
        })
    }
}
