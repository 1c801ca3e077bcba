//! `taper adapt`: a learner and a few labeled images become a classifier; or a classifier gets other classes.

use crate::args::{Adapt, UsageError};
use crate::builtin::built_in_learner;
use crate::data;
use crate::hints::with_hint;
use crate::output::Output;
use crate::report::{existing, result_json, with};
use crate::table::{counted, duration};
use anyhow::{Context, Result, anyhow};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;
use taper_compare::{BUILT_IN_NAME, Revised, Revision, adapt, revise};
use taper_data::{one_line, open};
use taper_learn::{
    LearnError, Model, RunDirectory,
    models::CLASSIFIER,
    runs::{Existing, RunRecord},
    statistics::wilson_interval,
};

pub(crate) fn run(options: &Adapt, output: &Output) -> Result<()> {
    if options.revises() {
        return revise_classifier(options, output);
    }
    let start = Instant::now();
    // the parser asks for --out unless a classifier is revised
    let out = options.out.clone().unwrap_or_default();
    check_target(&out, existing(options.force))?;
    let given = options.model.as_deref().map(Model::load).transpose()?;
    let dataset = data::dataset(Some(&options.support))?;
    data::describe(dataset.as_ref(), output)?;
    let model = given.map_or_else(|| built_in_learner(dataset.as_ref(), output), Ok)?;
    if model.origin.method == CLASSIFIER {
        output.note("this is a classifier: it learns these classes anew, without the images that it was made from; --add adds to them");
    }
    let name = || options.model.as_ref().map_or(BUILT_IN_NAME.to_string(), |path| path.display().to_string());
    let classifier = adapt(&model, &dataset, options.views.views, options.common.seed).with_context(name)?;
    classifier.save(&out)?;
    let seconds = start.elapsed().as_secs_f64();
    let by = if model.origin.method == CLASSIFIER { String::new() } else { format!(" by {}", model.origin.method) };
    output.line(format!(
        "{} images of {} classes, adapted{by} in {}: saved the classifier to {}",
        dataset.labels().len(),
        dataset.classes().len(),
        duration(seconds),
        out.display()
    ));
    output.event(&result_json("adapt", seconds, Vec::new(), Some(&out)));
    Ok(())
}

fn check_target(path: &Path, existing: Existing) -> Result<()> {
    Ok(Model::check_target(path, existing).map_err(|error| UsageError(with_hint(&error.into())))?)
}

/// Adds, removes and renames classes.
fn revise_classifier(options: &Adapt, output: &Output) -> Result<()> {
    let start = Instant::now();
    let (classifier, images) = match (&options.model, options.add) {
        (Some(classifier), true) => (classifier, Some(&options.support)),
        (None, false) => (&options.support, None),
        (None, true) => {
            return Err(UsageError("--add needs a classifier and a folder of images: give both".into()).into());
        }
        (Some(_), false) => {
            let problem = "--remove and --rename take only a classifier: give --add to add the images of SUPPORT";
            return Err(UsageError(problem.into()).into());
        }
    };
    if options.views.views > 1 {
        return Err(UsageError("--views does nothing with --add, --remove and --rename: remove it".into()).into());
    }
    let place = options.out.clone().unwrap_or_else(|| directory_of(classifier));
    let _held = run_around(&place).map(RunDirectory::open).transpose().map_err(|error| in_words(error, &place))?;
    check_target(&place, if options.out.is_some() { existing(options.force) } else { Existing::Replace })?;
    let model = Model::load(classifier)?;
    let add = images.map(|path| open(path)).transpose()?;
    if let Some(dataset) = &add {
        data::describe(dataset.as_ref(), output)?;
    }
    let revision = Revision { remove: options.remove.clone(), rename: options.rename.clone(), add };
    let cache = data::feature_cache(options.cache.as_deref());
    let revised = revise(&model, &revision, cache.as_ref(), options.common.seed)
        .with_context(|| classifier.display().to_string())?;
    revised.model.save(&place)?;
    let seconds = start.elapsed().as_secs_f64();
    print(&revised, options, &place, output);
    let right = revised.right.map(|right| right.share());
    let facts = json!({
        "classes": revised.model.labels, "added": revised.added, "new_classes": revised.new_classes,
        "already_there": revised.already_there, "held_out_accuracy": right, "revision_seconds": revised.seconds,
    });
    output.event(&with(result_json("adapt", seconds, Vec::new(), Some(&place)), facts));
    Ok(())
}

/// The run that a model directory belongs to. While it is held, no other process changes its classifier.
fn run_around(place: &Path) -> Option<&Path> {
    place.parent().filter(|run| RunRecord::is_run(run))
}

fn in_words(error: LearnError, place: &Path) -> anyhow::Error {
    match error {
        LearnError::InUse { holder, .. } => {
            anyhow!("{}: {holder} may replace this classifier: wait for it, or give another --out", place.display())
        }
        other => other.into(),
    }
}

/// The model directory at a path, which may be that of a run.
fn directory_of(path: &Path) -> PathBuf {
    if path.join("config.json").exists() { path.to_path_buf() } else { path.join("model") }
}

fn print(revised: &Revised, options: &Adapt, place: &Path, output: &Output) {
    let Revised { model, added, new_classes, already_there, right, seconds } = revised;
    if let Some(example) = already_there.first() {
        let count = already_there.len();
        let images = counted(count, "image");
        output.note(format!(
            "{images} left out, such as {}: the classifier has them or copies of them already",
            one_line(example)
        ));
    }
    let mut done = Vec::new();
    let removed: BTreeSet<&String> = options.remove.iter().collect();
    if !removed.is_empty() {
        done.push(format!("removed {}", counted(removed.len(), "class")));
    }
    if !options.rename.is_empty() {
        done.push(format!("renamed {}", counted(options.rename.len(), "class")));
    }
    if options.add {
        let new = match new_classes.len() {
            0 => String::new(),
            count => format!(" and {}", counted(count, "new class")),
        };
        done.push(format!("added {}{new}", counted(*added, "image")));
    }
    output.line(format!(
        "{} in {}: saved the classifier of {} classes to {}",
        done.join(", "),
        duration(*seconds),
        model.labels.len(),
        place.display()
    ));
    let renames_only = removed.is_empty() && !options.add;
    match model.support.as_ref().map(|support| support.held_out.as_ref()) {
        Some(None) => output.note(
            "a class has a single labeled image, so none can be held out: --reject and --set need two of each class",
        ),
        Some(Some(held_out)) if !held_out.tells_foreign() => output.note(
            "--reject is not possible any more: the network had learned the classes that are removed, and only training \
             anew can tell how foreign images look beside the others",
        ),
        _ => {}
    }
    if let Some(right) = right.filter(|_| !renames_only) {
        let interval = wilson_interval(right.right, right.of);
        output.line(format!(
            "expect about {:.1}% of new images to be classified correctly (95% CI {:.1} to {:.1}), measured on {} labeled \
             images, each held out in turn",
            100.0 * interval.mean,
            100.0 * interval.low,
            100.0 * interval.high,
            right.of
        ));
    }
}
