//! Options of `taper report`.

use super::shared::CommonOptions;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Report {
    /// The --out directory of a run
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Where to write the page [default: report.html in RUN]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
