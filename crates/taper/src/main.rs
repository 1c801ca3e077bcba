#![doc = include_str!("../README.md")]
#![allow(clippy::print_stdout, clippy::print_stderr)] // text is this program's output

mod args;
mod builtin;
mod chart;
mod classifier_report;
mod cluster;
mod commands;
mod config;
mod data;
mod explanation;
mod hints;
mod live;
mod output;
mod page;
mod replaceable;
mod report;
mod results;
mod run_log;
mod table;
mod tensorboard;

use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // SAFETY: the first statement of main, before any thread exists.
    #[allow(unsafe_code)]
    unsafe {
        taper_ops::configure_process();
    }
    let alone = cluster::Cluster::alone();
    let arguments = match config::expand(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&alone, &error, 2),
    };
    let parsed = args::Cli::command().try_get_matches_from(&arguments);
    let cli = match parsed.and_then(|matches| args::Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => match args::one_line(&error) {
            Some(line) => return fail(&alone, &args::UsageError(line).into(), 2),
            None => error.exit(),
        },
    };
    let code = |error: &anyhow::Error| match () {
        () if error.is::<report::Interrupted>() => 130,
        () if error.is::<args::UsageError>() => 2,
        () => 1,
    };
    let cluster = match alone.join(&cli, &arguments) {
        Ok(cluster) => cluster,
        Err((alone, error)) => return fail(&alone, &error, code(&error)),
    };
    match commands::run(cli, &cluster) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&cluster, &error, code(&error)),
    }
}

/// One line, the whole chain of causes.
#[allow(clippy::print_stderr, reason = "where there may be no Output yet")]
fn fail(cluster: &cluster::Cluster, error: &anyhow::Error, code: u8) -> ExitCode {
    cluster.fail(code, |rank| {
        let rank = rank.map(|rank| format!("rank {rank}: ")).unwrap_or_default();
        output::write(std::io::stderr(), format!("{} {rank}{}", output::error_mark(), hints::with_hint(error)));
    })
}
