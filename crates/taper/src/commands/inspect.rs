//! `taper inspect`: what a path holds.

use super::{result_json, with};
use crate::args::Inspect;
use crate::data;
use crate::output::Output;
use crate::table::table;
use anyhow::{Context, Result};
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use taper_data::{Dataset, images_by_class};
use taper_learn::Model;

pub(crate) fn run(options: &Inspect, output: &Output) -> Result<()> {
    let start = Instant::now();
    let (facts, out) = describe(options.path.as_deref(), output)?;
    let result = result_json("inspect", start.elapsed().as_secs_f64(), Vec::new(), out.as_ref());
    output.event(&with(result, facts));
    Ok(())
}

/// Tells what is there; gives the facts, and the run's directory if it is one.
fn describe(path: Option<&Path>, output: &Output) -> Result<(Value, Option<PathBuf>)> {
    let Some(path) = path else { return Ok((describe_data(data::dataset(None)?.as_ref(), output)?, None)) };
    if path.join("config.json").is_file() {
        return Ok((describe_model(&Model::load(path)?, output)?, None));
    }
    if path.join("config.toml").is_file() {
        return Ok((describe_run(path, output)?, Some(path.to_path_buf())));
    }
    let weights = ["safetensors", "pth", "pt", "th", "bin"];
    if path.is_file() && path.extension().is_some_and(|ending| weights.iter().any(|known| ending == *known)) {
        return Ok((describe_weights(path, output)?, None));
    }
    Ok((describe_data(data::dataset(Some(path))?.as_ref(), output)?, None))
}

fn describe_data(dataset: &dyn Dataset, output: &Output) -> Result<Value> {
    let images = images_by_class(dataset);
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (class, images) in dataset.classes().iter().zip(&images) {
        groups.entry(&class.group).or_default().push(images.len());
    }
    let total = dataset.labels().len();
    output.line(format!("{}: {total} images of {} classes", dataset.name(), images.len()));
    let range = |counts: &[usize]| {
        let (low, high) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
        if low == high { low.to_string() } else { format!("{low} to {high}") }
    };
    let rows: Vec<Vec<String>> = if groups.len() > 1 {
        groups.iter().map(|(group, counts)| vec![group.to_string(), counts.len().to_string(), range(counts)]).collect()
    } else {
        dataset
            .classes()
            .iter()
            .zip(&images)
            .map(|(class, images)| vec![class.full_name(), "1".into(), images.len().to_string()])
            .collect()
    };
    output.line(table(&["group or class", "classes", "images a class"], &rows));
    let mut sizes: BTreeMap<(usize, usize, usize), usize> = BTreeMap::new();
    for index in 0..total {
        *sizes.entry(dataset.size(index)?).or_insert(0) += 1;
    }
    let mut common: Vec<_> = sizes.iter().collect();
    common.sort_by(|a, b| b.1.cmp(a.1));
    let named: Vec<String> = common
        .iter()
        .take(5)
        .map(|((c, h, w), count)| format!("{w}x{h} {} ({count})", if *c == 1 { "gray" } else { "color" }))
        .collect();
    output.line(format!("sizes: {}{}", named.join(", "), if sizes.len() > 5 { ", and others" } else { "" }));
    if !dataset.held_out().is_empty() {
        output.line(format!("{} images are held out for validation", dataset.held_out().len()));
    }
    for (path, reason) in dataset.skipped() {
        output.line(format!("unreadable: {path}: {reason}"));
    }
    Ok(json!({"what": "data", "name": dataset.name(), "images": total,
        "classes": dataset.classes().iter().map(|class| class.full_name()).collect::<Vec<_>>(),
        "skipped": dataset.skipped().iter().map(|(path, reason)| json!({"path": path, "reason": reason})).collect::<Vec<_>>(),
        "held_out": dataset.held_out().len()}))
}

fn tensors<'a>(named: impl Iterator<Item = (&'a str, &'a Tensor)>, what: &str) -> Vec<Vec<String>> {
    named
        .map(|(name, tensor)| {
            let shape = tensor.dims().iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
            vec![name.to_string(), shape, tensor.elem_count().to_string(), what.to_string()]
        })
        .collect()
}

const TENSORS: [&str; 4] = ["name", "shape", "numbers", ""];

fn describe_model(model: &Model, output: &Output) -> Result<Value> {
    let backbone = model.network.backbone();
    let (c, h, w) = backbone.input();
    output.line(format!(
        "{}, {} by {}, on {}",
        backbone.name(),
        if model.labels.is_empty() { "learner" } else { "classifier" },
        model.trained.method,
        model.trained.on
    ));
    output.line(format!(
        "images: {} -> {c} x {h} x {w}; features: {}; norm: {}",
        model.transform,
        backbone.width(),
        model.trained.norm
    ));
    if !model.labels.is_empty() {
        output.line(format!("classes: {}", model.labels.join(", ")));
    }
    for (name, value) in &model.trained.settings {
        output.line(format!("{name}: {value}"));
    }
    let mut rows = tensors(model.state.params.iter(), "trainable");
    rows.extend(tensors(model.state.buffers.iter(), "statistics"));
    output.line(table(&TENSORS, &rows));
    output.line(format!("{} parameters, {} statistics", model.state.params.count(), model.state.buffers.count()));
    Ok(json!({"what": "model", "architecture": backbone.name(),
        "method": model.trained.method, "on": model.trained.on, "classes": model.labels, "settings": model.trained.settings,
        "norm": model.trained.norm, "parameters": model.state.params.count()}))
}

fn describe_weights(path: &Path, output: &Output) -> Result<Value> {
    let weights = taper_models::read_weights(path)?;
    let named = weights.iter().map(|(name, tensor)| (name.as_str(), tensor));
    output.line(table(&TENSORS, &tensors(named, "")));
    let count: usize = weights.values().map(Tensor::elem_count).sum();
    let fits = taper_models::identify(&weights);
    match &fits {
        Some((architecture, outputs)) => {
            output.line(format!("{count} numbers; fits {architecture} with {outputs} classes"))
        }
        None => output.line(format!("{count} numbers; fits no architecture of taper")),
    }
    Ok(json!({"what": "weights", "tensors": weights.len(), "numbers": count,
        "architecture": fits.map(|(architecture, _)| architecture.to_string())}))
}

fn describe_run(path: &Path, output: &Output) -> Result<Value> {
    let config = std::fs::read_to_string(path.join("config.toml")).with_context(|| path.display().to_string())?;
    output.line(config.trim_end());
    let log = std::fs::read_to_string(path.join("metrics.jsonl")).unwrap_or_default();
    let mut stages: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for event in log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        if let (Some(stage), Some(step), Some(steps)) =
            (event["stage"].as_str(), event["step"].as_u64(), event["steps"].as_u64())
        {
            stages.insert(stage.to_string(), (step, steps));
        }
    }
    let rows: Vec<Vec<String>> =
        stages.iter().map(|(stage, (step, steps))| vec![stage.clone(), format!("{step} of {steps}")]).collect();
    if !rows.is_empty() {
        output.line(table(&["stage", "steps"], &rows));
    }
    let model = path.join("model");
    output.line(if model.is_dir() {
        format!("the model is in {}", model.display())
    } else {
        "it has no model yet: go on with --resume".into()
    });
    Ok(json!({"what": "run", "stages": stages, "finished": model.is_dir()}))
}
