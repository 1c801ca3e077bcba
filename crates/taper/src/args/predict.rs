//! Options of `taper predict`.

use super::shared::{CommonOptions, ViewsOptions, WeightOptions};
use super::values::percentage;
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
    /// Answer "none of these" for images unlike the labeled ones, refusing about this share of known images, such as 5%
    #[arg(long, value_name = "RATE", value_parser = percentage)]
    pub(crate) reject: Option<f64>,
    /// Also list the classes that an image may belong to, the right one among them for this share of known images, such
    /// as 90%
    #[arg(long, value_name = "SHARE", value_parser = percentage)]
    pub(crate) set: Option<f64>,
    /// Also name the labeled images that each image resembles most, and write heat maps of what speaks for its class to
    /// this new directory
    #[arg(long, value_name = "DIR", conflicts_with = "csv")]
    pub(crate) explain: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) weights: WeightOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
