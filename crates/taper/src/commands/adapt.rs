//! `taper adapt`: a learner and a few labelled images become a classifier.

use super::result_json;
use crate::args::{AdaptTo, Usage};
use crate::data;
use crate::output::Output;
use crate::registry::{CLASSIFIER, learner};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use taper_data::{Batch, Copies, Inputs};
use taper_learn::{Adapt, Averaged, Model, TaskNorm, Trained};

pub(crate) fn run(options: &AdaptTo, output: &Output) -> Result<()> {
    let start = Instant::now();
    check_free(&options.out, options.force)?;
    let model = Model::load(&options.model)?;
    let method = learner(&model).with_context(|| options.model.display().to_string())?;
    let dataset = data::dataset(Some(&options.support))?;
    data::tell(dataset.as_ref(), output)?;
    let view = data::view(dataset.clone(), model.transform.parse()?)?;
    let images: Vec<usize> = (0..dataset.labels().len()).collect();
    let copies = Copies::new(&view, options.views.views, options.common.seed)?;
    let support = Batch::new(copies.inputs(&images, None)?, dataset.labels(), dataset.classes().len())?;
    let classifier = Averaged(method.as_ref()).adapt(&support, options.common.seed)?;
    let (network, state) = classifier.network()?;
    let labels: Vec<String> = dataset.classes().iter().map(|class| class.full_name()).collect();
    let trained = Trained {
        method: CLASSIFIER.into(),
        on: format!("{} by {}", dataset.name(), model.trained.method),
        classes: labels.clone(),
        settings: BTreeMap::new(),
        norm: TaskNorm::Stored.to_string(),
    };
    Model { network, state, labels, transform: model.transform, trained }.save(&options.out)?;
    let seconds = start.elapsed().as_secs_f64();
    output.line(format!(
        "{} images of {} classes, adapted by {} in {}: the classifier is in {}",
        images.len(),
        dataset.classes().len(),
        model.trained.method,
        crate::table::duration(seconds),
        options.out.display()
    ));
    output.event(&result_json("adapt", seconds, Vec::new(), Some(&options.out)));
    Ok(())
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
