//! Options of `taper adapt`.

use super::shared::{CommonOptions, ViewsOptions};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
#[command(allow_missing_positional = true)]
pub(crate) struct Adapt {
    /// A learner: a model directory, or the --out directory of a run [default: the built-in learner
    /// for line drawings]
    pub(crate) model: Option<PathBuf>,
    /// A folder of class folders with a few images each
    #[arg(required = true)]
    pub(crate) support: PathBuf,
    /// Where to write the classifier
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Overwrite the model in --out
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
