//! Options of `taper evaluate`.

use super::shared::{CommonOptions, TaskOptions};
use super::values::positive;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Evaluate {
    /// A model directory, or the --out directory of a run
    pub(crate) model: PathBuf,
    /// A data set; without one, glyphs
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Episodes to score a learner on
    #[arg(long, default_value_t = 600, value_parser = positive::<u64>)]
    pub(crate) episodes: u64,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
