//! Developers' tasks: `cargo xtask --help`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to people")]

mod args;
mod cache;
mod ci;
mod data;
mod digest;
mod fault;
mod fetch;
mod hub;
mod look_alikes;
mod manifest;
mod methods;
mod mpi_check;
mod mutate;
mod pack_learner;
mod peers;
mod program;
mod progress;
mod scaling;
mod soundness;
mod source;
mod weights;

use args::{Arguments, Chore};
use clap::Parser;
use std::process::ExitCode;

/// The allocator of the program whose speed `peers` measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // SAFETY: the first statement of main, before any thread exists.
    #[allow(unsafe_code)]
    unsafe {
        taper_ops::configure_process();
    }
    let done = match Arguments::parse().chore {
        Chore::Ci => ci::run(),
        Chore::FetchWeights(asked) => weights::run(&asked),
        Chore::FetchData(asked) => data::run(&asked),
        Chore::LookAlikes(asked) => look_alikes::run(&asked),
        Chore::Methods(asked) => methods::run(&asked),
        Chore::MpiCheck(asked) => mpi_check::run(&asked),
        Chore::Mutate(asked) => mutate::run(&asked),
        Chore::Peers(asked) => peers::run(&asked),
        Chore::PeersWork(asked) => peers::run_work(&asked),
        Chore::Scaling(asked) => scaling::run(&asked),
        Chore::Soundness => soundness::run(),
        Chore::PackLearner(asked) => pack_learner::run(&asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            ExitCode::FAILURE
        }
    }
}
