//! `taper evaluate`: a learner on tasks, a classifier on labelled images.

use super::{lake, meta_train::within, method_json, percent, result_json};
use crate::args::{Evaluate, Protocol};
use crate::data;
use crate::output::Output;
use crate::registry::{CLASSIFIER, learner, method};
use crate::table::{duration, table};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;
use taper_data::{Copies, EpisodeSampler, Inputs, View};
use taper_learn::{Averaged, Model, evaluate, mean_interval, share_interval};

pub(crate) fn run(options: &Evaluate, output: &Output) -> Result<()> {
    let start = Instant::now();
    let model = Model::load(&options.model)?;
    if options.protocol == Some(Protocol::Lake) {
        let methods = lake::run(&model, options, output)?;
        output.event(&result_json("evaluate", start.elapsed().as_secs_f64(), methods, None));
        return Ok(());
    }
    let dataset = data::dataset(options.data.as_deref())?;
    data::tell(dataset.as_ref(), output)?;
    let view = data::view(dataset, model.transform.parse()?)?;
    let method = if model.trained.method == CLASSIFIER {
        classifier(&model, &view, output)?
    } else {
        tasks(&model, &view, options, output)?
    };
    output.event(&result_json("evaluate", start.elapsed().as_secs_f64(), vec![method], None));
    Ok(())
}

/// A learner on tasks of classes that it was not trained on.
fn tasks(model: &Model, view: &View, options: &Evaluate, output: &Output) -> Result<serde_json::Value> {
    let dataset = view.dataset().as_ref();
    let shape = options.tasks.shape()?;
    data::check_classes(dataset, &shape)?;
    let scope = data::scope(options.tasks.scope, dataset);
    let fresh: Vec<u32> = (0..dataset.classes().len() as u32)
        .filter(|&class| !model.trained.classes.contains(&dataset.classes()[class as usize].full_name()))
        .collect();
    let left_out = dataset.classes().len() - fresh.len();
    if left_out > 0 {
        output.note(format!("{left_out} of {} classes were trained on and are left out", dataset.classes().len()));
    }
    let sampler = EpisodeSampler::new(dataset, &fresh, shape, scope).with_context(|| dataset.name().to_string())?;
    let known = method(&model.trained.method)?;
    let method = learner(model)?;
    let seed = options.common.seed;
    let views = options.views.views;
    let scored = if views == 1 {
        evaluate(method.as_ref(), options.episodes, seed, |n| Ok(view.episode(&sampler.draw(seed, n), None)?))?
    } else {
        let copies = Copies::new(view, views, seed)?;
        let averaged = Averaged(method.as_ref());
        evaluate(&averaged, options.episodes, seed, |n| Ok(copies.episode(&sampler.draw(seed, n), None)?))?
    };
    output.line(format!("{} tasks of {shape}{}", options.episodes, within(scope)));
    let row = |name: &str, interval| vec![name.to_string(), percent(interval)];
    let mut rows: Vec<Vec<String>> =
        scored.by_source().into_iter().map(|(source, interval)| row(source, interval)).collect();
    if rows.len() > 1 || rows.is_empty() {
        rows.push(row("all", scored.accuracy()));
    }
    output.line(table(&["source", "accuracy %"], &rows));
    output.line(format!(
        "{}{}: {} to adapt to a task, {} to classify its queries",
        model.trained.method,
        if method.transductive() { " (transductive)" } else { "" },
        duration(scored.cost.adapt_seconds),
        duration(scored.cost.predict_seconds)
    ));
    Ok(method_json(known.name, &known.kind.to_string(), &scored, 0.0))
}

/// A classifier on images whose classes have its classes' names.
fn classifier(model: &Model, view: &View, output: &Output) -> Result<serde_json::Value> {
    let dataset = view.dataset().as_ref();
    let place = |class: u32| {
        let named = &dataset.classes()[class as usize];
        model.labels.iter().position(|label| *label == named.full_name() || *label == named.name)
    };
    let unknown: Vec<String> = (0..dataset.classes().len() as u32)
        .filter(|&class| place(class).is_none())
        .map(|class| dataset.classes()[class as usize].full_name())
        .collect();
    if !unknown.is_empty() {
        bail!(
            "{}: the model does not know class {}, it knows {}; give images of its classes, or make a classifier of these with `taper adapt`",
            dataset.name(),
            few(&unknown),
            few(&model.labels)
        );
    }
    let images: Vec<usize> =
        if dataset.held_out().is_empty() { (0..dataset.labels().len()).collect() } else { dataset.held_out().to_vec() };
    let start = Instant::now();
    let mut right = Vec::with_capacity(images.len());
    let mut by_class: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for chunk in images.chunks(64) {
        let logits = model.network.logits(&model.state, &view.inputs(chunk, None)?)?;
        let predicted = logits.argmax(1)?.to_vec1::<u32>()?;
        for (&image, &label) in chunk.iter().zip(&predicted) {
            let class = dataset.labels()[image];
            let hit = f64::from(u8::from(place(class) == Some(label as usize)));
            right.push(hit);
            by_class.entry(dataset.classes()[class as usize].full_name()).or_default().push(hit);
        }
    }
    let seconds = start.elapsed().as_secs_f64() / images.len() as f64;
    let accuracy = share_interval(right.iter().filter(|&&hit| hit == 1.0).count(), right.len());
    let mut rows: Vec<Vec<String>> = by_class
        .iter()
        .map(|(name, hits)| {
            vec![name.clone(), hits.len().to_string(), format!("{:.1}", 100.0 * mean_interval(hits).mean)]
        })
        .collect();
    rows.push(vec!["all".into(), right.len().to_string(), percent(accuracy)]);
    output.line(table(&["class", "images", "accuracy %"], &rows));
    output.line(format!("{} an image", duration(seconds)));
    Ok(
        json!({"name": model.trained.on, "kind": "transfer", "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
        "train_seconds": 0.0, "adapt_seconds": 0.0, "predict_seconds": seconds, "images": images.len()}),
    )
}

/// The first few names.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}
