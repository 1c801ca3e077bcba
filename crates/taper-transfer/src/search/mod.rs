//! The search for the best way to make a classifier: heads on frozen features and partial fine-tuning are
//! cross-validated inside the training images within a time budget; the best is kept, trained on all
//! training images, and scored once on validation images.

mod expectation;
mod options;
mod progress;
mod tried;

pub use expectation::Expectation;
pub use options::SearchOptions;
pub use tried::TriedCandidate;

use crate::calibration::cooled;
use crate::candidate::{Candidate, CandidateBuilder, Folding, WITH_FEATURES};
use crate::labeled_support::LabeledSupport;
use crate::{
    Approach, CandidateSpec, CropPolicy, Fitted, InputVariant, Problem, Result, Scale, TransferError, ValidationReport,
    Views,
};
use progress::{KEPT, Search};
use std::time::Instant;
use taper_learn::heads::default_folds;
use taper_learn::{
    LearnError, Model, NoopObserver, Observer, RunDirectory, evaluation::Labeled, provenance::Provenance,
    runs::write_atomically, support::Support, training::Deadline,
};
use taper_models::{Network, State};

/// Heads on the network's own features, the simplest first: of equally good ones the first is kept. The last is the
/// seed recipe's.
const HEADS: [&str; 5] = ["nearest-mean", "ridge", "lda", "linear-probe", "linear-head"];
/// Heads that are also tried on other versions of the images.
const STRONG_HEADS: [&str; 3] = ["ridge", "lda", "linear-probe"];
/// The first head if only the network's own features count.
const PLAIN_HEAD: &str = "linear-probe";
/// The head on features of stages.
const STAGED_HEAD: &str = "rda";
/// Repetitions of the folds for heads, which are cheap: at least two, and for few images up to ten.
const REPETITIONS: std::ops::RangeInclusive<u64> = 2..=10;
/// Predictions that suffice.
const PREDICTIONS: u64 = 600;
/// Bytes of activations that are kept in memory at most.
const MOST_ACTIVATIONS: usize = 2 << 30;
/// Stages to fine-tune at most. Those below hold what all photographs have in common.
const MOST_STAGES: usize = 3;

