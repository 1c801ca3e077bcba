//! `taper inspect`: what a path holds.

use crate::args::Inspect;
use crate::data;
use crate::output::Output;
use crate::report::{result_json, with};
use crate::table::counted;
use anyhow::{Context, Result};
use candle_core::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;
use taper_data::{ClassCount, Dataset, Inspection, LeftOut, Likeness, Part, Several, SizeCount, inspect, one_line};
use taper_learn::Model;
use taper_models::{WeightFile, recognize_weights};

pub(crate) fn run(options: &Inspect, output: &Output) -> Result<()> {
    let start = Instant::now();
    let (facts, out) = match options.labels.labels_from {
        Some(_) => (describe_data(data::labeled(options.path.as_deref(), &options.labels)?.as_ref(), output)?, None),
        None => describe(options.path.as_deref(), output)?,
    };
    let result = result_json("inspect", start.elapsed().as_secs_f64(), Vec::new(), out.as_deref());
    output.event(&with(result, facts));
    Ok(())
}

/// Prints what is there; returns the facts, and the directory of a run.
fn describe(path: Option<&Path>, output: &Output) -> Result<(Value, Option<PathBuf>)> {
    let Some(path) = path else { return Ok((describe_data(data::dataset(None)?.as_ref(), output)?, None)) };
    if Model::is_hub_folder(path) {
        return Ok((describe_weights(path, output)?, None));
    }
    if path.join("config.json").is_file() {
        return Ok((describe_model(&Model::load(path)?, output)?, None));
    }
    if path.join("config.toml").is_file() {
        return Ok((describe_run(path, output)?, Some(path.to_path_buf())));
    }
    if path.is_file()
        && let Ok(vectors) = data::dataset(Some(path))
        && vectors.vector(0).is_some()
    {
        return Ok((describe_data(vectors.as_ref(), output)?, None));
    }
    let called_weights = ["safetensors", "pth", "pt", "th", "bin", "ckpt"];
    let by_name = path.extension().is_some_and(|ending| called_weights.iter().any(|known| ending == *known));
    if (path.is_file() && by_name) || recognize_weights(path).is_some() {
        return Ok((describe_weights(path, output)?, None));
    }
    Ok((describe_data(data::dataset(Some(path))?.as_ref(), output)?, None))
}

/// Sizes, and names of each kind, that are shown; JSON lists them all.
const SHOWN: usize = 5;
/// Skipped files, and copies, that are shown.
const FILES_SHOWN: usize = 100;

fn describe_data(dataset: &dyn Dataset, output: &Output) -> Result<Value> {
    let found = inspect(dataset)?;
    let name = one_line(dataset.name());
    let item = if dataset.vector(0).is_some() { "vector" } else { "image" };
    output.line(format!("{name}: {} of {}", counted(found.images, item), counted(found.classes.len(), "class")));
    if let Some(layout) = &found.layout {
        output.line(format!("read as {layout}"));
    }
    found.why.iter().for_each(|why| output.line(format!("  {why}")));
    let parts: Vec<String> = found.parts.iter().map(|(part, images)| format!("{} {images}", part.name())).collect();
    if !dataset.held_out().is_empty() {
        let held_out = match dataset.held_out().len() {
            1 => "1 image is held out".to_string(),
            images => format!("{images} images are held out"),
        };
        output.line(format!("parts: {}; {held_out}", parts.join(", ")));
    }
    describe_classes(&found, output);
    let size = |size: &SizeCount| {
        let colors = if size.channels == 1 { "gray" } else { "color" };
        format!("{}x{} {colors} ({})", size.width, size.height, size.images)
    };
    let sizes: Vec<String> = found.sizes.iter().take(SHOWN).map(size).collect();
    match dataset.vector(0) {
        Some(vector) => output.line(format!("vectors of {} numbers", vector.len())),
        None => {
            let more = if found.sizes.len() > SHOWN { ", and others" } else { "" };
            output.line(format!("sizes: {}{more}", sizes.join(", ")));
        }
    }
    if !found.formats.is_empty() {
        let formats: Vec<String> = found.formats.iter().map(|(format, images)| format!("{format} {images}")).collect();
        output.line(format!("formats: {}", formats.join(", ")));
    }
    describe_left_out(&found, output);
    describe_duplicates(dataset, &found, output);
    found.notes.iter().for_each(|note| output.line(format!("note: {note}")));
    Ok(json!({"what": "data", "name": dataset.name(), "images": found.images,
        "classes": dataset.classes().iter().map(|class| class.full_name()).collect::<Vec<_>>(),
        "skipped": dataset.skipped().iter().map(|(path, reason)| json!({"path": path, "reason": reason})).collect::<Vec<_>>(),
        "held_out": dataset.held_out().len(), "inspection": found}))
}

/// A table of the classes, or of the groups if there are several; with a column for each part if there
/// is more than one.
fn describe_classes(found: &Inspection, output: &Output) {
    let mut groups: BTreeMap<&str, Vec<&ClassCount>> = BTreeMap::new();
    for class in &found.classes {
        groups.entry(&class.group).or_default().push(class);
    }
    let range = |counts: &[usize]| {
        let (low, high) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
        if low == high { low.to_string() } else { format!("{low} to {high}") }
    };
    let parts: Vec<Part> = if found.parts.len() > 1 { found.parts.keys().copied().collect() } else { Vec::new() };
    let row = |name: String, classes: &[&ClassCount]| {
        let images: Vec<usize> = classes.iter().map(|class| class.images).collect();
        let in_part = |part: &Part| {
            let counts = classes.iter().map(|class| class.parts.get(part).copied().unwrap_or(0));
            range(&counts.collect::<Vec<usize>>())
        };
        let mut row = vec![name, classes.len().to_string(), range(&images)];
        row.extend(parts.iter().map(in_part));
        row
    };
    let rows: Vec<Vec<String>> = if groups.len() > 1 {
        groups.iter().map(|(group, classes)| row(group.to_string(), classes)).collect()
    } else {
        found.classes.iter().map(|class| row(class.name.clone(), &[class])).collect()
    };
    let mut header = vec!["group or class", "classes", "images per class"];
    header.extend(parts.iter().map(|part| part.name()));
    output.table(&header, &rows);
}

