//! `taper export`: a classifier for other programs.

use crate::args::{Export, Format, UsageError};
use crate::output::Output;
use crate::report::{RESULT, is_revised, result_json, with};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;
use taper_export::{CardFacts, Files, OnnxOptions, Precision, onnx, timm, transformers};
use taper_learn::{
    Model,
    runs::{RunRecord, write_atomically},
};
use taper_models::catalog::KnownWeights;

pub(crate) fn run(options: &Export, output: &Output) -> Result<()> {
    let start = Instant::now();
    check_target(options)?;
    let model = Model::open(&options.model, &options.weights.hints()?)?;
    let about = || options.model.display().to_string();
    let written = match options.format {
        Format::Onnx => {
            let precision = match (options.half, options.int8) {
                (true, _) => Precision::Half,
                (_, true) => Precision::Int8,
                _ => Precision::Single,
            };
            let bytes = onnx(&model, OnnxOptions { bare: options.bare, precision }).with_context(about)?;
            write_atomically(&options.out, &bytes)?;
            bytes.len()
        }
        Format::Timm => folder(options, &timm(&model, &facts(&options.model)).with_context(about)?)?,
        Format::Transformers => folder(options, &transformers(&model, &facts(&options.model)).with_context(about)?)?,
    };
    let out = options.out.display();
    let megabytes = written as f64 / 1e6;
    let classes = model.labels.len();
    output.line(format!("wrote {} of {classes} classes to {out} ({megabytes:.1} MB)", model.network.backbone().name()));
    let result = result_json("export", start.elapsed().as_secs_f64(), Vec::new(), Some(&options.out));
    output.event(&with(result, json!({"bytes": written})));
    Ok(())
}

/// Fails if something would be overwritten that --force does not allow, or the options contradict each other.
fn check_target(options: &Export) -> Result<(), UsageError> {
    let Export { out, force, bare, half, int8, .. } = options;
    if options.format != Format::Onnx && (*bare || *half || *int8) {
        return Err(UsageError("--bare, --half and --int8 are for --format onnx: remove them".into()));
    }
    let is_file = options.format == Format::Onnx;
    if is_file && out.is_dir() {
        return Err(UsageError(format!("{} is a directory: name a file, such as {}", out.display(), example(out))));
    }
    if !is_file && out.is_file() {
        return Err(UsageError(format!("{} is a file: name a directory", out.display())));
    }
    let is_taken = if is_file { out.exists() } else { fs::read_dir(out).is_ok_and(|mut files| files.next().is_some()) };
    if is_taken && !force {
        return Err(UsageError(format!("{} already exists: use --force or another --out", out.display())));
    }
    Ok(())
}

/// Writes a folder's files, the configuration last, and returns their bytes.
fn folder(options: &Export, files: &Files) -> Result<usize> {
    // --force replaces an earlier export and nothing else
    for entry in fs::read_dir(&options.out).into_iter().flatten() {
        let name = entry?.file_name();
        if files.iter().all(|(own, _)| name != *own) {
            let (out, name) = (options.out.display(), Path::new(&name).display());
            bail!("{out}: holds `{name}`, which is not part of such an export: choose another directory");
        }
    }
    for (name, content) in files.iter().rev() {
        write_atomically(&options.out.join(name), content)?;
    }
    Ok(files.iter().map(|(_, content)| content.len()).sum())
}

/// What the run around a model says about it; nothing for a model without one. Figures of a classifier that was changed
/// since are not its own.
fn facts(model: &Path) -> CardFacts {
    let runs = [Some(model), model.parent()].into_iter().flatten().filter(|path| RunRecord::is_run(path));
    let Some((path, run)) = runs.filter_map(|path| Some((path, RunRecord::open(path).ok()?))).next() else {
        return CardFacts::default();
    };
    let result = fs::read(path.join(RESULT)).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let options: Option<toml::Table> = run.config().parse().ok();
    let weights = options.as_ref().and_then(|options| options.get("weights")?.as_str());
    let known = weights.and_then(|path| KnownWeights::of_file(Path::new(path)).ok().flatten());
    let mut figures = result.as_ref().map(CardFacts::figures_of).unwrap_or_default();
    if is_revised(path) {
        let before = |figure| format!("Before its classes or labeled images were changed: {figure}");
        figures = figures.into_iter().map(before).collect();
    }
    CardFacts { figures, recipe: options.map(without_folders), license: known.and_then(|known| known.license) }
}

/// Options as TOML, of paths only the last part: a card is for others.
fn without_folders(options: toml::Table) -> String {
    let name = |text: &String| Path::new(text).file_name().map(|name| name.to_string_lossy().into_owned());
    let shortened = options.into_iter().map(|(key, value)| match &value {
        toml::Value::String(text) => (key, name(text).map_or(value.clone(), toml::Value::String)),
        _ => (key, value),
    });
    shortened.collect::<toml::Table>().to_string()
}

fn example(out: &Path) -> String {
    out.join("classifier.onnx").display().to_string()
}
