#![doc = include_str!("../README.md")]
#![allow(clippy::print_stdout, clippy::print_stderr)] // text is this program's output

mod args;
mod builtin;
mod chart;
mod classifier_report;
mod commands;
mod config;
mod data;
mod hints;
mod output;
mod report;
mod table;

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
    let arguments = match config::expand(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&error, 2),
    };
    let parsed = args::Cli::command().try_get_matches_from(arguments);
    let cli = match parsed.and_then(|matches| args::Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => match args::one_line(&error) {
            Some(line) => return fail(&args::UsageError(line).into(), 2),
            None => error.exit(),
        },
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<report::Interrupted>() => fail(&error, 130),
        Err(error) => fail(&error, if error.is::<args::UsageError>() { 2 } else { 1 }),
    }
}

/// One line, the whole chain of causes.
#[allow(clippy::print_stderr, reason = "where there may be no Output yet")]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    output::write(std::io::stderr(), format!("error: {}", hints::with_hint(error)));
    ExitCode::from(code)
}
