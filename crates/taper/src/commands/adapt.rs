//! `taper adapt`: a learner and a few labeled images become a classifier.

use crate::args::{Adapt, UsageError};
use crate::builtin::built_in_learner;
use crate::data;
use crate::hints::with_hint;
use crate::output::Output;
use crate::report::{existing, result_json};
use crate::table::duration;
use anyhow::{Context, Result};
use std::time::Instant;
use taper_compare::{BUILT_IN_NAME, adapt};
use taper_learn::Model;

pub(crate) fn run(options: &Adapt, output: &Output) -> Result<()> {
    let start = Instant::now();
    Model::check_target(&options.out, existing(options.force)).map_err(|error| UsageError(with_hint(&error.into())))?;
    let given = options.model.as_deref().map(Model::load).transpose()?;
    let dataset = data::dataset(Some(&options.support))?;
    data::describe(dataset.as_ref(), output)?;
    let model = given.map_or_else(|| built_in_learner(dataset.as_ref(), output), Ok)?;
    let name = || options.model.as_ref().map_or(BUILT_IN_NAME.to_string(), |path| path.display().to_string());
    let classifier = adapt(&model, &dataset, options.views.views, options.common.seed).with_context(name)?;
    classifier.save(&options.out)?;
    let seconds = start.elapsed().as_secs_f64();
    output.line(format!(
        "{} images of {} classes, adapted by {} in {}: saved the classifier to {}",
        dataset.labels().len(),
        dataset.classes().len(),
        model.origin.method,
        duration(seconds),
        options.out.display()
    ));
    output.event(&result_json("adapt", seconds, Vec::new(), Some(&options.out)));
    Ok(())
}
