//! Options of `taper evaluate`.

use super::shared::{CommonOptions, LabelOptions, TaskOptions, ViewsOptions, WeightOptions};
use super::values::InputPath;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::str::FromStr;

#[derive(Args, Clone)]
pub(crate) struct Evaluate {
    /// A model directory, the --out directory of a run, or a weight file that is recognized
    pub(crate) model: PathBuf,
    /// A data set, or with --protocol lake the folder or zip of its runs [default: the built-in glyphs]
    pub(crate) data: Option<InputPath>,
    #[command(flatten)]
    pub(crate) labels: LabelOptions,
    #[command(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Tasks to score a learner on: their number, or a file from --save-episodes
    #[arg(long, default_value = "600")]
    pub(crate) episodes: Episodes,
    /// Write the tasks to a file that names images by the hash of their content
    #[arg(long, value_name = "FILE")]
    pub(crate) save_episodes: Option<PathBuf>,
    /// Include classes that the learner was trained or chosen on
    #[arg(long)]
    pub(crate) trained_classes: bool,
    /// Include images that the classifier was trained on
    #[arg(long)]
    pub(crate) trained_images: bool,
    /// Score by a published protocol instead of on sampled tasks
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Protocol>,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) weights: WeightOptions,
    #[command(flatten)]
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

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Lake's Omniglot challenge: 20-way one-shot runs within an alphabet, one item at a time
    Lake,
}
