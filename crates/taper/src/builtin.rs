//! The built-in learner for the user's drawings, with notes about it.

use crate::output::Output;
use anyhow::Result;
use taper_compare::{BuiltIn, CompareError, built_in};
use taper_data::Dataset;
use taper_learn::Model;

/// The built-in learner for the drawings of `support`.
pub(crate) fn built_in_learner(support: &dyn Dataset, output: &Output) -> Result<Model> {
    let BuiltIn { model, light_on_dark } = built_in(support).map_err(|error| match error {
        CompareError::NotDrawings { .. } => anyhow::anyhow!(
            "{error}: for photographs, fetch weights (`cargo xtask fetch-weights efficientnet-lite0`) and use `taper train`"
        ),
        other => other.into(),
    })?;
    output.note("no model given: using the built-in learner for line drawings");
    if light_on_dark > 0 {
        let images = support.labels().len();
        output.note(format!("{light_on_dark} of {images} drawings are light on dark: inverting them"));
    }
    Ok(model)
}
