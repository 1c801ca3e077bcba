//! `taper evaluate`: a learner on tasks, a classifier on labeled images.

use super::{lake, meta_train::within, method_json, percent, result_json};
use crate::args::{Episodes, Evaluate, Protocol};
use crate::data;
use crate::output::Output;
use crate::pretrained;
use crate::registry::{self, CLASSIFIER, learner};
use crate::table::{duration, table};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use taper_data::{Copies, Dataset, EpisodeIndices, EpisodeSampler, Inputs, View, read_manifest, write_manifest};
use taper_learn::{Averaged, Model, evaluate, mean_interval, wilson_interval, write_atomically};

pub(crate) fn run(options: &Evaluate, output: &Output) -> Result<()> {
    let start = Instant::now();
    let model = pretrained::load(&options.model, &options.weights)?;
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
    let (episodes, what) = episodes(model, dataset, options, output)?;
    if let Some(path) = &options.save_episodes {
        write_atomically(path, write_manifest(dataset, &episodes)?.as_bytes())?;
        output.note(format!("the {} episodes are in {}", episodes.len(), path.display()));
    }
    let method = learner(model)?;
    let (seed, count) = (options.common.seed, episodes.len() as u64);
    let drawn = |number: u64| &episodes[number as usize];
    let views = options.views.views;
    let scored = if views == 1 {
        evaluate(method.as_ref(), count, seed, |n| Ok(view.episode(drawn(n), None)?))?
    } else {
        let copies = Copies::new(view, views, seed)?;
        evaluate(&Averaged(method.as_ref()), count, seed, |n| Ok(copies.episode(drawn(n), None)?))?
    };
    output.line(what);
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
    let kind = registry::method(&model.trained.method)?.kind.to_string();
    let mut entry = method_json(&model.trained.method, &kind, &scored, 0.0);
    entry["transductive"] = json!(method.transductive());
    entry["sources"] = json!(
        scored
            .by_source()
            .into_iter()
            .map(|(source, accuracy)| json!({"name": source, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high]}))
            .collect::<Vec<_>>()
    );
    Ok(entry)
}

/// The episodes to score on, and what they are in words.
///
/// Errs when they hold classes that the learner was trained on, unless asked for by name.
fn episodes(
    model: &Model,
    dataset: &dyn Dataset,
    options: &Evaluate,
    output: &Output,
) -> Result<(Vec<EpisodeIndices>, String)> {
    let seen: BTreeSet<&str> = model.trained.classes.iter().map(String::as_str).collect();
    let trained_on = |class: u32| seen.contains(dataset.classes()[class as usize].full_name().as_str());
    let path = match &options.episodes {
        Episodes::Written(path) => path,
        Episodes::Drawn(count) => {
            let shape = options.tasks.shape()?;
            data::check_classes(dataset, &shape)?;
            let scope = data::scope(options.tasks.scope, dataset);
            let all: Vec<u32> = match &options.tasks.split {
                Some(path) => data::published(dataset, path)?.test,
                None => (0..dataset.classes().len() as u32).collect(),
            };
            let count_of_all = all.len();
            let fresh: Vec<u32> =
                all.into_iter().filter(|&class| options.trained_classes || !trained_on(class)).collect();
            let left_out = count_of_all - fresh.len();
            if fresh.is_empty() {
                bail!(
                    "{}: the learner was trained on all of its classes, give other data or --trained-classes",
                    dataset.name()
                );
            }
            if left_out > 0 {
                output.note(format!("{left_out} of {count_of_all} classes were trained on and are left out"));
            }
            let sampler =
                EpisodeSampler::new(dataset, &fresh, shape, scope).with_context(|| dataset.name().to_string())?;
            let drawn = (0..*count).map(|number| sampler.draw(options.common.seed, number)).collect();
            return Ok((drawn, format!("{count} tasks of {shape}{}", within(scope))));
        }
    };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let episodes = read_manifest(&text, dataset).with_context(|| path.display().to_string())?;
    let met: BTreeSet<u32> = episodes.iter().flat_map(|episode| &episode.classes).copied().collect();
    let known = met.iter().filter(|&&class| trained_on(class)).count();
    if known > 0 && !options.trained_classes {
        bail!(
            "{}: the learner was trained on {known} of {} classes in it, score another learner or say --trained-classes",
            path.display(),
            met.len()
        );
    }
    let count = episodes.len();
    Ok((episodes, format!("{count} tasks of {}", path.display())))
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
    let accuracy = wilson_interval(right.iter().filter(|&&hit| hit == 1.0).count(), right.len());
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
