//! `taper survey`: every head and mode of fine-tuning, at several numbers of labels, over data sets
//! and pretrained networks, each scored once on validation images.

mod cells;

use super::train::candidates::{Candidate, fine_tune, fine_tune_all, from_scratch, head};
use super::train::features::features;
use super::train::setting::{Setting, Source};
use super::{result_json, run_directory};
use crate::args::{Labels, Survey, Tuning, Usage};
use crate::data;
use crate::output::Output;
use anyhow::{Result, bail};
use cells::{Cell, Cells};
use serde_json::json;
use std::slice;
use std::sync::Arc;
use std::time::Instant;
use taper_data::Inputs;
use taper_learn::{Confusion, Labeled};
use taper_ops::{permutation, rng};

/// Images classified at once.
const BATCH: usize = 64;

pub(crate) fn run(options: &Survey, config: &str, output: &Output) -> Result<()> {
    let start = Instant::now();
    // what can't be read or done is told before a run is begun
    let settings = settings(options, output)?;
    let ways = settings.iter().map(|setting| ways(options, setting)).collect::<Result<Vec<_>>>()?;
    let run = run_directory(&options.run, config)?;
    let mut cells = Cells::open(run.as_ref())?;
    for (setting, ways) in settings.iter().zip(&ways) {
        survey(options, setting, ways, &mut cells, output)?;
    }
    cells.tell(output);
    let out = run.map(|run| run.path().to_path_buf());
    output.event(&result_json("survey", start.elapsed().as_secs_f64(), cells.json(), out.as_ref()));
    Ok(())
}

/// Each data set with each network for it.
fn settings(options: &Survey, output: &Output) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    for path in &options.datasets {
        let dataset = data::dataset(Some(path))?;
        let in_color = data::look(dataset.as_ref())?.channels == 3;
        let for_color = options.color_weights.iter().filter(|_| in_color);
        for weights in for_color.chain(&options.weights) {
            let source = Source {
                dataset: dataset.clone(),
                weights: Some(weights),
                backbone: None,
                head: None,
                image: &options.image,
                validation: options.validation,
                seed: options.run.common.seed,
            };
            settings.push(Setting::new(&source, output)?);
        }
    }
    Ok(settings)
}

/// One data set with one network.
fn survey(
    options: &Survey,
    setting: &Setting,
    ways: &[(String, Way)],
    cells: &mut Cells,
    output: &Output,
) -> Result<()> {
    let seed = options.run.common.seed;
    let validation = &setting.parts.validation;
    let name = setting.view.dataset().name().to_string();
    let images: Vec<usize> = setting.parts.training.images.iter().chain(&validation.images).copied().collect();
    let inputs: Arc<dyn Inputs> =
        Arc::new(features(options.cache.as_deref(), setting, &setting.view, &images, output)?);
    for &labels in &options.labels {
        let Some(training) = labeled(&setting.parts.training, labels, seed) else {
            output.note(format!("{name}: a class has fewer than {labels} training images, left out"));
            continue;
        };
        let place = |method: &str| Cell::new(&name, &setting.network.backbone().name(), &labels.to_string(), method);
        for method in &options.heads {
            cells.fill(place(method), output, || {
                score(&head(method, setting, slice::from_ref(&inputs))?, &training, validation, seed)
            })?;
        }
        for (method, way) in ways {
            cells.fill(place(method), output, || {
                let images: Vec<usize> = training.images.iter().chain(&validation.images).copied().collect();
                score(&way(&images)?, &training, validation, seed)
            })?;
        }
    }
    Ok(())
}

/// Makes a candidate that is trained and scored on some images.
type Way<'a> = Box<dyn Fn(&[usize]) -> Result<Candidate> + 'a>;

/// The ways beside heads, for one setting's network.
fn ways<'a>(options: &Survey, setting: &'a Setting) -> Result<Vec<(String, Way<'a>)>> {
    options.fine_tune.iter().map(|&tuning| way(tuning, setting, options.run.common.seed)).collect()
}

/// The way of a [`Tuning`] for the setting's network, with the name that the table gives it.
///
/// Errs when the network cannot be cut at so many stages.
fn way(tuning: Tuning, setting: &Setting, seed: u64) -> Result<(String, Way<'_>)> {
    Ok(match tuning {
        Tuning::All => ("fine-tune all".into(), Box::new(|_| Ok(fine_tune_all(setting)))),
        Tuning::Scratch => ("from scratch".into(), Box::new(move |_| from_scratch(setting, seed))),
        Tuning::From(place) => {
            let backbone = setting.network.backbone();
            let cuts = backbone.split_points();
            let Some(stage) = cuts.iter().rev().nth(place - 1).cloned() else {
                let (name, most) = (backbone.name(), cuts.len());
                let problem = format!("--fine-tune {place}: {name} has {most} such stages, use less or all");
                return Err(Usage(problem).into());
            };
            let name = format!("fine-tune from {stage}");
            (name, Box::new(move |images| Ok(fine_tune(&stage, setting, &[&setting.view], images)?.0)))
        }
    })
}

/// So many of each class, drawn from the seed; none where a class has fewer.
fn labeled(training: &Labeled, labels: Labels, seed: u64) -> Option<Labeled> {
    let Labels::Of(count) = labels else { return Some(training.clone()) };
    let mut places = Vec::new();
    for class in 0..training.ways {
        let own: Vec<usize> = (0..training.labels.len()).filter(|&k| training.labels[k] as usize == class).collect();
        if own.len() < count {
            return None;
        }
        let order = permutation(&mut rng(seed, "labels", class as u64), own.len());
        places.extend(order[..count].iter().map(|&k| own[k]));
    }
    places.sort_unstable();
    Some(training.select(&places))
}

/// What a candidate gets right, and its seconds: to train, and to classify an image from what is
/// cached.
fn score(candidate: &Candidate, training: &Labeled, validation: &Labeled, seed: u64) -> Result<(Confusion, f64, f64)> {
    if validation.images.is_empty() {
        bail!("there is no image to validate on, give some");
    }
    let start = Instant::now();
    let classifier = candidate.adapt.adapt(&training.batch_through_each(&candidate.inputs)?, seed)?;
    let train = start.elapsed().as_secs_f64();
    let mut predicted = Vec::with_capacity(validation.images.len());
    for images in validation.images.chunks(BATCH) {
        let logits = classifier.logits(&candidate.plain().inputs(images, None)?)?;
        predicted.extend(logits.argmax(1)?.to_vec1::<u32>()?);
    }
    let predict = (start.elapsed().as_secs_f64() - train) / validation.images.len() as f64;
    Ok((Confusion::new(&validation.labels, &predicted, validation.ways)?, train, predict))
}

impl Cells {
    /// The cells as entries of a result event.
    fn json(&self) -> Vec<serde_json::Value> {
        let entry = |cell: &Cell| {
            json!({"name": cell.method, "kind": "transfer", "data": cell.data, "network": cell.network,
                "labels": cell.labels, "accuracy": cell.accuracy, "ci95": [cell.low, cell.high],
                "train_seconds": cell.train_seconds, "adapt_seconds": 0.0, "predict_seconds": cell.predict_seconds})
        };
        self.all().iter().map(entry).collect()
    }
}
