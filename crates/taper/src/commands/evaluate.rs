//! `taper evaluate`: a learner on tasks, a classifier on labeled images.

use crate::args::{Episodes, Evaluate, InputPath, Protocol, UsageError};
use crate::data;
use crate::output::Output;
use crate::report::{method_json, result_json};
use crate::table::{duration, percent, table};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{LakeScore, lake_floors, learner, method, score_classifier, score_learner, seen_classes};
use taper_data::{
    Copies, Dataset, EpisodeIndices, EpisodeSampler, LakeRuns, Scope, View, read_manifest, write_manifest,
};
use taper_learn::{Interval, Model, classifiers::Averaged, models::CLASSIFIER, runs::write_atomically};

pub(crate) fn run(options: &Evaluate, output: &Output) -> Result<()> {
    let start = Instant::now();
    let model = Model::open(&options.model, &options.weights.hints()?)?;
    let methods = match options.protocol {
        Some(Protocol::Lake) => lake(&model, options, output)?,
        None => {
            let dataset = data::given_labeled(options.data.as_ref(), &options.labels, output)?;
            let view = Arc::new(View::new(dataset, model.transform.parse()?)?);
            vec![match model.origin.method == CLASSIFIER {
                true => classifier(&model, &view, options, output)?,
                false => tasks(&model, &view, options, output)?,
            }]
        }
    };
    output.event(&result_json("evaluate", start.elapsed().as_secs_f64(), methods, None));
    Ok(())
}

/// A learner on tasks of classes that it was not trained on.
fn tasks(model: &Model, view: &Arc<View>, options: &Evaluate, output: &Output) -> Result<Value> {
    let dataset = view.dataset().as_ref();
    let (episodes, description) = episodes(model, dataset, options, output)?;
    if let Some(path) = &options.save_episodes {
        write_atomically(path, write_manifest(dataset, &episodes)?.as_bytes())?;
        output.note(format!("saved the {} tasks to {}", episodes.len(), path.display()));
    }
    let scored = score_learner(model, view, &episodes, options.views.views, options.common.seed)?;
    let transductive = learner(model)?.transductive();
    output.line(description);
    let by_source = scored.by_source();
    let row = |name: &str, interval| vec![name.to_string(), percent(interval)];
    let mut rows: Vec<Vec<String>> = by_source.iter().map(|(source, interval)| row(source, *interval)).collect();
    if rows.len() != 1 {
        rows.push(row("all", scored.accuracy()));
    }
    output.line(table(&["source", "accuracy %"], &rows));
    output.line(format!(
        "{}{}: {} to adapt to a task, {} to classify its queries",
        model.origin.method,
        if transductive { " (transductive)" } else { "" },
        duration(scored.cost.adapt_seconds),
        duration(scored.cost.predict_seconds)
    ));
    let kind = method(&model.origin.method)?.info().kind.to_string();
    let mut entry = method_json(&model.origin.method, &kind, &scored, 0.0);
    let source = |(source, accuracy): (&&str, &Interval)| json!({"name": source, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high]});
    entry["transductive"] = json!(transductive);
    entry["sources"] = by_source.iter().map(source).collect();
    Ok(entry)
}

/// The tasks to score on, with a description.
///
/// Fails if they contain classes that the learner was trained on, unless the options include them.
fn episodes(
    model: &Model,
    dataset: &dyn Dataset,
    options: &Evaluate,
    output: &Output,
) -> Result<(Vec<EpisodeIndices>, String)> {
    let seen = match options.trained_classes {
        true => BTreeSet::new(),
        false => seen_classes(model, dataset)?,
    };
    let path = match &options.episodes {
        Episodes::Written(path) => path,
        Episodes::Drawn(count) => {
            let shape = options.tasks.shape()?;
            shape.check(dataset)?;
            let scope = options.tasks.scope().unwrap_or_else(|| Scope::default_for(dataset));
            let all: Vec<u32> = match data::split(options.tasks.split.as_ref(), dataset)? {
                Some(split) => split.test,
                None => (0..dataset.classes().len() as u32).collect(),
            };
            let total = all.len();
            let unseen: Vec<u32> = all.into_iter().filter(|class| !seen.contains(class)).collect();
            if unseen.is_empty() {
                bail!(
                    "{}: the learner was trained or chosen on all of its classes: give other data or --trained-classes",
                    dataset.name()
                );
            }
            if unseen.len() < total {
                output.note(format!(
                    "skipping {} of {total} classes, which the learner was trained or chosen on",
                    total - unseen.len()
                ));
            }
            let sampler =
                EpisodeSampler::new(dataset, &unseen, shape, scope).with_context(|| dataset.name().to_string())?;
            let drawn = (0..*count).map(|number| sampler.draw(options.common.seed, number)).collect();
            let within = if scope == Scope::Group { ", each task within a group" } else { "" };
            return Ok((drawn, format!("{count} tasks of {shape}{within}")));
        }
    };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let episodes = read_manifest(&text, dataset).with_context(|| path.display().to_string())?;
    let met: BTreeSet<u32> = episodes.iter().flat_map(|episode| &episode.classes).copied().collect();
    let known = met.intersection(&seen).count();
    if known > 0 {
        bail!(
            "{}: the learner was trained or chosen on {known} of {} classes in it: score another learner or add --trained-classes",
            path.display(),
            met.len()
        );
    }
    let count = episodes.len();
    Ok((episodes, format!("{count} tasks of {}", path.display())))
}

