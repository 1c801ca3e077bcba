//! One file a command.

mod adapt;
mod cache;
mod compare;
mod evaluate;
mod inspect;
mod lake;
mod meta_train;
mod predict;
mod survey;
mod train;

use crate::args::{Cli, Command, CommonOptions, DeviceName, RunOptions, Usage};
use crate::output::{Output, catch_interrupts};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;
use taper_learn::{Evaluation, RunDirectory};

/// Does what the arguments say; `config` is what a run writes down of them.
pub(crate) fn run(cli: Cli, config: String) -> Result<()> {
    let common = match &cli.command {
        Command::Compare(options) => &options.run.common,
        Command::Train(options) => &options.run.common,
        Command::MetaTrain(options) => &options.run.common,
        Command::Survey(options) => &options.run.common,
        Command::Adapt(options) => &options.common,
        Command::Evaluate(options) => &options.common,
        Command::Predict(options) => &options.common,
        Command::Inspect(options) => &options.common,
        Command::Cache(options) => &options.common,
    };
    check(common)?;
    let output = Output::new(common.json);
    let threads = common.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if matches!(cli.command, Command::Compare(_) | Command::Train(_) | Command::MetaTrain(_) | Command::Survey(_)) {
        catch_interrupts()?;
    }
    taper_ops::in_pool(threads, || match cli.command {
        Command::Compare(options) => compare::run(&options, &config, &output),
        Command::Train(options) => train::run(&options, &config, &output),
        Command::MetaTrain(options) => meta_train::run(&options, &config, &output),
        Command::Survey(options) => survey::run(&options, &config, &output),
        Command::Adapt(options) => adapt::run(&options, &output),
        Command::Evaluate(options) => evaluate::run(&options, &output),
        Command::Predict(options) => predict::run(&options, &output),
        Command::Inspect(options) => inspect::run(&options, &output),
        Command::Cache(options) => cache::run(&options, &output),
    })?
}

fn check(common: &CommonOptions) -> Result<()> {
    if common.device != DeviceName::Cpu {
        return Err(Usage("this build computes on the CPU alone, leave out --device".into()).into());
    }
    Ok(())
}

/// The run's directory: a new one, an earlier one to go on with, or none.
fn run_directory(options: &RunOptions, config: &str) -> Result<Option<RunDirectory>> {
    match (&options.resume, &options.out) {
        (Some(_), Some(_)) => Err(Usage("--resume goes on in the run's own directory: leave out --out".into()).into()),
        (Some(path), None) => {
            let run = RunDirectory::open(path)?;
            if run.config() != config {
                return Err(Usage(format!(
                    "--resume {} goes on with its own options: leave out the others",
                    path.display()
                ))
                .into());
            }
            Ok(Some(run))
        }
        (None, Some(path)) => Ok(Some(RunDirectory::create(path, config, options.force)?)),
        (None, None) => Ok(None),
    }
}

/// One method's entry in a result event.
fn method_json(name: &str, kind: &str, evaluation: &Evaluation, train_seconds: f64) -> Value {
    let accuracy = evaluation.accuracy();
    json!({
        "name": name, "kind": kind, "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
        "train_seconds": train_seconds, "adapt_seconds": evaluation.cost.adapt_seconds,
        "predict_seconds": evaluation.cost.predict_seconds, "episodes": evaluation.accuracies.len(),
    })
}

/// The last line of every JSON output.
fn result_json(command: &str, seconds: f64, methods: Vec<Value>, out: Option<&PathBuf>) -> Value {
    json!({"event": "result", "command": command, "seconds": seconds, "methods": methods, "out": out})
}

/// A result with more facts in it.
fn with(mut result: Value, facts: Value) -> Value {
    if let (Value::Object(result), Value::Object(facts)) = (&mut result, facts) {
        result.extend(facts);
    }
    result
}

/// `61.3 ± 1.2` per cent.
fn percent(interval: taper_learn::Interval) -> String {
    format!("{:.1} ± {:.1}", interval.mean * 100.0, interval.margin() * 100.0)
}
