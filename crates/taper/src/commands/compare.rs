//! `taper compare`: both kinds of learning, the same tasks, one table, one verdict.

mod foreign;
mod report;
mod rows;
mod setting;
mod training;

use super::meta_train::TEST_SEED;
use super::{method_json, percent, result_json, run_directory, with};
use crate::args::Compare;
use crate::output::{Output, Stopped, interrupted};
use crate::registry::CLASSIFIER;
use crate::table::duration;
use crate::verdict::verdict;
use anyhow::{Context, Result};
use rows::Row;
use serde_json::json;
use setting::Setting;
use std::time::Instant;
use taper_data::{EpisodeSampler, Inputs};
use taper_learn::{Evaluation, RunDirectory, evaluate, paired_difference};

/// A method with how it did.
struct Scored {
    row: Row,
    evaluation: Evaluation,
}

pub(crate) fn run(options: &Compare, config: &str, output: &Output) -> Result<()> {
    let start = Instant::now();
    let setting = Setting::of(options, output)?;
    let test = setting.test.dataset();
    let sampler = EpisodeSampler::new(test.as_ref(), &setting.test_classes, setting.shape, setting.test_scope)
        .with_context(|| test.name().to_string())?;
    let run = run_directory(&options.run, config)?;
    let rows = rows::rows(options, &setting, run.as_ref(), output)?;
    let scored = score(options, rows, &sampler, run.as_ref(), output)?;
    let Some(best) = scored.iter().max_by(|a, b| a.mean().total_cmp(&b.mean())) else { return Ok(()) };
    let verdict = verdict(&scored.iter().map(Scored::for_verdict).collect::<Vec<_>>());
    output.line(report::heading(options, &setting));
    output.line(report::table(&scored, best, setting.shape.shots()));
    output.line(format!("\n{verdict}"));
    if let Some(run) = &run {
        keep_best(run, &scored, output)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    output.line(format!("{} in all.", duration(seconds)));
    let methods = scored.iter().map(|method| method.json(best)).collect();
    let result = result_json("compare", seconds, methods, run.map(|run| run.path().to_path_buf()).as_ref());
    output.event(&with(result, json!({"verdict": verdict})));
    Ok(())
}

/// Every method on the same test episodes.
fn score(
    options: &Compare,
    rows: Vec<Row>,
    sampler: &EpisodeSampler,
    run: Option<&RunDirectory>,
    output: &Output,
) -> Result<Vec<Scored>> {
    let seed = options.run.common.seed;
    let mut scored = Vec::new();
    for row in rows {
        let episode = |number| Ok(row.view.episode(&sampler.draw(seed ^ TEST_SEED, number), None)?);
        let evaluation = evaluate(row.method.as_ref(), options.episodes, seed, episode)
            .with_context(|| format!("scoring {}", row.name))?;
        output.note(format!("{}: {} %", row.name, percent(evaluation.accuracy())));
        scored.push(Scored { row, evaluation });
        if interrupted() {
            return Err(Stopped(match run {
                Some(run) => format!("stopped while scoring; go on with --resume {}", run.path().display()),
                None => "stopped while scoring, nothing was kept: use --out next time".into(),
            })
            .into());
        }
    }
    Ok(scored)
}

impl Scored {
    fn mean(&self) -> f64 {
        self.evaluation.accuracy().mean
    }

    fn for_verdict(&self) -> crate::verdict::Scored<'_> {
        crate::verdict::Scored {
            name: &self.row.name,
            kind: self.row.kind,
            accuracies: &self.evaluation.accuracies,
            accuracy: self.evaluation.accuracy(),
            carried: self.row.carried,
        }
    }

    fn json(&self, best: &Self) -> serde_json::Value {
        let behind = paired_difference(&self.evaluation.accuracies, &best.evaluation.accuracies);
        let mut entry =
            method_json(&self.row.name, &self.row.kind.to_string(), &self.evaluation, self.row.train_seconds);
        entry["from_best"] = json!({"difference": behind.mean, "ci95": [behind.low, behind.high]});
        entry["trained_on"] = json!(self.row.trained_on);
        entry["transductive"] = json!(self.row.method.transductive());
        entry
    }
}

/// Writes the best method that can be kept as the run's model.
fn keep_best(run: &RunDirectory, scored: &[Scored], output: &Output) -> Result<()> {
    let kept = scored.iter().filter_map(|method| Some((method, method.row.model.as_ref()?)));
    let Some((best, model)) = kept.max_by(|a, b| a.0.mean().total_cmp(&b.0.mean())) else { return Ok(()) };
    let path = run.path().join("model");
    model.save(&path)?;
    output.line(format!(
        "{} is in {}: `taper adapt {} SUPPORT_FOLDER --out MINE` makes a {CLASSIFIER} of it.",
        best.row.name,
        path.display(),
        run.path().display()
    ));
    Ok(())
}
