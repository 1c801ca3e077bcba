//! The command line: arguments in, library calls, words out.

mod args;
mod commands;
mod config;
mod data;
mod learner;
mod output;
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
    let matches = args::Cli::command().get_matches_from(arguments);
    let cli = match args::Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let config = config::text(&matches);
    match commands::run(cli, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Stopped>() => fail(&error, 130),
        Err(error) => fail(&error, if error.is::<args::Usage>() { 2 } else { 1 }),
    }
}

/// One line, the whole chain of causes.
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {}", format!("{error:#}").replace('\n', " "));
    ExitCode::from(code)
}
