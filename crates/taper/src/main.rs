//! The command line: arguments in, library calls, words out.

#![allow(clippy::print_stdout, clippy::print_stderr)] // words are this program's output

mod args;
mod commands;
mod config;
mod course;
mod data;
mod drawings;
mod output;
mod pretrained;
mod registry;
mod stage;
mod table;
mod verdict;

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
    let parsed = args::Cli::command().try_get_matches_from(arguments).and_then(|matches| {
        let cli = args::Cli::from_arg_matches(&matches)?;
        Ok((cli, config::text(&matches)))
    });
    let (cli, config) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => match args::one_line(&error) {
            Some(line) => return fail(&args::Usage(line).into(), 2),
            None => error.exit(),
        },
    };
    match commands::run(cli, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Stopped>() => fail(&error, 130),
        Err(error) => fail(&error, if error.is::<args::Usage>() { 2 } else { 1 }),
    }
}

/// One line, the whole chain of causes.
#[allow(clippy::print_stderr, reason = "where there may be no Output yet")]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    output::write(std::io::stderr(), format!("error: {error:#}").replace('\n', " "));
    ExitCode::from(code)
}
