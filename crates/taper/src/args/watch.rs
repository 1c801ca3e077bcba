//! Options of `taper watch`.

use super::shared::CommonOptions;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Watch {
    /// The --out directory of a run, running or not
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
