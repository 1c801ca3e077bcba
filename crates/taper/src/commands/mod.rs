//! One file per command.

mod adapt;
mod cache;
mod compare;
mod completions;
mod evaluate;
mod export;
mod features;
mod inspect;
mod man;
mod merge;
mod meta_train;
mod predict;
mod report;
#[cfg(feature = "serve")]
mod serve;
mod survey;
mod train;
mod watch;

use crate::args::{Cli, Command, CommonOptions, UsageError};
use crate::cluster::Cluster;
use crate::output::{Output, catch_interrupts};
use anyhow::Result;

/// Runs the command that the arguments name.
pub(crate) fn run(cli: Cli, cluster: &Cluster) -> Result<()> {
    let common = match &cli.command {
        Command::Compare(options) => &options.run.common,
        Command::Train(options) => &options.run.common,
        Command::MetaTrain(options) => &options.run.common,
        Command::Survey(options) => &options.run.common,
        Command::Adapt(options) => &options.common,
        Command::Evaluate(options) => &options.common,
        Command::Predict(options) => &options.common,
        Command::Export(options) => &options.common,
        #[cfg(feature = "serve")]
        Command::Serve(options) => &options.common,
        Command::Features(options) => &options.common,
        Command::Merge(options) => &options.common,
        Command::Inspect(options) => &options.common,
        Command::Cache(options) => &options.common,
        Command::Report(options) => &options.common,
        Command::Watch(options) => &options.common,
        Command::Completions(options) => &options.common,
        Command::Man(options) => &options.common,
    };
    check(common)?;
    let output = Output::new(common.json, cluster.ranks());
    let threads = cluster.threads(common.threads, &output)?;
    // the server's own threads compute
    #[cfg(feature = "serve")]
    if let Command::Serve(options) = &cli.command {
        return serve::run(options, threads, &output);
    }
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
        Command::Export(options) => export::run(&options, &output),
        #[cfg(feature = "serve")]
        Command::Serve(options) => serve::run(&options, threads, &output),
        Command::Features(options) => features::run(&options, &output),
        Command::Merge(options) => merge::run(&options, &output),
        Command::Inspect(options) => inspect::run(&options, &output),
        Command::Cache(options) => cache::run(&options, &output),
        Command::Report(options) => report::run(&options, &output),
        Command::Watch(options) => watch::run(&options, &output),
        Command::Completions(options) => completions::run(&options, &output),
        Command::Man(options) => man::run(&options, &output),
    })?
}

fn check(common: &CommonOptions) -> Result<()> {
    if common.device != "cpu" {
        return Err(UsageError("this build supports only the CPU: remove --device".into()).into());
    }
    Ok(())
}
