//! What a search tries, in which order.

use super::made::Made;
use super::progress::Search;
use super::seconds_text;
use crate::candidate::{CandidateBuilder, Folding};
use crate::{Approach, CandidateSpec, CropPolicy, InputVariant, Problem, Result, Scale, Views};
use taper_learn::{Observer, RunDirectory};

/// Heads on the network's own features, the simplest first: of equally good ones the first is kept. The last is the
/// seed recipe's.
const HEADS: [&str; 5] = ["nearest-mean", "ridge", "lda", "linear-probe", "linear-head"];
/// Heads that are also tried on other versions of the images.
const STRONG_HEADS: [&str; 3] = ["ridge", "lda", "linear-probe"];
/// The first head if only the network's own features count.
pub(super) const PLAIN_HEAD: &str = "linear-probe";
/// The head on features of stages.
pub(super) const STAGED_HEAD: &str = "rda";
/// Repetitions of the folds for heads, which are cheap: at least two, and for few images up to ten.
const REPETITIONS: std::ops::RangeInclusive<u64> = 2..=10;
/// Predictions that suffice.
const PREDICTIONS: u64 = 600;
/// Features of another version of the images may take this share of the time left, before fine-tuning.
const WORTH: f64 = 0.3;
/// Bytes of activations that are kept in memory at most.
const MOST_ACTIVATIONS: usize = 512 << 20;
/// Stages to fine-tune at most. Those below hold what all photographs have in common.
const MOST_STAGES: usize = 3;

/// The head to start with; `plain` if only the network's own features count.
pub(super) fn favorite(plain: bool, variant: InputVariant) -> CandidateSpec {
    match plain {
        true => CandidateSpec::head(PLAIN_HEAD, variant),
        false => CandidateSpec::staged(STAGED_HEAD, variant),
    }
}

