//! `taper train`: a classifier from a folder of labelled images.

mod automatic;
pub(super) mod candidates;
pub(super) mod features;
mod find_lr;
mod fixed;
mod parts;
mod report;
pub(super) mod setting;
mod trial;
mod workshop;

use crate::args::Train;
use crate::output::Output;
use anyhow::Result;
use setting::{Setting, Source};

/// With weights and nothing said about how to train, several ways are tried and the best is kept;
/// otherwise the one that is said.
pub(crate) fn run(options: &Train, config: &str, output: &Output) -> Result<()> {
    let source = Source {
        data: options.data.as_deref(),
        weights: options.weights.as_deref(),
        backbone: options.backbone,
        head: options.head.as_deref(),
        image: &options.image,
        validation: options.validation,
        seed: options.run.common.seed,
    };
    let setting = Setting::new(&source, output)?;
    if options.weights.is_some() && options.says_nothing() {
        return automatic::run(options, config, &setting, output);
    }
    fixed::run(options, config, &setting, output)
}
