//! A comparison on tasks of random classes.

use crate::args::{Compare, InputPath, UsageError};
use crate::cluster::{data_fingerprint, enough};
use crate::config::written;
use crate::data;
use crate::hints::with_hint;
use crate::output::Output;
use crate::page;
use crate::report::{Sources, needs_out, run_directory, stopped_or_failed};
use crate::results::{Facts, Part, comparison_json, show_comparison};
use crate::table::duration;
use anyhow::Result;
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{CompareError, Comparison, ComparisonData};
use taper_data::{Dataset, Hash, Look};
use taper_models::catalog::{Pretrained, WeightHints};

pub(super) fn run(options: &Compare, dataset: Arc<dyn Dataset>, output: &Output) -> Result<()> {
    let start = Instant::now();
    // what the images look like matters only where weights are a start
    let photographs = options.weights.is_some() && Look::of(dataset.as_ref())?.channels > 1;
    let mut comparison = options.comparison(photographs);
    comparison.check()?;
    enough(output.ranks(), comparison.episodes as usize, "test tasks", "--episodes")?;
    comparison.backbone = data::backbone(dataset.as_ref(), comparison.backbone, Comparison::default().backbone);
    comparison.shape()?.check(dataset.as_ref())?;
    let compared = ComparisonData {
        split: data::split(options.tasks.split.as_ref(), dataset.as_ref())?,
        meta_data: data::dataset(options.meta_data.as_ref().map(InputPath::path))?,
        dataset,
    };
    let weights = options.weights.as_ref().map(data::weights).transpose()?;
    let pretrained = weights.as_ref().map(|file| Pretrained::read(file.path(), &WeightHints::default())).transpose()?;
    pretrained.iter().flat_map(|pretrained| &pretrained.notes).for_each(|note| output.note(note));
    let options = &Compare { weights, ..options.clone() };
    if let Some(shard) = options.shard {
        needs_out(&options.run)?;
        shard.check(comparison.units(pretrained.is_some()), "groups of methods")?;
    }
    let data = [compared.dataset.as_ref(), compared.meta_data.as_ref()];
    let sources = Sources { data: &data, weights: options.weights.iter().chain(&options.learner).collect() };
    let run = run_directory("compare", options, &options.run, &sources, output)?;
    let mine = |unit| options.shard.is_none_or(|shard| shard.owns(unit));
    let mut reporter = output.recorder(run.as_ref(), options.run.tensorboard);
    let scores =
        comparison.score(&compared, pretrained.as_ref(), run.as_ref(), &mine, &mut reporter).map_err(|error| {
            match error {
                CompareError::TooFewClasses { .. } => UsageError(with_hint(&error.into())).into(),
                error => stopped_or_failed(error, run.as_ref()),
            }
        })?;
    if let (Some(shard), Some(run)) = (options.shard, &run) {
        scores.save_models(run)?;
        let weights = options.weights.as_ref().map(|weights| std::fs::read(weights.path())).transpose()?;
        let facts = Facts::from([
            ("options".into(), written("compare", &Compare { shard: None, ..options.clone() })?),
            ("data".into(), data_fingerprint(compared.dataset.as_ref())?),
            ("data to train on".into(), data_fingerprint(compared.meta_data.as_ref())?),
            ("weights".into(), weights.map(|bytes| Hash::of(&bytes).to_string()).unwrap_or_default()),
        ]);
        let part = Part::new("compare", shard, facts, start.elapsed().as_secs_f64(), &scores)?;
        return part.keep(run, shard, "methods and their models", output);
    }
    let report = scores.report()?;
    show_comparison(&report, output);
    if let (Some(run), Some(model), Some(name)) = (&run, &report.model, &report.chosen) {
        let path = run.model_path();
        model.save(&path)?;
        output.line(format!(
            "{name} is saved in {}: `taper adapt {} SUPPORT_FOLDER --out MINE` makes a classifier from it.",
            path.display(),
            run.path().display()
        ));
    }
    page::save(run.as_ref(), Ok(page::tasks(&report, compared.dataset.as_ref())), output);
    let seconds = start.elapsed().as_secs_f64();
    output.line(format!("{} in total.", duration(seconds)));
    output.event(&comparison_json(&report, seconds, run.as_ref().map(|run| run.path())));
    Ok(())
}