/// Heads, fine-tuning, then the heads that were too long before it. With a run, a first classifier is saved as soon as one is scored, and returned.
pub(super) fn try_all(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    (folds, plain): (usize, bool),
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Option<(CandidateSpec, Made)>> {
    let first = favorite(plain, InputVariant::default());
    try_head(search, builder, &first, (folds, WORTH), observer)?;
    let made = match run.filter(|run| !run.model_path().exists()) {
        Some(run) => save_best(search, builder, run, observer)?,
        None => None,
    };
    try_heads(search, builder, (folds, plain), WORTH, observer)?;
    try_fine_tuning(search, builder, (folds, plain), observer)?;
    // with whatever time is left now
    try_heads(search, builder, (folds, plain), 1.0, observer)?;
    Ok(made)
}

/// Saves the best head so far as the run's classifier. A later one replaces it.
pub(super) fn save_best(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    run: &RunDirectory,
    observer: &mut dyn Observer,
) -> Result<Option<(CandidateSpec, Made)>> {
    let Some(spec) = search.best_head() else { return Ok(None) };
    let candidate = builder.build(&spec, observer)?;
    let made = Made::new(builder, &spec, &candidate, None)?;
    made.model(true)?.save(&run.model_path())?;
    let accuracy = search.accuracy(&spec).map_or(f64::NAN, |accuracy| 100.0 * accuracy.mean);
    observer.note(format!("saved the best so far, {spec}: {accuracy:.0}% correct in cross-validation"))?;
    Ok(Some((spec, made)))
}

/// Heads on the images as published; the strong ones also on whole images; and the one on stages on several views of the
/// better version, also at a larger size. The features of a version of the images may take the share `worth` of the time left.
fn try_heads(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    (folds, only_own): (usize, bool),
    worth: f64,
    observer: &mut dyn Observer,
) -> Result<()> {
    let plain = InputVariant::default();
    let whole = InputVariant { crop: CropPolicy::Whole, ..plain };
    let versions = [(&HEADS[..], Some(plain)), (&STRONG_HEADS, builder.has(whole.crop, whole.scale).then_some(whole))];
    for (heads, variant) in versions.into_iter().filter_map(|(heads, variant)| Some((heads, variant?))) {
        let staged = (!only_own).then(|| CandidateSpec::staged(STAGED_HEAD, variant));
        for spec in staged.into_iter().chain(heads.iter().map(|head| CandidateSpec::head(head, variant))) {
            try_head(search, builder, &spec, (folds, worth), observer)?;
        }
    }
    if builder.views() != Views::One && !only_own {
        let variant_of_best = |search: &Search| search.best_head().map(|best| best.variant).unwrap_or_default();
        let variant = InputVariant { views: builder.views(), ..variant_of_best(search) };
        try_head(search, builder, &CandidateSpec::staged(STAGED_HEAD, variant), (folds, worth), observer)?;
        let variant = InputVariant { scale: Scale::Larger, ..variant_of_best(search) };
        if builder.has(variant.crop, variant.scale) {
            try_head(search, builder, &CandidateSpec::staged(STAGED_HEAD, variant), (folds, worth), observer)?;
        }
    }
    Ok(())
}

/// A head, if computing its features takes no more than a share of the time left.
fn try_head(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    spec: &CandidateSpec,
    (folds, worth): (usize, f64),
    observer: &mut dyn Observer,
) -> Result<()> {
    if spec.variant != InputVariant::default() && !search.has_scored(spec) && !search.has_left_out(spec) {
        let features = builder.estimate_feature_time(spec)?;
        if features > worth * search.seconds_left() {
            let left = seconds_text(search.seconds_left());
            search.skip(spec, format!("its features take about {}, {left} were left", seconds_text(features)));
            return Ok(());
        }
    }
    // the report is on the best candidate, or on this one
    let variants = search.best().ok().map(|best| best.variant).into_iter().chain([spec.variant]);
    let reserve = variants.map(|variant| builder.estimate_report_time(variant)).fold(0.0, f64::max);
    search.try_candidate(spec, builder, folding(builder.problem(spec.variant), folds), reserve, observer)
}

/// The folds that heads are scored on.
pub(super) fn folding(problem: &Problem, folds: usize) -> Folding {
    let images = problem.training().images.len() as u64;
    let repetitions = PREDICTIONS.div_ceil(images).clamp(*REPETITIONS.start(), *REPETITIONS.end());
    Folding { folds, repetitions, seed: problem.seed() }
}

/// Fine-tuning of as many of the uppermost stages as fit into the time left, on the version of the images that the best
/// head uses, with mirror images unless a head without them was better: one fold and the training on all images must fit.
fn try_fine_tuning(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    (folds, only_own): (usize, bool),
    observer: &mut dyn Observer,
) -> Result<()> {
    // heads on the network's own features alone are tried in one view only
    let are_mirrored = builder.views() != Views::One && (only_own || search.best()?.variant.views != Views::One);
    let views = if are_mirrored { Views::Two } else { Views::One };
    let variant = InputVariant { views, ..search.best()?.variant };
    let folding = Folding { folds, repetitions: 1, seed: builder.problem(variant).seed() };
    let stages = builder.problem(variant).network().backbone().split_points();
    let stages = &stages[stages.len().saturating_sub(MOST_STAGES)..];
    let spec_of = |stage: &String| CandidateSpec { approach: Approach::FineTune(stage.clone()), variant };
    // what an earlier session had the time for, whatever fits now
    if let Some(spec) = stages.iter().map(spec_of).find(|spec| search.has_scored(spec)) {
        return search.try_candidate(&spec, builder, folding, 0.0, observer);
    }
    /// Finding out how long fine-tuning takes may take this share of the time left.
    const WORTH: f64 = 0.1;
    for stage in stages {
        let spec = spec_of(stage);
        if search.has_left_out(&spec) {
            continue;
        }
        let report = builder.estimate_report_time(search.best()?.variant);
        let bytes = builder.estimate_activation_bytes(stage, variant)?;
        if bytes > MOST_ACTIVATIONS {
            search.skip(&spec, format!("its activations take {:.1} GB", bytes as f64 / 1e9));
            continue;
        }
        let left = search.seconds_left() - report - search.seconds_to_close();
        let Some(once) = builder.estimate_fine_tuning_time(stage, variant, WORTH * left)? else {
            let reason = match left > 0.0 {
                true => format!(
                    "measuring how long it takes would take more than a tenth of the {} left",
                    seconds_text(left)
                ),
                false => "no time is left for it".into(),
            };
            search.skip(&spec, reason);
            continue;
        };
        let closing = (once + builder.estimate_keeping_time(variant)).max(search.seconds_to_close());
        let reserve = report + closing;
        let needed = reserve + once * (1.0 - 1.0 / folds as f64);
        if needed <= search.seconds_left() {
            search.try_candidate(&spec, builder, folding, reserve, observer)?;
            if search.has_scored(&spec) {
                return Ok(());
            }
            continue;
        }
        let left = seconds_text(search.seconds_left());
        search.skip(&spec, format!("takes about {}, {left} were left", seconds_text(needed)));
    }
    Ok(())
}
