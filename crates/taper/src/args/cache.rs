//! Options of `taper cache`.

use super::shared::CommonOptions;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Cache {
    /// Remove all features; they are recomputed when needed
    #[arg(long)]
    pub(crate) clear: bool,
    /// The cache folder [default: the user's cache, as in `taper train --cache`]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
