//! Options of `taper adapt`.

use super::shared::{CommonOptions, ViewsOptions};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct AdaptTo {
    /// A learner: a model directory, or the --out directory of a run
    pub(crate) model: PathBuf,
    /// A folder of class folders with a few images each
    pub(crate) support: PathBuf,
    /// Where to write the classifier
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Overwrite what is in --out
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
