//! `taper train`: a classifier from a folder of labeled images.

mod automatic;
pub(super) mod candidates;
mod ending;
pub(super) mod features;
mod find_lr;
mod fixed;
mod parts;
mod report;
pub(super) mod setting;
mod trial;
mod work;
mod workshop;

use crate::args::Train;
use crate::data;
use crate::output::Output;
use crate::pretrained::hub_cache::{USUAL, usual_weights};
use anyhow::Result;
use setting::{Setting, Source};
use taper_data::Dataset;

/// With weights and nothing said about how to train, several ways are tried and the best is kept;
/// otherwise the one that is said.
pub(crate) fn run(options: &Train, config: &str, output: &Output) -> Result<()> {
    let dataset = data::dataset(options.data.as_deref())?;
    let wanting = wants_weights(options, dataset.as_ref())?;
    let found = if wanting { usual_weights()? } else { None };
    let weights = options.weights.clone().or(found);
    if wanting {
        output.note(match &weights {
            Some(file) => format!("no --weights are given: {} in the hub's cache are taken", file.display()),
            None => format!(
                "no --weights are given: training from scratch; a few photographs go further with pretrained ones, \
                 `cargo xtask fetch-weights {USUAL}` gets some"
            ),
        });
    }
    let source = Source {
        dataset,
        weights: weights.as_deref(),
        backbone: options.backbone,
        head: options.head.as_deref(),
        image: &options.image,
        validation: options.validation,
        seed: options.run.common.seed,
    };
    let setting = Setting::new(&source, output)?;
    if weights.is_some() && options.says_nothing() {
        return automatic::run(options, config, &setting, output);
    }
    fixed::run(options, config, &setting, output)
}

/// Are these photographs of which nothing is said, neither where to start nor how to train?
fn wants_weights(options: &Train, dataset: &dyn Dataset) -> Result<bool> {
    let silent = options.weights.is_none() && options.backbone.is_none() && options.says_nothing();
    if !silent || options.data.is_none() {
        return Ok(false);
    }
    Ok(data::look(dataset)?.channels == 3)
}
