//! One file per command.

mod adapt;
mod cache;
mod compare;
mod evaluate;
mod features;
mod inspect;
mod meta_train;
mod predict;
mod survey;
mod train;

use crate::args::{Cli, Command, CommonOptions, UsageError};
use crate::output::{Output, catch_interrupts};
use anyhow::Result;

/// Runs the command that the arguments name.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let common = match &cli.command {
        Command::Compare(options) => &options.run.common,
        Command::Train(options) => &options.run.common,
        Command::MetaTrain(options) => &options.run.common,
        Command::Survey(options) => &options.run.common,
        Command::Adapt(options) => &options.common,
        Command::Evaluate(options) => &options.common,
        Command::Predict(options) => &options.common,
        Command::Features(options) => &options.common,
        Command::Inspect(options) => &options.common,
        Command::Cache(options) => &options.common,
    };
    check(common)?;
    let output = Output::new(common.json);
    let threads = common.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if matches!(
        cli.command,
        Command::Compare(_) | Command::Train(_) | Command::MetaTrain(_) | Command::Survey(_) | Command::Features(_)
    ) {
        catch_interrupts()?;
    }
    taper_ops::in_pool(threads, || match cli.command {
        Command::Compare(options) => compare::run(&options, &output),
        Command::Train(options) => train::run(&options, &output),
        Command::MetaTrain(options) => meta_train::run(&options, &output),
        Command::Survey(options) => survey::run(&options, &output),
        Command::Adapt(options) => adapt::run(&options, &output),
        Command::Evaluate(options) => evaluate::run(&options, &output),
        Command::Predict(options) => predict::run(&options, &output),
        Command::Features(options) => features::run(&options, &output),
        Command::Inspect(options) => inspect::run(&options, &output),
        Command::Cache(options) => cache::run(&options, &output),
    })?
}

fn check(common: &CommonOptions) -> Result<()> {
    if common.device != "cpu" {
        return Err(UsageError("this build supports only the CPU: remove --device".into()).into());
    }
    Ok(())
}
