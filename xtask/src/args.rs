//! The command line of `cargo xtask`.

use crate::peers::Work;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Developers' tasks: fetch pretrained weights and data sets, check the workspace
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) chore: Chore,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chore {
    /// Check formatting, lints and docs, with warnings denied
    Ci,
    /// Run Miri, sanitizers, guards and stress tests on taper-ops; prints what it skips
    Soundness,
    FetchWeights(FetchWeights),
    FetchData(FetchData),
    LookAlikes(LookAlikes),
    Methods(Methods),
    MpiCheck(MpiCheck),
    Mutate(Mutate),
    PackLearner(PackLearner),
    Peers(Peers),
    Scaling(Scaling),
    #[command(hide = true)]
    PeersWork(PeersWork),
}

/// Print the guide's table: every method, on glyphs and on a data set of alphabets, at 1 and at 5 shots
///
/// Builds with --release first. After a stop, the same command resumes.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  cargo xtask methods images_background_small1.zip --out methods")]
pub(crate) struct Methods {
    /// A data set of alphabets, such as Omniglot's zip
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// The folder of the runs
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Check that runs shared by MPI processes have the bits of runs of one process, killed and resumed ones too
///
/// Builds the program with the feature `mpi`; prints `skipped` if there is no OpenMPI.
#[derive(Debug, Args)]
pub(crate) struct MpiCheck {
    /// Measure instead: two processes of one thread against one process of two threads
    #[arg(long)]
    pub(crate) efficiency: bool,
    /// Pairs of runs to measure
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Build with --release
    #[arg(long)]
    pub(crate) release: bool,
}

/// Damaged files of every kind through the readers: no panic, a line for every refusal, bounded memory
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  cargo xtask mutate --inputs 1000000
  cargo xtask mutate --first 4711 --inputs 1")]
pub(crate) struct Mutate {
    /// Number of damaged files
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) inputs: u64,
    /// Number of the first file: a fault names its file's number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) first: u64,
    /// Seed of the damage
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Compare Taper's speed with that of PyTorch and ONNX Runtime: the same work alternately, the best of several rounds each
///
/// Builds with --release first. Nothing else should run on the machine.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cargo xtask peers --python venv/bin/python --scripts ../shared/peers
  cargo xtask peers --python venv/bin/python --scripts ../shared/peers --only maml-1-step --rounds 5 --json")]
pub(crate) struct Peers {
    /// A Python with torch, torchvision, timm, onnx, onnxruntime, openvino and pillow, or what the chosen works need
    #[arg(long)]
    pub(crate) python: PathBuf,
    /// The folder of the PyTorch programs (torch_maml.py and its siblings)
    #[arg(long, value_name = "DIR")]
    pub(crate) scripts: PathBuf,
    /// Only this work, such as maml-1-step; may be given more than once
    #[arg(long, value_name = "WORK", value_delimiter = ',')]
    pub(crate) only: Vec<Work>,
    /// Rounds, each with both programs
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Seconds that each program is timed per round, after one warm-up call
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    /// Threads of each program
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// Print one line of JSON at the end
    #[arg(long)]
    pub(crate) json: bool,
}

/// Taper's part of one work, which `peers` runs in a separate process
#[derive(Debug, Args)]
pub(crate) struct PeersWork {
    pub(crate) work: Work,
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// What the work reads
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

/// Fetch pretrained weights from the Hugging Face hub by the names in crates/taper-models/catalog/weights.toml
///
/// Files go to the hub's shared cache, so files that `transformers` or `timm` have fetched are not
/// fetched again. A file gets its final name only after its length and SHA-256 have been checked; one
/// that fails is kept as `….rejected`, which nothing loads. An interrupted download resumes where
/// it stopped, in this run or the next. If crates/taper-models/catalog/weights.toml has no hash, the file is reported
/// as unverified, with the lines that pin it.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cargo xtask fetch-weights --list
  cargo xtask fetch-weights resnet18 efficientnet-lite0
  cargo xtask fetch-weights resnet50.tv_in1k --pin
  cargo xtask fetch-weights dinov2-small --to weights
  HF_HUB_OFFLINE=1 cargo xtask fetch-weights --all

Environment:
  HF_ENDPOINT      another hub, such as a mirror [default: https://huggingface.co]
  HF_TOKEN         for repositories that ask for one; HF_TOKEN_PATH and $HF_HOME/token work too
  HF_HOME          [default: ~/.cache/huggingface]
  HF_HUB_CACHE     [default: $HF_HOME/hub]
  HF_HUB_OFFLINE   1: use only the cache, never the network")]
pub(crate) struct FetchWeights {
    /// Names as --list prints them, such as resnet18 or dinov2-small
    #[arg(value_name = "NAME", required_unless_present_any = ["list", "all"])]
    pub(crate) names: Vec<String>,
    /// Show every name with its size and license, and whether it is here already
    #[arg(long, conflicts_with_all = ["all", "pin", "to"])]
    pub(crate) list: bool,
    /// Fetch every name that is on the hub
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// A branch, tag or commit instead of the one in crates/taper-models/catalog/weights.toml, whose hashes are then ignored
    #[arg(long, value_name = "REVISION")]
    pub(crate) revision: Option<String>,
    /// Copy the files into DIR/NAME as well
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Write commit, length and SHA-256 of what was fetched into crates/taper-models/catalog/weights.toml
    #[arg(long)]
    pub(crate) pin: bool,
    /// The list of weights
    #[arg(long, value_name = "FILE", default_value_os_t = in_workspace("crates/taper-models/catalog/weights.toml"), hide = true)]
    pub(crate) manifest: PathBuf,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// Fetch a data set over HTTPS and check its SHA-256
///
/// The file gets its final name only after its length and hash have been checked; one that fails is
/// kept as `….rejected`, which nothing loads. An interrupted download resumes where it stopped.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cargo xtask fetch-data omniglot
  cargo xtask fetch-data omniglot --to ~/data
  cargo xtask fetch-data omniglot --from https://mirror.example/images_background_small1.zip

A zip needs no unpacking: cargo run --release -- compare data/downloads/images_background_small1.zip")]
pub(crate) struct FetchData {
    /// Which data set
    pub(crate) name: DataName,
    /// Another address of the same file; its hash is still checked
    #[arg(long, value_name = "URL")]
    pub(crate) from: Option<String>,
    /// The folder to put it in [default: data/downloads]
    #[arg(long, value_name = "DIR", default_value_os_t = in_workspace("data/downloads"), hide_default_value = true)]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) patience: Patience,
}

/// Data sets that can be fetched.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DataName {
    /// Omniglot's small background set 1: 5 alphabets, 146 characters, 2,920 drawings, 1.3 MB
    Omniglot,
}

/// Print the guide's table of a training step on up to 1,024 processes, by a model with measured constants
///
/// With --check, prints measured times per item, and steps of Conv4-64 on 1, 2 and 4 processes of this machine next to
/// what the model predicts. Nothing else should run on the machine. Prints `skipped` if there is no OpenMPI.
#[derive(Debug, Args)]
pub(crate) struct Scaling {
    /// Measure on this machine instead
    #[arg(long)]
    pub(crate) check: bool,
    /// Rounds to measure; the fastest counts
    #[arg(long, value_name = "N", default_value_t = 5, requires = "check")]
    pub(crate) rounds: usize,
    /// The program, built with the feature `mpi` [default: build it with --release]
    #[arg(long, value_name = "FILE", requires = "check")]
    pub(crate) program: Option<PathBuf>,
}

/// Write look-alikes of Lake's Omniglot challenge: what `taper evaluate --protocol lake` scores
///
/// Each run has 20 characters of one alphabet, with one drawing of each as support set and another
/// person's as query. The defaults are "LA3", the runs that this repository's figures are measured
/// on; choices are made on other alphabets. Never train on what you test on.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cargo xtask look-alikes images_background_small1.zip --out LA3
  cargo xtask look-alikes images_background_small1.zip --alphabets Greek,Latin --out choose
  cargo xtask look-alikes images_background_small1.zip --drawers typical --out LA3-typical")]
pub(crate) struct LookAlikes {
    /// A data set of alphabets, such as images_background_small1.zip
    pub(crate) data: PathBuf,
    /// The alphabets
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "Balinese,Early_Aramaic,Korean")]
    pub(crate) alphabets: Vec<String>,
    /// Runs of each alphabet
    #[arg(long, default_value_t = 20)]
    pub(crate) runs: usize,
    /// Whose drawings a run takes
    #[arg(long, value_enum, default_value_t = DrawersName::Random)]
    pub(crate) drawers: DrawersName,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The folder to write run01 and so on into
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Whose drawings a look-alike run takes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DrawersName {
    /// Two at random, different for each run
    Random,
    /// The two of each alphabet whose drawings are closest to the others'
    Typical,
}

/// Pack a trained learner, in half precision, as the built-in learner for line drawings
///
/// The same run gives the same bytes; docs/guide/drawings.md has their SHA-256.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cargo run --release -- meta-train --config data/configs/lake-glyphs.toml --out runs/lake-glyphs
  cargo xtask pack-learner runs/lake-glyphs")]
pub(crate) struct PackLearner {
    /// The run, or its model directory
    pub(crate) run: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value_os_t = in_workspace("crates/taper-compare/learner/drawings.safetensors"))]
    pub(crate) to: PathBuf,
}

/// How long to wait for a server, and how often to retry.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Patience {
    /// Seconds without data before a connection is dropped
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Retries after a broken, silent or overloaded connection
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) retries: u32,
    /// Seconds before the first retry, doubled before each further one
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds, hide = true)]
    pub(crate) backoff: Duration,
}

/// A path below the workspace's root, wherever the program was called.
pub(crate) fn in_workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(path)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn weights_are_fetched_only_by_name_or_all() {
        assert!(Arguments::try_parse_from(["xtask", "fetch-weights"]).is_err());
        assert!(Arguments::try_parse_from(["xtask", "fetch-weights", "--all", "resnet18"]).is_err());
        assert!(Arguments::try_parse_from(["xtask", "fetch-weights", "resnet18"]).is_ok());
        assert!(Arguments::try_parse_from(["xtask", "fetch-weights", "resnet18", "--timeout", "-1"]).is_err());
    }
}
