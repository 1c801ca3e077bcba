//! `taper survey`: every head and kind of fine-tuning, over data sets, networks and numbers of labels.

use crate::args::{Survey, UsageError};
use crate::cluster::data_fingerprint;
use crate::config::written;
use crate::data;
use crate::output::Output;
use crate::page;
use crate::report::{Sources, needs_out, result_json, run_directory, stopped_or_failed};
use crate::results::{Facts, Part, show_survey};
use anyhow::Result;
use std::time::Instant;
use taper_compare::METHODS;
use taper_data::{Dataset, Look};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_transfer::{Problem, TransferError, check_survey, survey_part};

pub(crate) fn run(options: &Survey, output: &Output) -> Result<()> {
    let start = Instant::now();
    // nothing is written before everything is checked
    let problems = problems(options, output)?;
    let surveyed = options.survey();
    check_survey(&problems, &surveyed, METHODS).map_err(usage)?;
    if options.run.tensorboard {
        return Err(UsageError("--tensorboard is for commands that train in steps: remove it".into()).into());
    }
    let whole = Survey { shard: None, ..options.clone() };
    if let Some(shard) = options.shard {
        needs_out(&options.run)?;
        let rows = surveyed.heads.len() + surveyed.fine_tune.len();
        shard.check(problems.len() * surveyed.labels.len() * rows, "cells")?;
    }
    let data: Vec<&dyn Dataset> = problems.iter().take(1).map(|problem| problem.dataset().as_ref()).collect();
    let sources = Sources { data: &data, weights: options.weights.iter().chain(&options.color_weights).collect() };
    let run = run_directory("survey", options, &options.run, &sources, output)?;
    let mine = |cell| options.shard.is_none_or(|shard| shard.owns(cell));
    let cells = survey_part(&problems, &surveyed, METHODS, &mine, run.as_ref(), &mut output.reporter())
        .map_err(|error| stopped_or_failed(error, run.as_ref()))?;
    let seconds = start.elapsed().as_secs_f64();
    if let (Some(shard), Some(run)) = (options.shard, &run) {
        let data = problems.iter().map(|problem| data_fingerprint(problem.dataset().as_ref()));
        let facts = Facts::from([
            ("options".into(), written("survey", &whole)?),
            ("data".into(), data.collect::<Result<Vec<_>>>()?.join(" ")),
        ]);
        let part = Part::new("survey", shard, facts, seconds, &cells)?;
        return part.keep(run, shard, &format!("{} cells", cells.len()), output);
    }
    let methods = show_survey(&cells, output);
    page::save(run.as_ref(), Ok(page::survey(&cells)), output);
    output.event(&result_json("survey", seconds, methods, run.as_ref().map(|run| run.path())));
    Ok(())
}

/// An error about an option, as such.
fn usage(error: TransferError) -> anyhow::Error {
    match error {
        TransferError::NoSuchStage { place, network, stages } => {
            let problem =
                format!("--fine-tune {place}: {network} has {stages} such stages: use a smaller number or all");
            UsageError(problem).into()
        }
        other => other.into(),
    }
}

/// Each data set with each network for it.
fn problems(options: &Survey, output: &Output) -> Result<Vec<Problem>> {
    let mut reporter = output.reporter();
    let mut problems = Vec::new();
    let cache = data::feature_cache(options.cache.as_deref());
    for path in &options.datasets {
        let dataset = data::given(Some(path), output)?;
        let in_color = Look::of(dataset.as_ref())?.channels == 3;
        let for_color = options.color_weights.iter().filter(|_| in_color);
        for weights in for_color.chain(&options.weights) {
            let weights = data::weights(weights)?;
            let pretrained = Pretrained::read(weights.path(), &WeightHints::default())?;
            let problem = Problem::new(dataset.clone(), Some(&pretrained), &options.problem(), &mut reporter)?;
            problems.push(problem.with_cache(cache.clone()));
        }
    }
    Ok(problems)
}