/// What was skipped: the number for each reason, then the files that a person should know about.
fn describe_left_out(found: &Inspection, output: &Output) {
    for (reason, several) in &found.left_out {
        output.line(format!("left out, {}: {} ({})", reason.words(), several.count, first(several)));
    }
    let files: Vec<&LeftOut> = found.left_out_files.iter().filter(|file| file.reason.matters()).collect();
    for file in files.iter().take(FILES_SHOWN) {
        output.line(format!("  {}: {}", file.path, file.detail));
    }
    if files.len() > FILES_SHOWN {
        output.line(format!("  and {} more: --json lists them all", files.len() - FILES_SHOWN));
    }
}

/// Pictures that occur more than once.
fn describe_duplicates(dataset: &dyn Dataset, found: &Inspection, output: &Output) {
    let all = &found.duplicates.all;
    for copy in all.iter().take(FILES_SHOWN) {
        let how = match copy.likeness {
            Likeness::SameFile => "the same file",
            Likeness::SamePixels => "the same pixels in another file",
            Likeness::Copy => "resized or re-encoded",
            Likeness::Mirrored => "mirrored",
        };
        let across = match (copy.across_parts, copy.across_classes) {
            (true, true) => ", in another part and class",
            (true, false) => ", in another part",
            (false, true) => ", in another class",
            (false, false) => "",
        };
        let name = |image| dataset.image_name(image);
        let (copy, original) = (name(copy.copy), name(copy.original));
        output.line(format!("duplicate: {} of {} ({how}{across})", one_line(&copy), one_line(&original)));
    }
    if all.len() > FILES_SHOWN {
        output.line(format!("and {} more duplicates: --json lists them all", all.len() - FILES_SHOWN));
    }
}

/// The first names of several.
fn first(several: &Several) -> String {
    format!("{}{}", several.first.join(", "), if several.count > several.first.len() { ", …" } else { "" })
}

fn tensors<'a>(named: impl Iterator<Item = (&'a str, &'a Tensor)>, what: &str) -> Vec<Vec<String>> {
    named
        .map(|(name, tensor)| {
            let shape = tensor.dims().iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
            vec![name.to_string(), shape, tensor.elem_count().to_string(), what.to_string()]
        })
        .collect()
}

const TENSORS: [&str; 4] = ["name", "shape", "elements", ""];

fn describe_model(model: &Model, output: &Output) -> Result<Value> {
    let backbone = model.network.backbone();
    let (c, h, w) = backbone.input();
    let what = match model.labels.len() {
        0 => format!("learner by {}", model.origin.method),
        classes => format!("classifier of {}", counted(classes, "class")),
    };
    output.line(format!("a {what} on {}; {}", backbone.name(), learned_from(&model.origin.on)));
    output.line(format!(
        "images: {} -> {c} x {h} x {w}; features: {}; norm: {}",
        model.transform,
        backbone.width(),
        model.origin.norm
    ));
    if !model.labels.is_empty() {
        let names: Vec<_> = model.labels.iter().map(|name| one_line(name)).collect();
        output.line(format!("classes: {}", names.join(", ")));
    }
    for (name, value) in &model.origin.settings {
        output.line(format!("{name}: {value}"));
    }
    let mut rows = tensors(model.state.params.iter(), "trainable");
    rows.extend(tensors(model.state.buffers.iter(), "statistics"));
    output.table(&TENSORS, &rows);
    output.line(format!("{} parameters, {} statistics", model.state.params.count(), model.state.buffers.count()));
    Ok(json!({"what": "model", "architecture": backbone.name(),
        "method": model.origin.method, "on": model.origin.on, "classes": model.labels, "settings": model.origin.settings,
        "norm": model.origin.norm, "parameters": model.state.params.count()}))
}

/// Where a model comes from: its training data, of some models with the number of images, which follows in parentheses.
fn learned_from(on: &str) -> String {
    let images = on.strip_suffix(" images)").and_then(|on| on.rsplit_once(" ("));
    match images.and_then(|(name, images)| Some((name, images.parse().ok()?))) {
        Some((name, images)) => format!("learned from {} of {}", counted(images, "image"), one_line(name)),
        None => format!("learned from {}", one_line(on)),
    }
}

fn describe_weights(path: &Path, output: &Output) -> Result<Value> {
    let file = WeightFile::read(path)?;
    file.report().notes().iter().for_each(|note| output.line(note));
    let weights = file.into_tensors();
    let named = weights.iter().map(|(name, tensor)| (name.as_str(), tensor));
    output.table(&TENSORS, &tensors(named, ""));
    let count: usize = weights.values().map(Tensor::elem_count).sum();
    let fits = taper_models::identify(&weights);
    match &fits {
        Some((architecture, outputs)) => {
            output.line(format!("{count} elements; fits {architecture} with {outputs} classes"))
        }
        None => output.line(format!("{count} elements; fits no known architecture")),
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
        output.table(&["stage", "steps"], &rows);
    }
    let model = path.join("model");
    output.line(if model.is_dir() {
        format!("the model is in {}", model.display())
    } else {
        "no model yet: continue the run with --resume".into()
    });
    Ok(json!({"what": "run", "stages": stages, "finished": model.is_dir()}))
}
