//! `taper merge`: the parts of a job, put together.

use crate::args::{Merge, UsageError};
use crate::output::Output;
use crate::report::{existing, result_json};
use crate::results::{
    ImagesResult, Merged, TasksResult, comparison_json, in_turn, merge, show_comparison, show_survey,
};
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use taper_compare::Scores;
use taper_learn::{Model, runs::Existing};
use taper_transfer::Cell;

pub(crate) fn run(options: &Merge, output: &Output) -> Result<()> {
    let merged = merge(&options.parts)?;
    if options.out.is_some() && merged.command != "compare" {
        let problem =
            format!("--out is for the model that a comparison chose, and `taper {}` chooses none", merged.command);
        return Err(UsageError(format!("{problem}: remove it")).into());
    }
    match merged.command.as_str() {
        "evaluate" => {
            let entry = match merged.contents::<TasksResult>() {
                Ok(parts) => TasksResult::merged(parts)?.show(output)?.0,
                Err(_) => ImagesResult::merged(merged.contents()?)?.show(output).0,
            };
            output.event(&result_json("evaluate", merged.seconds, vec![entry], None));
        }
        "survey" => {
            let cells: Vec<Cell> = in_turn(merged.contents()?)?;
            let methods = show_survey(&cells, output);
            output.event(&result_json("survey", merged.seconds, methods, None));
        }
        "compare" => comparison(options, &merged, output)?,
        other => bail!("`taper {other}` has no parts to merge: use the version of Taper that made them"),
    }
    Ok(())
}

/// The table and the verdict, and the chosen model if there is a place for it.
fn comparison(options: &Merge, merged: &Merged, output: &Output) -> Result<()> {
    let parts: Vec<Scores> = merged.contents()?;
    // where each method's model is: that of the first training run
    let places: Vec<(String, PathBuf)> = parts
        .iter()
        .zip(&merged.paths)
        .flat_map(|(part, path)| part.models().map(|(name, folder)| (name.to_string(), run_of(path).join(folder))))
        .collect();
    if let Some(out) = &options.out {
        check_free(out, options.force)?;
    }
    let report = Scores::merged(parts)?.report()?;
    show_comparison(&report, output);
    let found = report.chosen.as_ref().and_then(|chosen| places.iter().find(|(name, _)| name == chosen));
    if let (Some(out), Some((name, model))) = (&options.out, found) {
        Model::load(model)?.save(out)?;
        output.line(format!("{name} is saved in {}.", out.display()));
    } else if options.out.is_some() {
        output.note("no method has a model to keep: nothing was written to --out");
    }
    let out = options.out.as_deref().filter(|_| found.is_some());
    output.event(&comparison_json(&report, merged.seconds, out));
    Ok(())
}

/// The run directory of a part, which may be given by its file.
fn run_of(part: &Path) -> &Path {
    if part.is_dir() { part } else { part.parent().unwrap_or(part) }
}

/// Fails if something is at the place of the model that may not be replaced.
fn check_free(out: &Path, force: bool) -> Result<(), UsageError> {
    if existing(force) == Existing::Refuse && out.exists() {
        return Err(UsageError(format!("--out {}: exists already (use --force or another --out)", out.display())));
    }
    Ok(())
}
