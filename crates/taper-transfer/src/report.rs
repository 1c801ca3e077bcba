//! A classifier's scores on labeled images: accuracy and macro-F1 with their intervals, scores by class,
//! the confusion matrix and the worst errors.

use crate::{Problem, Result};
use serde::{Deserialize, Serialize};
use taper_data::{Copies, Inputs};
use taper_learn::{
    Interval,
    classifiers::mean_logits,
    evaluation::{Answers, Labeled},
};
use taper_models::{Network, State};

/// Errors that a report lists.
const ERRORS_LISTED: usize = 20;
/// Copies of images per forward pass.
const BATCH: usize = 64;

/// A classifier's scores on labeled images, in fractions from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidationReport {
    /// Share of images that are classified correctly, with its 95% interval.
    pub accuracy: Interval,
    /// Mean F1 over classes, with its 95% interval.
    pub macro_f1: Interval,
    /// Scores by class, in the order of the labels.
    pub classes: Vec<ClassReport>,
    /// Counts of images: `confusion[true class][predicted class]`.
    pub confusion: Vec<Vec<usize>>,
    /// Up to 20 errors, the most confident first.
    pub worst_errors: Vec<WorstError>,
    /// Number of images.
    pub images: usize,
    /// Views per image whose scores are averaged: the image, and randomly transformed copies.
    pub views: usize,
    /// The answer about each image; not written with the scores.
    #[serde(skip)]
    pub answers: Answers,
}

/// A class's scores, in fractions from 0 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// The class's full name.
    pub name: String,
    /// Its number of images.
    pub images: usize,
    /// Share of the images predicted as this class that are of it.
    pub precision: f64,
    /// Share of its images that are predicted as it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

/// An image that is classified wrongly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstError {
    /// The image's name.
    pub image: String,
    /// Its class.
    pub class: String,
    /// The predicted class.
    pub predicted: String,
    /// The predicted class's probability.
    pub probability: f32,
}

impl ValidationReport {
    /// Scores `network` with `state` on labeled images through `inputs`; if there are `copies`, on each
    /// image's mean logits over them.
    pub(crate) fn new(
        problem: &Problem,
        labeled: &Labeled,
        inputs: &dyn Inputs,
        copies: Option<&Copies>,
        network: &Network,
        state: &State,
    ) -> Result<Self> {
        let Labeled { images, labels, ways } = labeled;
        let views = copies.map_or(1, Copies::count);
        let answers = match copies {
            Some(copies) => {
                let mut answers = Answers::default();
                let batch = BATCH.div_ceil(views);
                for (some, labels) in images.chunks(batch).zip(labels.chunks(batch)) {
                    let logits = mean_logits(&copies.inputs(some, None)?, |all| Ok(network.logits(state, all)?))?;
                    answers.extend(some, labels, &logits, None, images.len())?;
                }
                answers
            }
            None => Answers::of_network(network, state, inputs, images, labels)?,
        };
        let confusion = answers.confusion(*ways)?;
        let (dataset, names) = (problem.dataset(), problem.class_names());
        let error = |&place: &usize| WorstError {
            image: dataset.image_name(answers.images[place]),
            class: names[answers.labels[place] as usize].clone(),
            predicted: names[answers.predicted[place] as usize].clone(),
            probability: answers.probabilities[place],
        };
        let class = |(name, score): (&String, taper_learn::evaluation::ClassScore)| ClassReport {
            name: name.clone(),
            images: score.images,
            precision: score.precision,
            recall: score.recall,
            f1: score.f1,
        };
        Ok(Self {
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(problem.seed()),
            classes: names.iter().zip(confusion.classes()).map(class).collect(),
            confusion: confusion.counts().to_vec(),
            worst_errors: answers.errors().iter().take(ERRORS_LISTED).map(error).collect(),
            images: images.len(),
            views,
            answers,
        })
    }
}
