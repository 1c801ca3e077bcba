//! Options of `taper export`.

use super::shared::{CommonOptions, WeightOptions};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Args, Clone)]
#[command(after_help = "Examples:\n  \
    taper export classifier --out classifier.onnx\n  \
    taper export classifier --format transformers --out resnet-of-mine")]
pub(crate) struct Export {
    /// A classifier from train, compare or adapt, or a recognized weight file
    pub(crate) model: PathBuf,
    /// Which program it is for
    #[arg(long, value_enum, default_value_t = Format::Onnx)]
    pub(crate) format: Format,
    /// Where to write: a file for onnx, a directory otherwise
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// Overwrite what is at --out
    #[arg(long)]
    pub(crate) force: bool,
    /// ONNX without the preprocessing: its input is what the network takes, `(n, channels, height, width)`
    #[arg(long)]
    pub(crate) bare: bool,
    /// Store the ONNX weights in 16 bits: half the size; the arithmetic stays 32-bit
    #[arg(long)]
    pub(crate) half: bool,
    /// Store the ONNX weights in 8 bits, with a scale for each output channel: a quarter of the size; the arithmetic stays 32-bit
    #[arg(long, conflicts_with = "half")]
    pub(crate) int8: bool,
    #[command(flatten)]
    pub(crate) weights: WeightOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One ONNX file: 8-bit images in, probabilities out
    Onnx,
    /// A directory for timm: ResNet-18 to 152, EfficientNet-Lite0
    Timm,
    /// A directory for transformers: ResNet-18 to 152
    Transformers,
}
