//! `taper export`: a classifier for other programs.

use crate::args::{Export, Format, UsageError};
use crate::output::Output;
use crate::report::{RESULT, result_json, with};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Instant;
use taper_export::{CARD, CardFacts, Files, OnnxOptions, Precision, is_card, onnx, timm, transformers};
use taper_learn::{
    Model,
    runs::{RunRecord, write_atomically, write_directory},
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
            note_missing_outputs(&model, precision, output);
            bytes.len()
        }
        Format::Timm => folder(options, &timm(&model, &facts(&options.model, &model)).with_context(about)?)?,
        Format::Transformers => {
            folder(options, &transformers(&model, &facts(&options.model, &model)).with_context(about)?)?
        }
    };
    let out = options.out.display();
    let megabytes = written as f64 / 1e6;
    let classes = model.labels.len();
    output.line(format!("wrote {} of {classes} classes to {out} ({megabytes:.1} MB)", model.network.backbone().name()));
    let result = result_json("export", start.elapsed().as_secs_f64(), Vec::new(), Some(&options.out));
    output.event(&with(result, json!({"bytes": written})));
    Ok(())
}

/// Says why an ONNX file can't tell how far its answers are to be trusted.
fn note_missing_outputs(model: &Model, precision: Precision, output: &Output) {
    let held_out = model.support.as_ref().and_then(|support| support.held_out.as_ref());
    let why = if precision == Precision::Int8 {
        "the rates that they promise were measured with 32-bit weights"
    } else if held_out.is_none_or(|held_out| held_out.is_empty()) {
        "the classifier keeps no images that were held out; `taper train` and `taper adapt` keep some if each class has two"
    } else if held_out.is_some_and(|held_out| !held_out.tells_foreign()) {
        return output
            .note("the file has no output `familiarity`: a class was removed from a network that had learned it");
    } else {
        return;
    };
    output.note(format!("the file has no outputs `familiarity` and `p_values`: {why}"));
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
    if is_file && out.exists() && !out.is_file() {
        return Err(UsageError(format!("{} is not a regular file: name another", out.display())));
    }
    if replaces_model(&options.model, out) {
        return Err(UsageError(format!(
            "{} belongs to the model that is exported: choose another place",
            out.display()
        )));
    }
    let is_taken = if is_file { out.exists() } else { fs::read_dir(out).is_ok_and(|mut files| files.next().is_some()) };
    if is_taken && !force {
        return Err(UsageError(format!("{} already exists: use --force or another --out", out.display())));
    }
    Ok(())
}

/// Whether a file or folder is the model itself, or one of its files.
fn replaces_model(model: &Path, out: &Path) -> bool {
    let Ok(out) = out.canonicalize() else { return false };
    let places = [model.to_path_buf(), model.join("model")].into_iter().filter_map(|path| path.canonicalize().ok());
    places.into_iter().any(|place| out == place || out.parent() == Some(&place) && out.is_file())
}

/// Writes a folder's files, all or none, and returns their bytes.
fn folder(options: &Export, files: &Files) -> Result<usize> {
    // --force replaces an earlier export and nothing else
    let names: Vec<OsString> = match fs::read_dir(&options.out) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?,
        Err(_) => Vec::new(),
    };
    for name in &names {
        if files.iter().all(|(own, _)| name != *own) {
            let (out, name) = (options.out.display(), Path::new(&name).display());
            bail!("{out}: holds `{name}`, which is not part of such an export: choose another directory");
        }
    }
    let card = fs::read_to_string(options.out.join(CARD)).unwrap_or_default();
    if !names.is_empty() && !is_card(&card) {
        let out = options.out.display();
        bail!("{out}: its files were not exported by Taper: choose another directory");
    }
    write_directory(&options.out, files)?;
    Ok(files.iter().map(|(_, content)| content.len()).sum())
}

/// What the run that a model belongs to says about it; nothing for a model without one. Figures of a classifier that was
/// changed since are not its own.
fn facts(path: &Path, model: &Model) -> CardFacts {
    // another model in a run's directory is not the run's
    let around = path.parent().filter(|_| path.file_name().is_some_and(|name| name == "model"));
    let runs = [Some(path), around].into_iter().flatten().filter(|path| RunRecord::is_run(path));
    let Some((path, run)) = runs.filter_map(|path| Some((path, RunRecord::open(path).ok()?))).next() else {
        return CardFacts::default();
    };
    let result = fs::read(path.join(RESULT)).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let options: Option<toml::Table> = run.config().parse().ok();
    let weights = options.as_ref().and_then(|options| options.get("weights")?.as_str());
    let known = weights.and_then(|path| KnownWeights::of_file(Path::new(path)).ok().flatten());
    let mut figures = result.as_ref().map(CardFacts::figures_of).unwrap_or_default();
    if model.origin.revised {
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