/// A classifier on images whose classes have its classes' names.
fn classifier(model: &Model, view: &View, options: &Evaluate, output: &Output) -> Result<Value> {
    let dataset = view.dataset();
    let held_out = dataset.held_out();
    let all: Vec<usize> = if held_out.is_empty() { (0..dataset.labels().len()).collect() } else { held_out.to_vec() };
    let trained: BTreeSet<usize> = match options.trained_images {
        true => BTreeSet::new(),
        false => model.provenance.trained_images(dataset.as_ref(), &all)?.into_iter().collect(),
    };
    let images: Vec<usize> = all.iter().copied().filter(|image| !trained.contains(image)).collect();
    if images.is_empty() {
        bail!(
            "{}: the classifier was trained on all of its images: give other images or --trained-images",
            dataset.name()
        );
    }
    if !trained.is_empty() {
        output.note(format!("skipping {} of {} images, which the classifier was trained on", trained.len(), all.len()));
    }
    let score = score_classifier(model, view, &images)?;
    let accuracy = score.accuracy();
    let row = |(name, correct, images): &(String, usize, usize)| {
        vec![name.clone(), images.to_string(), format!("{:.1}", 100.0 * *correct as f64 / *images as f64)]
    };
    let mut rows: Vec<Vec<String>> = score.by_class.iter().map(row).collect();
    rows.push(vec!["all".into(), score.images().to_string(), percent(accuracy)]);
    output.line(table(&["class", "images", "accuracy %"], &rows));
    output.line(format!("{} per image", duration(score.seconds_per_image)));
    Ok(json!({"name": model.origin.on, "kind": "transfer", "accuracy": accuracy.mean,
        "ci95": [accuracy.low, accuracy.high], "train_seconds": 0.0, "adapt_seconds": 0.0,
        "predict_seconds": score.seconds_per_image, "images": score.images()}))
}

/// Lake's challenge; the learner comes first in the result, then the methods that need no learning.
fn lake(model: &Model, options: &Evaluate, output: &Output) -> Result<Vec<Value>> {
    let Some(path) = options.data.as_ref().map(InputPath::path) else {
        return Err(UsageError("--protocol lake needs runs: give their folder or zip after the model".into()).into());
    };
    let runs = Arc::new(LakeRuns::open(path)?);
    let method = learner(model)?;
    let view = Arc::new(View::new(runs.clone(), model.transform.parse()?)?);
    let (seed, views) = (options.common.seed, options.views.views);
    let scored = match views {
        1 => LakeScore::of(method.as_ref(), &runs, view.as_ref(), seed)?,
        _ => LakeScore::of(&Averaged(method.as_ref()), &runs, &Copies::new(&view, views, seed)?, seed)?,
    };
    let error = |score: &LakeScore| {
        let Interval { mean, low, high } = score.accuracy();
        format!("{:.2} ({:.1} to {:.1})", 100.0 * (1.0 - mean), 100.0 * (1.0 - high), 100.0 * (1.0 - low))
    };
    let row = |(run, &(correct, items)): (&String, &(usize, usize))| {
        vec![run.clone(), items.to_string(), format!("{:.1}", 100.0 * (items - correct) as f64 / items as f64)]
    };
    let mut rows: Vec<Vec<String>> = scored.by_run.iter().map(row).collect();
    rows.push(vec!["all".into(), scored.items().to_string(), error(&scored)]);
    output.line(table(&["run", "decisions", "error %"], &rows));
    let floors = lake_floors(&runs, seed)?;
    let all = || {
        let floors = floors.iter().map(|(name, score)| (*name, "floor", score));
        std::iter::once((model.origin.method.as_str(), "meta", &scored)).chain(floors)
    };
    let rows: Vec<Vec<String>> = all()
        .map(|(name, _, score)| vec![name.to_string(), error(score), duration(score.evaluation.cost.predict_seconds)])
        .collect();
    output.line("");
    output.line(table(&["method", "error %", "time per task"], &rows));
    output.line(format!(
        "error over {} decisions, each item classified independently, with its 95% CI (Wilson){}",
        scored.items(),
        if views == 1 { String::new() } else { format!("; {views} views per image") }
    ));
    Ok(all().map(|(name, kind, score)| lake_json(name, kind, score)).collect())
}

fn lake_json(name: &str, kind: &str, score: &LakeScore) -> Value {
    let (accuracy, cost) = (score.accuracy(), score.evaluation.cost);
    let errors: BTreeMap<&String, f64> =
        score.by_run.iter().map(|(run, &(correct, items))| (run, 1.0 - correct as f64 / items as f64)).collect();
    json!({
        "name": name, "kind": kind, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
        "train_seconds": 0.0, "adapt_seconds": cost.adapt_seconds, "predict_seconds": cost.predict_seconds,
        "decisions": score.items(), "error_by_run": errors,
    })
}
