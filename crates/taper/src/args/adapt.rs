//! Options of `taper adapt`.

use super::shared::{CommonOptions, ViewsOptions};
use super::values::renaming;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone)]
#[command(allow_missing_positional = true)]
pub(crate) struct Adapt {
    /// A learner: a model directory, or the --out directory of a run [default: the built-in learner
    /// for line drawings]; with --add, the classifier to add to
    pub(crate) model: Option<PathBuf>,
    /// A folder of class folders with a few images each; with --remove or --rename alone, the classifier
    #[arg(required = true)]
    pub(crate) support: PathBuf,
    /// Where to write the classifier; with --add, --remove or --rename, the default is to replace it
    #[arg(long, value_name = "DIR", required_unless_present_any = ["add", "remove", "rename"])]
    pub(crate) out: Option<PathBuf>,
    /// Add the images of SUPPORT to a classifier, whose classes they join or extend, without training anew
    #[arg(long)]
    pub(crate) add: bool,
    /// Remove a class from a classifier; may be given several times
    #[arg(long, value_name = "CLASS")]
    pub(crate) remove: Vec<String>,
    /// Rename a class of a classifier; may be given several times
    #[arg(long, value_name = "CLASS=NAME", value_parser = renaming)]
    pub(crate) rename: Vec<(String, String)>,
    /// Where features of images to add are cached; "none" caches nothing [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<String>,
    /// Overwrite the model in --out
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) views: ViewsOptions,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

impl Adapt {
    /// Whether a classifier is changed, rather than made by a learner.
    pub(crate) fn revises(&self) -> bool {
        self.add || !self.remove.is_empty() || !self.rename.is_empty()
    }
}
