//! The command line of `cargo xtask`.

use crate::peers::Work;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Developers' chores: fetch pretrained weights and data sets, check the workspace
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) chore: Chore,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Chore {
    /// Format, lints and docs, warnings denied
    Ci,
    /// Miri, sanitizers, guards and stress tests of taper-ops; says what it skips
    Soundness,
    FetchWeights(FetchWeights),
    FetchData(FetchData),
    LookAlikes(LookAlikes),
    Methods(Methods),
    Mutate(Mutate),
    PackLearner(PackLearner),
    Peers(Peers),
    #[command(hide = true)]
    PeersWork(PeersWork),
}

/// The guide's table: every method, on glyphs and on a data set of alphabets, at 1 and at 5 shots
///
/// Builds with --release first. Stopped, the same command goes on where it stood.
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

/// Damaged files of every kind through the readers: no panic, a line for every refusal, bounded memory
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  cargo xtask mutate --inputs 100000")]
pub(crate) struct Mutate {
    /// Number of damaged files
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) inputs: u64,
    /// Seed of the damage
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The most memory that the process may hold, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub(crate) memory: u64,
}

/// Measure Taper beside PyTorch: the same work in turn, the best of several rounds on both sides
///
/// Builds with --release first. Nothing else should run on the machine.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cargo xtask peers --python venv/bin/python --scripts ../shared/peers
  cargo xtask peers --python venv/bin/python --scripts ../shared/peers --only maml-1-step --rounds 5 --json")]
pub(crate) struct Peers {
    /// A Python with torch and torchvision
    #[arg(long)]
    pub(crate) python: PathBuf,
    /// The folder of the PyTorch programs (torch_maml.py and its siblings)
    #[arg(long, value_name = "DIR")]
    pub(crate) scripts: PathBuf,
    /// These works alone, such as maml-1-step; may be given more than once
    #[arg(long, value_name = "WORK", value_delimiter = ',')]
    pub(crate) only: Vec<Work>,
    /// Rounds of both sides in turn
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Seconds that one side is timed in a round, after one call to warm up
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    /// Threads on both sides
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
    /// End with one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Taper's side of one work, which `peers` runs in a process of its own
#[derive(Debug, Args)]
pub(crate) struct PeersWork {
    pub(crate) work: Work,
    #[arg(long, default_value_t = 4.0)]
    pub(crate) seconds: f64,
    #[arg(long, default_value_t = 2)]
    pub(crate) threads: usize,
}

/// Fetch pretrained weights from the Hugging Face hub by the names in crates/taper-models/catalog/weights.toml
///
/// Files land in the hub's shared cache, so nothing that `transformers` or `timm` has fetched is
/// fetched again. A file takes its final name only after its length and SHA-256 are right; a
/// wrong one is kept aside as `….rejected`, which nothing loads. A broken transfer goes on where
/// it stopped, in this run or the next. Where crates/taper-models/catalog/weights.toml has no hash, the file is reported
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
  HF_HUB_OFFLINE   1: look into the cache only, never at the network")]
pub(crate) struct FetchWeights {
    /// Names as --list prints them, such as resnet18 or dinov2-small
    #[arg(value_name = "NAME", required_unless_present_any = ["list", "all"])]
    pub(crate) names: Vec<String>,
    /// Show every name with its size and license, and whether it is here already
    #[arg(long, conflicts_with_all = ["all", "pin", "to"])]
    pub(crate) list: bool,
    /// Fetch every name that lies on the hub
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// A branch, tag or commit instead of the one in crates/taper-models/catalog/weights.toml, whose hashes then don't count
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

/// Fetch a data set over HTTPS, its SHA-256 checked
///
/// The file takes its final name only after its length and hash are right; a wrong one is kept
/// aside as `….rejected`, which nothing loads. A broken transfer goes on where it stopped.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  cargo xtask fetch-data omniglot
  cargo xtask fetch-data omniglot --to ~/data
  cargo xtask fetch-data omniglot --from https://mirror.example/images_background_small1.zip

A zip is used as it is: cargo run --release -- compare data/downloads/images_background_small1.zip")]
pub(crate) struct FetchData {
    /// Which data set
    pub(crate) name: DataName,
    /// Another address of the same file; its hash is checked all the same
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

/// Write look-alikes of Lake's Omniglot challenge: what `taper evaluate --protocol lake` scores
///
/// Each run has 20 characters of one alphabet, one drawing of each to learn from and another
/// person's to name. The defaults are "LA3", the runs that this repository's figures are measured
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
    /// Everything random follows from this number
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// The folder to write run01 and so on into
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Whose drawings a look-alike run takes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum DrawersName {
    /// Two by chance, others for each run
    Random,
    /// The two of each alphabet whose drawings lie nearest the others'
    Typical,
}

/// Pack a trained learner, in half precision, as the one that the program carries for line drawings
///
/// The same run gives the same bytes; their SHA-256 stands in docs/guide/drawings.md.
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

/// How long to wait for a server, and how often to ask again.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Patience {
    /// Seconds without a byte after which a connection is given up
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// How often to try again after a broken, silent or overloaded connection
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
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no number of seconds"))
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
