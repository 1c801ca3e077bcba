//! Options of `taper features`.

use super::shard::Shard;
use super::shared::{CommonOptions, ImageOptions, LabelOptions};
use super::values::InputPath;
use clap::Args;
use std::path::PathBuf;
use taper_models::Architecture;

#[derive(Args, Clone)]
pub(crate) struct Features {
    /// A data set
    #[arg(value_name = "DATA")]
    pub(crate) data: InputPath,
    /// Pretrained weights of the network that makes the features
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) weights: InputPath,
    /// Where to write features, labels, class_names, file_names and parts, as numpy.savez does
    #[arg(long, value_name = "FILE.npz", required_unless_present = "shard")]
    pub(crate) out: Option<PathBuf>,
    /// Compute only the features of part I of N of the images, and keep them in the cache, from which a later call without
    /// --shard writes the file
    #[arg(long, value_name = "I/N", conflicts_with_all = ["out", "force"])]
    pub(crate) shard: Option<Shard>,
    /// Overwrite the file in --out
    #[arg(long)]
    pub(crate) force: bool,
    /// Network of the weights [default: recognized from them]
    #[arg(long, value_name = "NAME")]
    pub(crate) backbone: Option<Architecture>,
    #[command(flatten)]
    pub(crate) labels: LabelOptions,
    #[command(flatten)]
    pub(crate) image: ImageOptions,
    /// Where features of frozen networks are cached; "none" caches nothing [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<String>,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
