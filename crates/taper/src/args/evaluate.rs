//! Options of `taper evaluate`.

use super::shared::{CommonOptions, TaskOptions, ViewsOptions};
use super::values::positive;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Evaluate {
    /// A model directory, or the --out directory of a run
    pub(crate) model: PathBuf,
    /// A data set; without one, glyphs. For --protocol lake the folder or zip of its runs
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Episodes to score a learner on
    #[arg(long, default_value_t = 600, value_parser = positive::<u64>)]
    pub(crate) episodes: u64,
    /// Score by a published protocol instead of on drawn tasks
    #[arg(long, value_enum)]
    pub(crate) protocol: Option<Protocol>,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Lake's Omniglot challenge: 20-way one-shot runs inside an alphabet, one item at a time
    Lake,
}
