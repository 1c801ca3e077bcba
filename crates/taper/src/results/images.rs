//! A classifier's answers on labeled images.

use crate::output::Output;
use crate::page::Scored;
use crate::table::{duration, percent};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use taper_compare::ClassifierScore;
use taper_data::Dataset;
use taper_learn::{evaluation::Answers, statistics::wilson_interval};

/// A classifier's answers on labeled images.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ImagesResult {
    /// What the classifier was made on.
    pub(crate) name: String,
    /// For each class of the data set: its name, correct answers and images.
    pub(crate) by_class: Vec<(String, usize, usize)>,
    /// Seconds for all images.
    pub(crate) seconds: f64,
}

impl ImagesResult {
    /// A classifier's answers on some images of `dataset`.
    pub(crate) fn new(name: &str, dataset: &dyn Dataset, score: &ClassifierScore) -> Self {
        let counts = |class: String| {
            let found = score.by_class.iter().find(|(name, _, _)| *name == class);
            found.cloned().unwrap_or((class, 0, 0))
        };
        Self {
            name: name.to_string(),
            by_class: dataset.classes().iter().map(|class| counts(class.full_name())).collect(),
            seconds: score.seconds_per_image * score.images() as f64,
        }
    }

    /// The result of all parts.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub(crate) fn merged(parts: Vec<Self>) -> Result<Self> {
        let sum = |mut all: Self, part: Self| {
            for (sum, (_, correct, images)) in all.by_class.iter_mut().zip(part.by_class) {
                sum.1 += correct;
                sum.2 += images;
            }
            Self { seconds: all.seconds + part.seconds, ..all }
        };
        match parts.into_iter().reduce(sum) {
            Some(all) => Ok(all),
            None => bail!("there are no parts: give some"),
        }
    }

    /// Prints the result, and returns the classifier's entry for programs and what a report shows.
    pub(crate) fn show(self, output: &Output) -> (Value, Scored) {
        let Self { name, by_class, seconds } = self;
        let by_class = by_class.into_iter().filter(|(_, _, images)| *images > 0).collect();
        let score = ClassifierScore { by_class, seconds_per_image: 0.0, answers: Answers::default() };
        let seconds_per_image = seconds / score.images().max(1) as f64;
        let accuracy = score.accuracy();
        let row = |(name, correct, images): &(String, usize, usize)| {
            vec![name.clone(), images.to_string(), format!("{:.1}", 100.0 * *correct as f64 / *images as f64)]
        };
        let mut rows: Vec<Vec<String>> = score.by_class.iter().map(row).collect();
        rows.push(vec!["all".into(), score.images().to_string(), percent(accuracy)]);
        output.table(&["class", "images", "accuracy %"], &rows);
        output.line(format!("{} per image", duration(seconds_per_image)));
        let part = |(name, correct, images): &(String, usize, usize)| {
            (name.clone(), None, wilson_interval(*correct, *images), format!("{correct} of {images} images"))
        };
        let scored = Scored {
            model: format!("the classifier of {name}"),
            on: format!("{} labeled images", score.images()),
            accuracy,
            parts: score.by_class.iter().map(part).collect(),
            what: "class",
            sections: Ok(Vec::new()),
        };
        let entry = json!({"name": name, "kind": "transfer", "accuracy": accuracy.mean,
            "ci95": [accuracy.low, accuracy.high], "train_seconds": 0.0, "adapt_seconds": 0.0,
            "predict_seconds": seconds_per_image, "images": score.images()});
        (entry, scored)
    }
}
