//! Options of `taper serve`.

use super::shared::CommonOptions;
use super::values::{InputPath, positive};
use clap::Args;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Args, Clone)]
#[command(after_help = "Examples:\n  \
    taper serve my-symbols --open     draw, name and try; one drawing per class is enough\n  \
    taper serve my-photos             photographs, if the weights are there\n  \
    taper serve classifier            try a classifier from train or adapt\n  \
    taper serve --listen 0.0.0.0      for a classroom: everyone with the printed link can take part")]
pub(crate) struct Serve {
    /// A folder of class folders with pictures, which is made if it does not exist; or a classifier to try
    #[arg(value_name = "FOLDER|MODEL", default_value = "taper-classes")]
    pub(crate) path: PathBuf,
    /// Port of the page [default: 8273, or a free one if that is taken]
    #[arg(long, value_name = "N", value_parser = positive::<u16>)]
    pub(crate) port: Option<u16>,
    /// Open the page in the browser
    #[arg(long)]
    pub(crate) open: bool,
    /// Address of this computer to listen on, or 0.0.0.0 for all: the page is then open to everyone who
    /// knows the printed link [default: this computer alone]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<IpAddr>,
    /// Pretrained weights for photographs: a file, a folder, or a name such as efficientnet-lite0 [default:
    /// those that were fetched]
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<InputPath>,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}
