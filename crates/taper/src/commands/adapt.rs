//! `taper adapt`: a learner and a few labeled images become a classifier.

use super::result_json;
use crate::args::{AdaptTo, Usage};
use crate::output::Output;
use crate::registry::{CLASSIFIER, learner};
use crate::{data, drawings};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Batch, Copies, Dataset, Inputs};
use taper_learn::{Adapt, Averaged, Model, TaskNorm, Trained};

pub(crate) fn run(options: &AdaptTo, output: &Output) -> Result<()> {
    let start = Instant::now();
    check_free(&options.out, options.force)?;
    let given = options.model.as_deref().map(Model::load).transpose()?;
    let dataset = data::dataset(Some(&options.support))?;
    data::tell(dataset.as_ref(), output)?;
    let model = given.map_or_else(|| drawings::learner(dataset.as_ref(), output), Ok)?;
    let of = || options.model.as_ref().map_or(drawings::NAME.to_string(), |path| path.display().to_string());
    let classifier = classifier(&model, &dataset, options.views.views, options.common.seed).with_context(of)?;
    classifier.save(&options.out)?;
    let seconds = start.elapsed().as_secs_f64();
    output.line(format!(
        "{} images of {} classes, adapted by {} in {}: the classifier is in {}",
        dataset.labels().len(),
        dataset.classes().len(),
        model.trained.method,
        crate::table::duration(seconds),
        options.out.display()
    ));
    output.event(&result_json("adapt", seconds, Vec::new(), Some(&options.out)));
    Ok(())
}

/// What a learner makes of a support set.
///
/// Errs when the model is of another version's method, or its transform can't be done on the images.
pub(crate) fn classifier(model: &Model, support: &Arc<dyn Dataset>, views: usize, seed: u64) -> Result<Model> {
    let method = learner(model)?;
    let view = data::view(support.clone(), model.transform.parse()?)?;
    let images: Vec<usize> = (0..support.labels().len()).collect();
    let copies = Copies::new(&view, views, seed)?;
    let batch = Batch::new(copies.inputs(&images, None)?, support.labels(), support.classes().len())?;
    let (network, state) = Averaged(method.as_ref()).adapt(&batch, seed)?.network()?;
    let labels: Vec<String> = support.classes().iter().map(|class| class.full_name()).collect();
    let trained = Trained {
        method: CLASSIFIER.into(),
        on: format!("{} by {}", support.name(), model.trained.method),
        classes: labels.clone(),
        settings: BTreeMap::new(),
        norm: TaskNorm::Stored.to_string(),
    };
    Ok(Model { network, state, labels, transform: model.transform.clone(), trained })
}

/// Is nothing at `out`, or a model that may be overwritten?
fn check_free(out: &Path, force: bool) -> Result<()> {
    let empty = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    let problem = match (out.exists() && !empty, out.join("config.json").is_file()) {
        (false, _) => return Ok(()),
        (true, false) => "exists and holds no model, choose another --out",
        (true, true) if force => return Ok(()),
        (true, true) => "holds a model already, overwrite it with --force or choose another --out",
    };
    Err(Usage(format!("{}: {problem}", out.display())).into())
}
