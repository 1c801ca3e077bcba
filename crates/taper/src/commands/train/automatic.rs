//! Nothing said: heads on cached features and partial fine-tuning are cross-validated inside the
//! training images within a budget of time; the best is kept and scored once on validation.

use super::candidates::Folding;
use super::ending::Ending;
use super::report::Report;
use super::setting::Setting;
use super::trial::Trial;
use super::workshop::{Recipe, Sight, Way, Workshop};
use crate::args::Train;
use crate::commands::run_directory;
use crate::output::Output;
use crate::registry::CLASSIFIER;
use crate::table::duration;
use anyhow::{Result, bail};
use serde_json::json;
use std::time::Instant;
use taper_learn::Deadline;
use taper_learn::heads::default_folds;

/// Heads to try, the plainest first: of equal ones it is kept. The last is the seed recipe's.
const HEADS: [&str; 5] = ["nearest-mean", "ridge", "lda", "linear-probe", "linear-head"];
/// Those tried again on images seen otherwise.
const STRONG_HEADS: [&str; 3] = ["ridge", "lda", "linear-probe"];
/// What is taken where nothing can be cross-validated.
const UNTRIED: &str = "linear-probe";
/// Repetitions of the folds, for heads, which cost little.
const REPETITIONS: u64 = 2;
/// Uppermost stages to fine-tune from, the last alone first.
const CUTS: usize = 2;

pub(crate) fn run(options: &Train, config: &str, setting: &Setting, output: &Output) -> Result<()> {
    let start = Instant::now();
    let seed = options.run.common.seed;
    let run = run_directory(&options.run, config)?;
    let mut workshop = Workshop::new(options.cache.as_deref(), setting, seed, output)?;
    check_budget(options, setting, &workshop)?;
    let mut trial = Trial::new(run.as_ref(), start, options.budget.0, output)?;
    let training = &setting.parts.training;
    let (recipe, best, tried) = match default_folds(&training.labels, training.ways) {
        None => {
            output.note(format!("a class has a single training image, so nothing can be compared: {UNTRIED} is taken"));
            let recipe = Recipe { way: Way::Head(UNTRIED), sight: Sight::default() };
            let candidate = workshop.candidate(&recipe, Deadline::default())?;
            (recipe, candidate, Vec::new())
        }
        Some(folds) => {
            try_heads(&mut trial, &mut workshop, folds, seed)?;
            try_fine_tuning(&mut trial, &mut workshop, folds, seed)?;
            trial.tell();
            let (recipe, tried) = (trial.best()?, trial.json());
            (recipe, trial.into_best(&mut workshop)?, tried)
        }
    };
    let setting = workshop.setting(recipe.sight);
    let fitting = Instant::now();
    let (network, state) = best.train(training, setting, seed)?;
    let train_seconds = fitting.elapsed().as_secs_f64();
    let report = Report::new(setting, setting.view.as_ref(), None, &network, &state, seed)?;
    output.line(format!("{recipe} is kept, trained on all {} training images\n", training.images.len()));
    let model = setting.model(CLASSIFIER, network, state);
    let facts = json!({"name": recipe.to_string(), "kind": "transfer", "tried": tried});
    Ending { setting, report, model, train_seconds, run: run.as_ref(), start }.tell(facts, output)
}

/// Errs, saying what it would take, when the budget does not even buy the features.
fn check_budget(options: &Train, setting: &Setting, workshop: &Workshop) -> Result<()> {
    let (training, validation) = (setting.parts.training.images.len(), setting.parts.validation.images.len());
    let needed = workshop.seconds_per_image * (training + validation) as f64;
    if needed > options.budget.0 {
        bail!(
            "--budget {} is too short: the features of {} images alone take about {}, use --budget {}s or more",
            options.budget,
            training + validation,
            duration(needed),
            (2.0 * needed).ceil()
        );
    }
    Ok(())
}

/// Heads on the images seen as published; the strong ones on whole images too; then mirrored copies
/// beside what was best.
fn try_heads(trial: &mut Trial, workshop: &mut Workshop, folds: usize, seed: u64) -> Result<()> {
    let folding = Folding { folds, repetitions: REPETITIONS, seed };
    let plain = Sight::default();
    try_sight(trial, workshop, &HEADS, plain, folding)?;
    if workshop.can_see_whole() {
        try_sight(trial, workshop, &STRONG_HEADS, Sight { whole: true, ..plain }, folding)?;
    }
    if workshop.can_mirror() {
        let best = trial.best()?.sight;
        try_sight(trial, workshop, &STRONG_HEADS, Sight { mirrored: true, ..best }, folding)?;
    }
    Ok(())
}

/// Heads on images seen so, where computing their features leaves time to use them.
fn try_sight(
    trial: &mut Trial,
    workshop: &mut Workshop,
    heads: &[&'static str],
    sight: Sight,
    folding: Folding,
) -> Result<()> {
    /// Another way of seeing is worth this share of the time left.
    const WORTH: f64 = 0.3;
    for &head in heads {
        let recipe = Recipe { way: Way::Head(head), sight };
        let looking = workshop.seconds_to_see(sight);
        if sight != Sight::default() && looking > WORTH * trial.left() && !trial.knows(&recipe) {
            trial.leave_out(&recipe, format!("its features take about {} of the budget", duration(looking)));
        } else {
            let reserve = workshop.seconds_to_validate();
            trial.consider(&recipe, workshop, folding, reserve)?;
        }
    }
    Ok(())
}

/// Fine-tuning of the uppermost stages on the images seen as the best head sees them, where some
/// folds of it and the training of all images fit into the time left.
fn try_fine_tuning(trial: &mut Trial, workshop: &mut Workshop, folds: usize, seed: u64) -> Result<()> {
    /// Folds that say something.
    const FEWEST: f64 = 2.0;
    let folding = Folding { folds, repetitions: 1, seed };
    let sight = trial.best()?.sight;
    let stages = workshop.setting(sight).network.backbone().split_points();
    for stage in stages.into_iter().rev().take(CUTS) {
        let recipe = Recipe { way: Way::FineTune(stage.clone()), sight };
        let mut reserve = workshop.seconds_to_validate();
        if !trial.knows(&recipe) && trial.left() > reserve {
            let once = workshop.seconds_to_tune(&stage, sight)?;
            reserve += once;
            let needed = reserve + FEWEST * once * (1.0 - 1.0 / folds as f64);
            if needed > trial.left() {
                trial.leave_out(&recipe, format!("takes about {} more", duration(needed - trial.left())));
                continue;
            }
        }
        trial.consider(&recipe, workshop, folding, reserve)?;
    }
    Ok(())
}
