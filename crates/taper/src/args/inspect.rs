//! Options of `taper inspect`.

use super::shared::{CommonOptions, LabelOptions};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Inspect {
    /// A data set, a model directory, a weight file or a run directory [default: the built-in glyphs]
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) labels: LabelOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
