//! Options of `taper predict`.

use super::shared::{CommonOptions, ViewsOptions, WeightOptions};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub(crate) struct Predict {
    /// A classifier from train or adapt, or a recognized weight file; or a folder of class folders
    /// with a few line drawings each, for the built-in learner
    pub(crate) model: PathBuf,
    /// Images, or folders of images; `-` reads their paths from standard input, one per line
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Write a CSV to standard output: image, class, probability, and the probability of every class
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) weights: WeightOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
