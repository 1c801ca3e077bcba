//! The search for the best way to make a classifier: heads on frozen features and partial fine-tuning are
//! cross-validated inside the training images within a time budget; the best is kept, trained on all
//! training images, and scored once on validation images.

mod expectation;
mod made;
mod options;
mod progress;
mod trials;
mod tried;

pub use expectation::Expectation;
pub(crate) use made::fine_tuned_support;
pub use options::SearchOptions;
pub use tried::TriedCandidate;

use crate::candidate::CandidateBuilder;
use crate::{CandidateSpec, CropPolicy, Fitted, InputVariant, Problem, Result, Scale, TransferError, ValidationReport};
use made::Made;
use progress::Search;
use std::time::Instant;
use taper_learn::heads::default_folds;
use taper_learn::{LearnError, NoopObserver, Observer, RunDirectory, evaluation::Labeled};
use trials::{STAGED_HEAD, favorite, folding, save_best, try_all};

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
    let mut search = Search::new(run, start, options.budget, observer.stop())?;
    if search.is_empty() {
        check_budget(options, problem, &builder)?;
    }
    let training = problem.training();
    let folds = default_folds(&training.labels, training.ways);
    let mut first = None;
    let (spec, candidate) = match folds {
        None => {
            let spec = single(&builder, options.plain, search.seconds_left(), Search::kept(run).as_deref())?;
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
        search.finish(run, &spec)?;
    }
    let candidates = search.into_tried();
    let (name, train_seconds) = (spec.to_string(), made.seconds);
    Ok(Fitted { name, model, report, test, expected, candidates, train_seconds })
}

/// What is used where candidates can't be compared: what an earlier session `kept`, or the favorite head, on the version of
/// the images that shows most of them, of those whose features and report fit into so many seconds.
fn single(builder: &CandidateBuilder, plain: bool, seconds: f64, kept: Option<&str>) -> Result<CandidateSpec> {
    let versions = [
        (CropPolicy::Whole, Scale::Larger),
        (CropPolicy::AsGiven, Scale::Larger),
        (CropPolicy::Whole, Scale::AsGiven),
        (CropPolicy::AsGiven, Scale::AsGiven),
    ];
    let versions = versions.into_iter().filter(|&(crop, scale)| !plain && builder.has(crop, scale));
    let views = builder.views();
    let widest = versions.map(|(crop, scale)| favorite(plain, InputVariant { crop, scale, views }));
    let default = favorite(plain, InputVariant::default());
    for spec in widest.chain([default.clone()]) {
        let is_chosen = match kept {
            Some(kept) => spec.to_string() == kept,
            None => {
                let features = builder.estimate_feature_time(&spec)?;
                features + builder.estimate_report_time(spec.variant) <= seconds
            }
        };
        if is_chosen {
            return Ok(spec);
        }
    }
    Ok(default)
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

/// `90.0 s`, or `2.5 min`.
fn seconds_text(seconds: f64) -> String {
    if seconds >= 90.0 { format!("{:.1} min", seconds / 60.0) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::trials::PLAIN_HEAD;
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
    fn a_finished_search_of_single_images_keeps_its_classifier_when_it_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let problem = Toy::new(&[1, 6]).problem(0);
        let run = run(folder.path());
        let fitted = searched(&problem, &run);
        let default = favorite(false, InputVariant::default()).to_string();
        assert_ne!(fitted.name, default, "the toy has several versions");
        let resumed = searched(&problem, &run);
        assert_eq!(resumed.name, fitted.name);
        assert_eq!(resumed.model.packed().unwrap(), fitted.model.packed().unwrap());
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
    fn a_finished_search_says_again_what_it_skipped_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let problem = Toy::new(&[6, 6, 6]).problem(0);
        let run = run(folder.path());
        let skipped = |fitted: &Fitted| {
            let reasons =
                fitted.candidates.iter().filter_map(|tried| Some((tried.name.clone(), tried.skipped.clone()?)));
            reasons.collect::<Vec<_>>()
        };
        searched(&problem, &run);
        let mut some = scores(&run)[..3].to_vec();
        some[2]["left_out"] = Value::from("too long");
        write(&run, &some);
        let said = [("lda".to_string(), "too slow".to_string())];
        std::fs::write(run.path().join("skipped.json"), serde_json::to_vec(&said).unwrap()).unwrap();
        let left_out = some[2]["name"].as_str().unwrap().to_string();
        let expected = [(left_out, "too long".to_string()), said[0].clone()];
        assert_eq!(skipped(&searched(&problem, &run)), expected);
        assert_eq!(skipped(&searched(&problem, &run)), expected);
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
