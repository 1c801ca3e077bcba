//! JSON results, run directories, and how a command ends.

use crate::args::{InputPath, RunOptions, UsageError};
use crate::cluster::data_fingerprint;
use crate::output::Output;
use crate::{config, data};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use taper_compare::CompareError;
use taper_data::{Dataset, Hash};
use taper_learn::{
    Evaluation, LearnError, Model, RunDirectory,
    runs::{Existing, read_if_there, write_atomically},
};
use taper_transfer::TransferError;

/// The file of a run with the fingerprint of its data.
const DATA: &str = "data.txt";

/// The file of a run with the fingerprints of the weights and learners that it starts from.
const WEIGHTS: &str = "weights.txt";

/// What a run is made from.
pub(crate) struct Sources<'a> {
    pub(crate) data: &'a [&'a dyn Dataset],
    pub(crate) weights: Vec<&'a InputPath>,
}

/// The directory of a run on these data: a new one, an earlier one to resume, or none. Of processes that share a job only
/// rank 0 has one.
pub(crate) fn run_directory<T: Serialize>(
    command: &str,
    options: &T,
    run: &RunOptions,
    sources: &Sources,
    output: &Output,
) -> Result<Option<RunDirectory>> {
    if !output.ranks().writes() {
        return Ok(None);
    }
    let config = config::written(command, options)?;
    match (&run.resume, &run.out) {
        (Some(_), Some(_)) => Err(UsageError("--resume writes to the run's own directory: remove --out".into()).into()),
        (Some(path), None) => {
            let run = RunDirectory::open(path)?;
            if run.config() != config {
                let path = path.display();
                return Err(UsageError(format!("--resume {path} uses its own options: remove the others")).into());
            }
            if is_revised(path) {
                let problem = "its classifier was changed by `taper adapt`, and resuming the run would undo that";
                bail!("{}: {problem}: train anew with another --out", path.display());
            }
            check_sources(&run, sources)?;
            Ok(Some(run))
        }
        (None, Some(path)) => {
            let run = RunDirectory::create(path, &config, existing(run.force))?;
            check_sources(&run, sources)?;
            Ok(Some(run))
        }
        (None, None) if run.tensorboard => {
            Err(UsageError("--tensorboard writes event files into a run: add --out".into()).into())
        }
        (None, None) => Ok(None),
    }
}

/// Notes what a run begins with. Fails if it began with other images, labels or weights than these: what it has learned and
/// scored would not be theirs. Earlier versions noted less.
fn check_sources(run: &RunDirectory, sources: &Sources) -> Result<()> {
    let data = sources.data.iter().map(|dataset| Ok(data_fingerprint(*dataset)? + "\n")).collect::<Result<String>>()?;
    check_same(run, DATA, &data, "images or labels")?;
    let weights = sources.weights.iter().map(|given| Ok(content(data::weights(given)?.path())? + "\n"));
    check_same(run, WEIGHTS, &weights.collect::<Result<String>>()?, "weights")
}

/// The fingerprint of a file, or those of the weights in a folder and in folders there, and of what says which is current.
fn content(path: &Path) -> Result<String> {
    const WEIGHTS: [&str; 5] = ["safetensors", "bin", "pt", "pth", "th"];
    let failed = || path.display().to_string();
    if !path.is_dir() {
        return Ok(Hash::of(&std::fs::read(path).with_context(failed)?).to_string());
    }
    let entries = std::fs::read_dir(path).with_context(failed)?;
    let mut inside =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(failed)?;
    let ending = |file: &Path| file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let is_weights = |file: &Path| ending(file).is_some_and(|ending| WEIGHTS.contains(&&*ending));
    inside.retain(|file| file.is_dir() || is_weights(file) || path.ends_with("refs"));
    inside.sort();
    Ok(inside.iter().map(|file| content(file)).collect::<Result<Vec<_>>>()?.concat())
}

/// Notes `now` in a file of the run; fails if something else is noted there.
fn check_same(run: &RunDirectory, file: &str, now: &str, what: &str) -> Result<()> {
    let file = run.file(file)?;
    match read_if_there(&file)? {
        None => Ok(write_atomically(&file, now.as_bytes())?),
        Some(before) if before == now.as_bytes() => Ok(()),
        Some(_) => {
            let path = run.path().display();
            bail!("{path}: its {what} have changed since it began: put them back, or begin anew with another --out")
        }
    }
}

/// Whether the classifier of a run was changed since, so that the run's figures are not the classifier's.
pub(crate) fn is_revised(run: &Path) -> bool {
    Model::load(run).is_ok_and(|model| model.origin.revised)
}

/// Fails if a part of a job would be kept nowhere.
pub(crate) fn needs_out(run: &RunOptions) -> Result<(), UsageError> {
    match run.out.is_some() || run.resume.is_some() {
        true => Ok(()),
        false => Err(UsageError("--shard needs a place for its part: give --out".into())),
    }
}

/// What to do with an earlier run or model.
pub(crate) fn existing(force: bool) -> Existing {
    if force { Existing::Replace } else { Existing::Refuse }
}

/// The user stopped the run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Interrupted(String);

/// An error of a library; if the user stopped it, with how to resume.
pub(crate) fn stopped_or_failed(error: impl Into<anyhow::Error>, run: Option<&RunDirectory>) -> anyhow::Error {
    let error = error.into();
    let stopped = |error: &LearnError| matches!(error, LearnError::Stopped { .. });
    let was_stopped = match error.downcast_ref::<CompareError>() {
        Some(CompareError::Learn(error)) => stopped(error),
        _ => match error.downcast_ref::<TransferError>() {
            Some(TransferError::Learn(error)) => stopped(error),
            _ => error.downcast_ref().is_some_and(stopped),
        },
    };
    if !was_stopped {
        return error;
    }
    let hint = match run {
        Some(run) => format!("saved; resume with --resume {}", run.path().display()),
        None => "nothing was saved: use --out next time".to_string(),
    };
    Interrupted(format!("{error}, {hint}")).into()
}

/// One method's entry in a result event.
pub(crate) fn method_json(name: &str, kind: &str, evaluation: &Evaluation, train_seconds: f64) -> Value {
    let accuracy = evaluation.accuracy();
    json!({
        "name": name, "kind": kind, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
        "train_seconds": train_seconds, "adapt_seconds": evaluation.cost.adapt_seconds,
        "predict_seconds": evaluation.cost.predict_seconds, "episodes": evaluation.accuracies.len(),
    })
}

/// The file of a run directory that holds its result.
pub(crate) const RESULT: &str = "result.json";

/// The last line of every JSON output.
pub(crate) fn result_json(command: &str, seconds: f64, methods: Vec<Value>, out: Option<&Path>) -> Value {
    json!({"event": "result", "command": command, "seconds": seconds, "methods": methods, "out": out})
}

/// A result with more facts in it.
pub(crate) fn with(mut result: Value, facts: Value) -> Value {
    if let (Value::Object(result), Value::Object(facts)) = (&mut result, facts) {
        result.extend(facts);
    }
    result
}
