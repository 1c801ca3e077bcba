//! Options of `taper cache`.

use super::shared::CommonOptions;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Cache {
    /// Remove everything it holds; it is made again when it is needed
    #[arg(long)]
    pub(crate) clear: bool,
    /// The cache's folder [default: the user's, as of `taper train --cache`]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
