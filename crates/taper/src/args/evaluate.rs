//! Options of `taper evaluate`.

use super::shard::Shard;
use super::shared::{CommonOptions, LabelOptions, TaskOptions, ViewsOptions, WeightOptions};
use super::values::InputPath;
use clap::{Args, ValueEnum};
use serde::{Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Evaluate {
    /// A model directory, the --out directory of a run, or a weight file that is recognized
    pub(crate) model: InputPath,
    /// A data set, or with --protocol lake the folder or zip of its runs [default: the built-in glyphs]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<InputPath>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) labels: LabelOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Tasks to score a learner on: their number, or a file from --save-episodes
    #[arg(long, default_value = "600")]
    pub(crate) episodes: Episodes,
    /// Write the tasks to a file that names images by the hash of their content
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) save_episodes: Option<PathBuf>,
    /// Include classes that the learner was trained or chosen on
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) trained_classes: bool,
    /// Include images that the classifier was trained on
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) trained_images: bool,
    /// Score by a published protocol instead of on sampled tasks
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<Protocol>,
    /// Score only part I of N, and write it to --out; `taper merge` puts the parts together
    #[arg(long, value_name = "I/N", requires = "out")]
    #[serde(skip)]
    pub(crate) shard: Option<Shard>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) weights: WeightOptions,
    /// Where to write the report and the options, or with --shard the part; without it, nothing is saved
    #[arg(long, value_name = "PATH")]
    #[serde(skip)]
    pub(crate) out: Option<PathBuf>,
    /// Overwrite the run in --out
    #[arg(long, conflicts_with = "shard")]
    #[serde(skip)]
    pub(crate) force: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonOptions,
}

/// Which tasks.
#[derive(Clone)]
pub(crate) enum Episodes {
    /// This many, sampled with the seed.
    Drawn(u64),
    /// The tasks of a file.
    Written(PathBuf),
}

impl FromStr for Episodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Err("0 tasks measure nothing: use 200".into()),
            Ok(count) => Ok(Self::Drawn(count)),
            Err(_) if Path::new(text).is_file() => Ok(Self::Written(text.into())),
            Err(_) => Err(format!("`{text}` is neither a number nor an episode file: try 600")),
        }
    }
}

impl Serialize for Episodes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Drawn(count) => serializer.serialize_u64(*count),
            // from any folder
            Self::Written(path) => std::path::absolute(path).unwrap_or_else(|_| path.clone()).serialize(serializer),
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    /// Lake's Omniglot challenge: 20-way one-shot runs within an alphabet, one item at a time
    Lake,
}
