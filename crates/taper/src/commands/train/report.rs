//! What validation says about a classifier: figures with their intervals, by class, what it takes
//! for what, and where it is most wrong.

use super::setting::Setting;
use crate::output::Output;
use crate::table::table;
use anyhow::Result;
use serde_json::{Value, json};
use taper_data::{Copies, Inputs};
use taper_learn::{Confusion, Interval, Labeled, mean_logits};
use taper_models::{Network, State};
use taper_ops::log_softmax;

/// Classes up to which the whole confusion matrix is shown.
const MATRIX_UP_TO: usize = 12;
/// Wrong images shown.
const WRONG_SHOWN: usize = 5;
/// Images a forward pass.
const BATCH: usize = 64;

/// The validation images through a classifier, once.
pub(crate) struct Report {
    confusion: Confusion,
    macro_f1: Interval,
    /// Image, predicted class and its probability, the surest first.
    wrong: Vec<(usize, u32, f32)>,
    /// Views of each image.
    views: usize,
}

impl Report {
    /// By `network` with `state` on the images, or on what its frozen part made of them; where there
    /// are `copies` of the images, on the mean of each one's scores.
    pub(crate) fn new(
        setting: &Setting,
        inputs: &dyn Inputs,
        copies: Option<&Copies>,
        network: &Network,
        state: &State,
        seed: u64,
    ) -> Result<Self> {
        let Labeled { images, labels, ways } = &setting.parts.validation;
        let views = copies.map_or(1, Copies::count);
        let batch = BATCH.div_ceil(views);
        let (mut predicted, mut wrong) = (Vec::with_capacity(images.len()), Vec::new());
        for (images, labels) in images.chunks(batch).zip(labels.chunks(batch)) {
            let logits = match copies {
                Some(copies) => mean_logits(&copies.inputs(images, None)?, |all| Ok(network.logits(state, all)?))?,
                None => network.logits(state, &inputs.inputs(images, None)?)?,
            };
            let probabilities = log_softmax(&logits)?.exp()?.to_vec2::<f32>()?;
            for ((&image, &label), row) in images.iter().zip(labels).zip(&probabilities) {
                let best = (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
                predicted.push(best as u32);
                if best as u32 != label {
                    wrong.push((image, best as u32, row[best]));
                }
            }
        }
        wrong.sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        let confusion = Confusion::new(labels, &predicted, *ways)?;
        let macro_f1 = confusion.macro_f1(seed);
        Ok(Self { confusion, macro_f1, wrong, views })
    }

    /// Says it.
    pub(crate) fn tell(&self, setting: &Setting, output: &Output) {
        let dataset = setting.view.dataset();
        let names: Vec<String> = dataset.classes().iter().map(|class| class.full_name()).collect();
        let share = |value: f64| format!("{:.1}", value * 100.0);
        let rows: Vec<Vec<String>> = names
            .iter()
            .zip(self.confusion.classes())
            .map(|(name, class)| {
                let figures = [class.precision, class.recall, class.f1].map(share);
                [vec![name.clone(), class.images.to_string()], figures.to_vec()].concat()
            })
            .collect();
        output.line(table(&["class", "images", "precision %", "recall %", "F1 %"], &rows));
        if names.len() <= MATRIX_UP_TO {
            let header: Vec<&str> = ["is ↓, taken for →"].into_iter().chain(names.iter().map(String::as_str)).collect();
            let rows: Vec<Vec<String>> = names
                .iter()
                .zip(self.confusion.counts())
                .map(|(name, counts)| [vec![name.clone()], counts.iter().map(ToString::to_string).collect()].concat())
                .collect();
            output.line(format!("\n{}", table(&header, &rows)));
        }
        if !self.wrong.is_empty() {
            let rows: Vec<Vec<String>> = self
                .wrong
                .iter()
                .take(WRONG_SHOWN)
                .map(|&(image, given, probability)| {
                    let truth = dataset.labels()[image] as usize;
                    let (truth, given) = (names[truth].clone(), names[given as usize].clone());
                    vec![dataset.image_name(image), truth, given, format!("{:.0} %", probability * 100.0)]
                })
                .collect();
            output.line(format!("\n{}", table(&["most wrong", "is", "taken for", "how sure"], &rows)));
        }
        let images = setting.parts.validation.images.len();
        output.line(format!(
            "\non {images} validation images{}: accuracy {}, macro-F1 {}",
            if self.views > 1 { format!(", {} views each", self.views) } else { String::new() },
            spoken(self.confusion.accuracy()),
            spoken(self.macro_f1)
        ));
    }

    /// The figures, as parts of a method's entry in a result event.
    pub(crate) fn json(&self) -> Value {
        let accuracy = self.confusion.accuracy();
        json!({"accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high], "macro_f1": self.macro_f1.mean,
            "macro_f1_ci95": [self.macro_f1.low, self.macro_f1.high], "views": self.views})
    }
}

/// `83.3 % (95 % interval 75.7 to 88.9)`.
fn spoken(interval: Interval) -> String {
    let Interval { mean, low, high } = interval;
    format!("{:.1} % (95 % interval {:.1} to {:.1})", mean * 100.0, low * 100.0, high * 100.0)
}
