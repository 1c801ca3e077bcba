//! Options of `taper predict`.

use super::shared::{CommonOptions, ViewsOptions, WeightOptions};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Predict {
    /// A classifier: what train or adapt wrote, or a weight file that says what it is; or a folder of
    /// class folders with a few line drawings each, for the learner in the program
    pub(crate) model: PathBuf,
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) weights: WeightOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