/// Tries heads and partial fine-tuning on folds of the training images, trains the best one on all of
/// them and scores it on the validation images, which no choice depends on.
///
/// With a run directory, every score is kept in `tried.json` as soon as it is known, and a search that was
/// stopped or killed resumes there, with the same result as an unbroken one if both have the time for the same candidates;
/// the classifier is saved as `model/`.
///
/// # Errors
/// Returns [`TransferError::BudgetTooShort`] if the budget does not cover the features,
/// [`taper_learn::LearnError::Stopped`] if the observer asks to stop, and an error if images or the run can't be
/// read or written.
pub fn search(
    problem: &Problem,
    options: &SearchOptions,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Fitted> {
    let start = Instant::now();
    let mut builder = CandidateBuilder::new(problem, observer)?;
    let mut search = Search::new(run, start, options.budget)?;
    if search.is_empty() {
        check_budget(options, problem, &builder)?;
    }
    let training = problem.training();
    let folds = default_folds(&training.labels, training.ways);
    let mut first = None;
    let (spec, candidate) = match folds {
        None => {
            let variant = match options.plain {
                true => InputVariant::default(),
                false => widest(&builder, search.seconds_left())?,
            };
            let spec = favorite(options.plain, variant);
            observer.note(format!(
                "a class has a single training image, so candidates can't be compared, and probabilities are calibrated \
                 only roughly: using {spec}"
            ))?;
            let candidate = builder.build(&spec, observer)?;
            (spec, candidate)
        }
        Some(folds) => {
            let tried = try_all(&mut search, &mut builder, (folds, options.plain), run, observer);
            if let (Err(TransferError::Learn(LearnError::Stopped { .. })), Some(run)) = (&tried, run) {
                // what is saved here is a bonus: the search resumes without it
                save_best(&mut search, &mut builder, run, &mut NoopObserver).ok();
            }
            first = tried?;
            search.take_best(&mut builder, observer)?
        }
    };
    let made = match first {
        Some((made_of, made)) if made_of == spec => made,
        _ => Made::new(&builder, &spec, &candidate, search.temperature(&spec))?,
    };
    let model = made.model(!search.is_empty())?;
    if let Some(run) = run {
        // kept even if the report is interrupted
        model.save(&run.model_path())?;
    }
    let until = search.deadline(builder.estimate_report_time(spec.variant));
    let expected = match folds {
        Some(folds) => Expectation::new(&search, (&spec, &candidate), training, folding(problem, folds), until)?,
        None => None,
    };
    let Made { problem, network, state, .. } = &made;
    let mut scored = |labeled: &Labeled| {
        let inputs = builder.scored_inputs(&spec, labeled, observer)?;
        ValidationReport::new(problem, labeled, inputs.as_ref(), None, network, state)
    };
    let report = scored(problem.validation())?;
    let test = if problem.test().images.is_empty() { None } else { Some(scored(problem.test())?) };
    if let Some(run) = run {
        let text = serde_json::to_vec(&spec.to_string()).map_err(|error| LearnError::Invalid(error.to_string()))?;
        write_atomically(&run.file(KEPT)?, &text)?;
    }
    let candidates = search.into_tried();
    let (name, train_seconds) = (spec.to_string(), made.seconds);
    Ok(Fitted { name, model, report, test, expected, candidates, train_seconds })
}

/// The version of the images that shows most of them, of those whose features and report fit into so many seconds.
fn widest(builder: &CandidateBuilder, seconds: f64) -> Result<InputVariant> {
    let views = builder.views();
    let versions = [
        (CropPolicy::Whole, Scale::Larger),
        (CropPolicy::AsGiven, Scale::Larger),
        (CropPolicy::Whole, Scale::AsGiven),
        (CropPolicy::AsGiven, Scale::AsGiven),
    ];
    for (crop, scale) in versions.into_iter().filter(|&(crop, scale)| builder.has(crop, scale)) {
        let variant = InputVariant { crop, scale, views };
        let features = builder.estimate_feature_time(&CandidateSpec::staged(STAGED_HEAD, variant))?;
        if features + builder.estimate_report_time(variant) <= seconds {
            return Ok(variant);
        }
    }
    Ok(InputVariant::default())
}

/// The head to start with; `plain` if only the network's own features count.
fn favorite(plain: bool, variant: InputVariant) -> CandidateSpec {
    match plain {
        true => CandidateSpec::head(PLAIN_HEAD, variant),
        false => CandidateSpec::staged(STAGED_HEAD, variant),
    }
}

/// Heads, then fine-tuning. With a run, a first classifier is saved as soon as one is scored, and returned.
fn try_all(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    (folds, plain): (usize, bool),
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Option<(CandidateSpec, Made)>> {
    let first = favorite(plain, InputVariant::default());
    try_head(search, builder, &first, folds, observer)?;
    let made = match run.filter(|run| !run.model_path().exists()) {
        Some(run) => save_best(search, builder, run, observer)?,
        None => None,
    };
    try_heads(search, builder, (folds, plain), observer)?;
    try_fine_tuning(search, builder, folds, observer)?;
    Ok(made)
}

/// Saves the best head so far as the run's classifier. A later one replaces it.
fn save_best(
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
    observer.note(format!("saved {spec} so far: {accuracy:.0}% correct in cross-validation"))?;
    Ok(Some((spec, made)))
}

/// A classifier trained on all training images.
struct Made {
    problem: Problem,
    network: Network,
    state: State,
    kept: Support,
    /// The time that it took.
    seconds: f64,
}

impl Made {
    /// `temperature` is that of the candidate's logits if it is known.
    fn new(
        builder: &CandidateBuilder,
        spec: &CandidateSpec,
        candidate: &Candidate,
        temperature: Option<f64>,
    ) -> Result<Self> {
        let start = Instant::now();
        let problem = builder.problem_of(spec)?;
        let (network, state) = candidate.train(&problem)?;
        let (kept, state) = match &spec.approach {
            Approach::Head(name) | Approach::Staged(name) => {
                let learner = candidate.learner(Deadline::default())?;
                LabeledSupport {
                    dataset: problem.dataset().as_ref(),
                    labeled: problem.training(),
                    seed: problem.seed(),
                }
                .of_head(Some(name.as_str()), learner.as_ref(), &candidate.inputs, &network, state)?
            }
            Approach::FineTune(_) => {
                let state = cooled(&network, state, temperature.unwrap_or(1.0))?;
                (fine_tuned_support(&problem, &network, &state)?, state)
            }
        };
        Ok(Self { problem, network, state, kept, seconds: start.elapsed().as_secs_f64() })
    }

    /// The classifier, as it is saved; `chosen` says whether it was chosen on folds of the training images.
    fn model(&self, chosen: bool) -> Result<Model> {
        let Self { problem, network, state, kept, .. } = self;
        let (network, state, kept) = (network.clone(), state.clone(), kept.clone());
        let chosen_on = if chosen { vec![problem.learned_from()?] } else { Vec::new() };
        problem.model(network, state, Provenance { chosen_on, ..Provenance::default() }, Some(kept))
    }
}

/// What a fine-tuned network keeps: its features of the training images, and its scores on the validation images, which
/// it has not learned from and nothing was chosen by.
pub(crate) fn fine_tuned_support(problem: &Problem, network: &Network, state: &State) -> Result<Support> {
    LabeledSupport { dataset: problem.dataset().as_ref(), labeled: problem.training(), seed: problem.seed() }
        .of_fine_tuned(problem.view().as_ref(), network, state, problem.validation())
}

/// Fails if the budget does not even cover the features.
fn check_budget(options: &SearchOptions, problem: &Problem, builder: &CandidateBuilder) -> Result<()> {
    let missing = builder.missing_features(&problem.training().images)?;
    let images = missing + problem.validation().images.len() + problem.test().images.len();
    let needed = builder.estimate_feature_time(&CandidateSpec::staged(STAGED_HEAD, InputVariant::default()))?
        + builder.estimate_report_time(InputVariant::default());
    if needed > options.budget {
        return Err(TransferError::BudgetTooShort { budget: options.budget, needed, images });
    }
    Ok(())
}

/// Heads on the images as published; the strong ones also on whole images; and the one on stages on several views of the
/// better version, also at a larger size.
fn try_heads(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    (folds, only_own): (usize, bool),
    observer: &mut dyn Observer,
) -> Result<()> {
    let plain = InputVariant::default();
    let whole = InputVariant { crop: CropPolicy::Whole, ..plain };
    let versions = [(&HEADS[..], Some(plain)), (&STRONG_HEADS, builder.has(whole.crop, whole.scale).then_some(whole))];
    for (heads, variant) in versions.into_iter().filter_map(|(heads, variant)| Some((heads, variant?))) {
        let staged = (!only_own).then(|| CandidateSpec::staged(STAGED_HEAD, variant));
        for spec in staged.into_iter().chain(heads.iter().map(|head| CandidateSpec::head(head, variant))) {
            try_head(search, builder, &spec, folds, observer)?;
        }
    }
    if builder.views() != Views::One && !only_own {
        let variant = InputVariant { views: builder.views(), ..search.best()?.variant };
        try_head(search, builder, &CandidateSpec::staged(STAGED_HEAD, variant), folds, observer)?;
        let variant = InputVariant { views: builder.views(), scale: Scale::Larger, ..search.best()?.variant };
        if builder.has(variant.crop, variant.scale) {
            try_head(search, builder, &CandidateSpec::staged(STAGED_HEAD, variant), folds, observer)?;
        }
    }
    Ok(())
}

/// A head, if computing its features leaves time to use them.
fn try_head(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    spec: &CandidateSpec,
    folds: usize,
    observer: &mut dyn Observer,
) -> Result<()> {
    /// Features of another version of the images may take this share of the time left.
    const WORTH: f64 = 0.3;
    if spec.variant != InputVariant::default() && !search.has_scored(spec) {
        let features = builder.estimate_feature_time(spec)?;
        if features > WORTH * search.seconds_left() {
            search.skip(spec, format!("its features take about {} of the budget", seconds_text(features)));
            return Ok(());
        }
    }
    // the report is on the best candidate, or on this one
    let variants = search.best().ok().map(|best| best.variant).into_iter().chain([spec.variant]);
    let reserve = variants.map(|variant| builder.estimate_report_time(variant)).fold(0.0, f64::max);
    search.try_candidate(spec, builder, folding(builder.problem(spec.variant), folds), reserve, observer)
}

/// The folds that heads are scored on.
fn folding(problem: &Problem, folds: usize) -> Folding {
    let images = problem.training().images.len() as u64;
    let repetitions = PREDICTIONS.div_ceil(images).clamp(*REPETITIONS.start(), *REPETITIONS.end());
    Folding { folds, repetitions, seed: problem.seed() }
}

/// Fine-tuning of as many of the uppermost stages as fit into the time left, on the version of the images that the best
/// head uses: one fold and the training on all images must fit.
fn try_fine_tuning(
    search: &mut Search,
    builder: &mut CandidateBuilder,
    folds: usize,
    observer: &mut dyn Observer,
) -> Result<()> {
    let views = if builder.views() == Views::One { Views::One } else { Views::Two };
    let variant = InputVariant { views, ..search.best()?.variant };
    let folding = Folding { folds, repetitions: 1, seed: builder.problem(variant).seed() };
    let stages = builder.problem(variant).network().backbone().split_points();
    let stages = &stages[stages.len().saturating_sub(MOST_STAGES)..];
    let spec_of = |stage: &String| CandidateSpec { approach: Approach::FineTune(stage.clone()), variant };
    // what an earlier session had the time for, whatever fits now
    if let Some(spec) = stages.iter().map(spec_of).find(|spec| search.has_scored(spec)) {
        return search.try_candidate(&spec, builder, folding, 0.0, observer);
    }
    for stage in stages {
        let spec = spec_of(stage);
        let mut reserve = builder.estimate_report_time(search.best()?.variant);
        let bytes = builder.estimate_activation_bytes(stage, variant)?;
        if bytes > MOST_ACTIVATIONS {
            search.skip(&spec, format!("its activations take {:.1} GB", bytes as f64 / 1e9));
            continue;
        }
        if search.seconds_left() <= reserve {
            search.skip(&spec, "the budget is spent".into());
            return Ok(());
        }
        let once = builder.estimate_fine_tuning_time(stage, variant)?;
        reserve += WITH_FEATURES * once;
        let needed = reserve + search.seconds_to_close() + once * (1.0 - 1.0 / folds as f64);
        if needed <= search.seconds_left() {
            search.try_candidate(&spec, builder, folding, reserve, observer)?;
            if search.has_scored(&spec) {
                return Ok(());
            }
            continue;
        }
        search.skip(&spec, format!("takes about {} more", seconds_text(needed - search.seconds_left())));
    }
    Ok(())
}

/// `90.0 s`, or `2.5 min`.
fn seconds_text(seconds: f64) -> String {
    if seconds >= 90.0 { format!("{:.1} min", seconds / 60.0) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;
    use serde_json::Value;
    use std::path::Path;
    use taper_learn::{Event, Flow, runs::Existing};

    const OPTIONS: SearchOptions = SearchOptions { budget: 3600.0, plain: false };

    fn run(folder: &Path) -> RunDirectory {
        RunDirectory::create(&folder.join("run"), "", Existing::Replace).unwrap()
    }

    fn scores(run: &RunDirectory) -> Vec<Value> {
        serde_json::from_slice(&std::fs::read(run.path().join("tried.json")).unwrap()).unwrap()
    }

    fn write(run: &RunDirectory, scores: &[Value]) {
        std::fs::write(run.path().join("tried.json"), serde_json::to_vec(scores).unwrap()).unwrap();
    }

    fn searched(problem: &Problem, run: &RunDirectory) -> Fitted {
        search(problem, &OPTIONS, Some(run), &mut NoopObserver).unwrap()
    }

    /// Stops when this many candidates have been tried.
    struct StopAfter(usize);

    impl Observer for StopAfter {
        fn on(&mut self, event: Event<'_>) -> taper_learn::Result<Flow> {
            if matches!(event, Event::Record(record) if record["event"] == "tried") {
                self.0 -= 1;
            }
            Ok(if self.0 == 0 { Flow::Stop } else { Flow::Continue })
        }
    }

    #[test]
    fn a_search_resumes_to_the_same_end_whichever_candidate_leads() {
        let folder = tempfile::tempdir().unwrap();
        let problem = Toy::new(&[6, 6, 6]).problem(0);
        let run = run(folder.path());
        searched(&problem, &run);
        let all = scores(&run);
        let named = |end: &str| {
            let found = all.iter().position(|score| score["name"].as_str().unwrap().ends_with(end));
            found.unwrap_or_else(|| panic!("no candidate `…{end}`"))
        };
        for leader in [named("four views"), named("ridge, whole image"), all.len() - 1] {
            let mut told = all.clone();
            for fold in told[leader]["folds"].as_array_mut().unwrap() {
                // better than any candidate can be
                fold["right"] = Value::from(fold["of"].as_u64().unwrap() + 1);
            }
            let name = told[leader]["name"].as_str().unwrap().to_string();
            write(&run, &told);
            let fitted = searched(&problem, &run);
            assert_eq!(fitted.name, name);
            assert_eq!(scores(&run)[..told.len()], told, "{name}: nothing is scored twice");
        }
        assert!(all[all.len() - 1]["name"].as_str().unwrap().starts_with("fine-tune from"));
    }

    #[test]
    fn a_budget_of_any_length_is_one() {
        let problem = Toy::new(&[4, 4]).problem(0);
        let options = SearchOptions { budget: 1e30, plain: true };
        assert!(search(&problem, &options, None, &mut NoopObserver).unwrap().expected.is_some());
    }

    #[test]
    fn an_observer_stops_a_search_which_resumes_to_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let problem = Toy::new(&[6, 6, 6]).problem(0);
        let run = run(folder.path());
        let unbroken = search(&problem, &OPTIONS, None, &mut NoopObserver).unwrap();
        let stopped = search(&problem, &OPTIONS, Some(&run), &mut StopAfter(2)).unwrap_err();
        assert!(matches!(stopped, TransferError::Learn(LearnError::Stopped { .. })), "{stopped}");
        assert_eq!(scores(&run).len(), 2);
        let stopped = search(&problem, &OPTIONS, Some(&run), &mut StopAfter(5)).unwrap_err();
        assert!(stopped.to_string().contains("after 7 candidates"), "{stopped}");
        let resumed = searched(&problem, &run);
        assert_eq!(resumed.name, unbroken.name);
        assert_eq!(resumed.report, unbroken.report);
        assert_eq!(resumed.model.packed().unwrap(), unbroken.model.packed().unwrap());
        let saved = taper_learn::Model::load(run.path()).unwrap();
        assert_eq!(saved.packed().unwrap(), resumed.model.packed().unwrap());
    }

    #[test]
    fn a_finished_search_tries_nothing_more_when_it_is_resumed_with_time_left() {
        let folder = tempfile::tempdir().unwrap();
        let problem = Toy::new(&[6, 6, 6]).problem(0);
        let run = run(folder.path());
        let fitted = searched(&problem, &run);
        // as if the time had not sufficed for the last candidate
        let some = scores(&run)[..3].to_vec();
        write(&run, &some);
        let resumed = searched(&problem, &run);
        assert_eq!(scores(&run), some);
        assert!(resumed.candidates.len() >= 3 && !fitted.name.is_empty());
    }

    #[test]
    fn a_budget_that_does_not_pay_for_the_features_is_an_error_with_what_they_take() {
        let problem = Toy::new(&[4, 4]).problem(0);
        let error =
            search(&problem, &SearchOptions { budget: 1e-9, plain: false }, None, &mut NoopObserver).unwrap_err();
        match error {
            TransferError::BudgetTooShort { needed, images, .. } => assert!(needed > 1e-9 && images == 12),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn no_choice_of_a_search_depends_on_validation_images() {
        let fitted = |validation_seed| {
            let problem = Toy { validation_seed, ..Toy::new(&[6, 6, 6]) }.problem(0);
            search(&problem, &OPTIONS, None, &mut NoopObserver).unwrap()
        };
        let (one, other) = (fitted(0), fitted(5));
        let told = |fitted: &Fitted| {
            fitted.candidates.iter().map(|tried| (tried.name.clone(), tried.accuracy)).collect::<Vec<_>>()
        };
        assert_eq!(told(&one), told(&other));
        assert_eq!(one.model.packed().unwrap(), other.model.packed().unwrap());
    }

    #[test]
    fn a_plain_search_keeps_the_network_and_its_own_features() {
        let problem = Toy::new(&[6, 6, 6]).problem(0);
        let options = SearchOptions { plain: true, ..OPTIONS };
        let fitted = search(&problem, &options, None, &mut NoopObserver).unwrap();
        assert_eq!(fitted.model.network.backbone().name(), problem.network().backbone().name());
        assert!(fitted.candidates.iter().all(|tried| !tried.name.contains("on stages")));
        let single = search(&Toy::new(&[1, 6]).problem(0), &options, None, &mut NoopObserver).unwrap();
        assert_eq!(single.name, PLAIN_HEAD);
    }

    #[test]
    fn a_resumed_search_keeps_the_fine_tuning_that_an_earlier_one_had_time_for() {
        let folder = tempfile::tempdir().unwrap();
        let problem = Toy::new(&[6, 6, 6]).problem(0);
        let run = run(folder.path());
        searched(&problem, &run);
        let mut told = scores(&run);
        let last = told.len() - 1;
        // as if only the uppermost stage had fitted, and had been best
        let name = told[last]["name"].as_str().unwrap().replace("layer1", "layer3");
        told[last]["name"] = Value::from(name);
        told[last]["folds"] = told[0]["folds"].clone();
        for fold in told[last]["folds"].as_array_mut().unwrap() {
            // better than any candidate can be
            fold["right"] = Value::from(fold["of"].as_u64().unwrap() + 1);
        }
        write(&run, &told);
        let fitted = searched(&problem, &run);
        assert!(fitted.name.starts_with("fine-tune from layer3"), "{}", fitted.name);
        assert_eq!(scores(&run), told, "nothing else is tried");
    }

    #[test]
    fn a_class_with_a_single_training_image_leaves_nothing_to_compare() {
        let fitted = search(&Toy::new(&[1, 6]).problem(0), &OPTIONS, None, &mut NoopObserver).unwrap();
        assert_eq!((fitted.name.as_str(), fitted.candidates.len()), ("rda on stages, whole image, four views", 0));
    }
}
