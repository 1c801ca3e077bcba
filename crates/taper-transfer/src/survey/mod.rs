//! A survey: heads and fine-tuning at several numbers of labels, over data sets and pretrained networks, each
//! scored once on validation images.

mod cell;
mod options;

pub use cell::Cell;
pub use options::{FineTuneFrom, LabelCount, SurveyOptions};

use crate::candidate::{Candidate, head_learner};
use crate::{Problem, Result, TransferError, fingerprint};
use cell::{CellScore, Cells, Place};
use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Hash, Inputs};
use taper_learn::{Method, Observer, RunDirectory, evaluation::Labeled, training::Deadline};
use taper_ops::{permutation, rng};

/// Images classified at once.
const BATCH: usize = 64;

/// Scores every head and kind of fine-tuning on every problem (a data set with a network). `heads` are
/// the methods that the options may name, such as [`HEADS`](crate::HEADS).
///
/// With a run directory every score is kept in `cells.json` as soon as it is known, and a survey that was
/// stopped or killed resumes there.
///
/// # Errors
/// Returns an error, before anything is trained, if a head is unknown or a network has no such stage;
/// [`taper_learn::LearnError::Stopped`] if the observer asks to stop; and an error if images or the run can't be
/// read or written.
///
/// ```
/// use std::sync::Arc;
/// use taper_data::{Glyphs, GlyphsSize};
/// use taper_learn::NoopObserver;
/// use taper_transfer::{HEADS, Problem, ProblemOptions, SurveyOptions, survey};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let images = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 6 })?);
/// let options = ProblemOptions { backbone: Some("conv4-4".parse()?), validation: 0.5, ..ProblemOptions::default() };
/// let problem = Problem::new(images, None, &options, &mut NoopObserver)?;
/// let options = SurveyOptions { heads: vec!["nearest-mean".into(), "ridge".into()], ..SurveyOptions::default() };
/// for cell in survey(&[problem], &options, &HEADS, None, &mut NoopObserver)? {
///     println!("{} with {} labels per class: {:.2}", cell.method, cell.labels, cell.accuracy);
/// }
/// # Ok(())
/// # }
/// ```
pub fn survey(
    problems: &[Problem],
    options: &SurveyOptions,
    heads: &[&'static dyn Method],
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Vec<Cell>> {
    survey_part(problems, options, heads, &|_| true, run, observer)
}

/// Those cells of a [`survey`] whose numbers `mine` accepts, counted from 0 in the order of the whole survey.
///
/// # Errors
/// Returns what [`survey`] does.
pub fn survey_part(
    problems: &[Problem],
    options: &SurveyOptions,
    heads: &[&'static dyn Method],
    mine: &dyn Fn(usize) -> bool,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Vec<Cell>> {
    check_survey(problems, options, heads)?;
    let mut cells = Cells::open(run, mine)?;
    for (problem, name) in problems.iter().zip(Names::of(problems)?) {
        let survey = ProblemSurvey { problem, name, options, heads };
        survey.fill(&mut cells, observer)?;
    }
    Ok(cells.into_cells())
}

/// Checks that a survey is possible, before a run starts.
///
/// # Errors
/// Returns an error if a head is unknown, or if a network does not have that many split points.
pub fn check_survey(problems: &[Problem], options: &SurveyOptions, heads: &[&'static dyn Method]) -> Result<()> {
    for problem in problems {
        for head in &options.heads {
            head_learner(head, heads, problem, Deadline::default())?;
        }
        for &from in &options.fine_tune {
            FineTuning::new(from, problem)?;
        }
    }
    Ok(())
}

/// A problem's name in a survey.
struct Names {
    data: String,
    network: String,
    key: String,
}

impl Names {
    /// Names of problems: those of their data set and network, with the weights' name and part of a
    /// fingerprint if names would be equal.
    fn of(problems: &[Problem]) -> Result<Vec<Self>> {
        let data: Vec<Hash> = problems.iter().map(data_fingerprint).collect::<Result<_>>()?;
        let weights: Vec<Hash> = problems
            .iter()
            .map(|problem| Ok(fingerprint(problem.network(), problem.state())?))
            .collect::<Result<_>>()?;
        let data_names = distinct(&data, &[&|problem| problems[problem].dataset().name().to_string()]);
        let network = |problem: usize| problems[problem].network().backbone().name();
        let with_weights = |problem: usize| match problems[problem].weights() {
            Some(weights) => format!("{} ({weights})", network(problem)),
            None => network(problem),
        };
        let network_names = distinct(&weights, &[&network, &with_weights]);
        let key = |problem: usize| {
            let content = format!("{} {} {}", data[problem], weights[problem], problems[problem].view().transform());
            Hash::of(content.as_bytes()).to_string()[..16].to_string()
        };
        let names = data_names.into_iter().zip(network_names).enumerate();
        Ok(names.map(|(problem, (data, network))| Self { data, network, key: key(problem) }).collect())
    }
}

/// A name for each item, by the first of `names` that distinguishes all different contents; if none does, the last
/// one with part of the content's fingerprint.
fn distinct(contents: &[Hash], names: &[&dyn Fn(usize) -> String]) -> Vec<String> {
    let all = |name: &dyn Fn(usize) -> String| (0..contents.len()).map(name).collect::<Vec<String>>();
    let is_distinct = |named: &[String]| {
        let mut known: BTreeMap<&String, Hash> = BTreeMap::new();
        named.iter().zip(contents).all(|(name, &content)| *known.entry(name).or_insert(content) == content)
    };
    let mut named = Vec::new();
    for name in names {
        named = all(name);
        if is_distinct(&named) {
            return named;
        }
    }
    named.iter().zip(contents).map(|(name, content)| format!("{name} #{}", &content.to_string()[..8])).collect()
}

/// Fingerprint of the images with their labels and parts.
fn data_fingerprint(problem: &Problem) -> Result<Hash> {
    let mut content = problem.dataset().name().as_bytes().to_vec();
    for part in [problem.training(), problem.validation()] {
        let dataset = problem.dataset();
        let hashes = taper_ops::map_in_order(&part.images, |_, &image| dataset.content_hash(image));
        for (hash, label) in hashes.into_iter().zip(&part.labels) {
            content.extend(hash?.0);
            content.extend(label.to_le_bytes());
        }
    }
    Ok(Hash::of(&content))
}

/// The survey of one problem.
struct ProblemSurvey<'a> {
    problem: &'a Problem,
    name: Names,
    options: &'a SurveyOptions,
    heads: &'a [&'static dyn Method],
}

impl ProblemSurvey<'_> {
    /// Fills the problem's cells.
    fn fill(&self, cells: &mut Cells<'_>, observer: &mut dyn Observer) -> Result<()> {
        let Self { problem, name, options, heads } = self;
        let validation = problem.validation();
        let all: Vec<usize> = problem.training().images.iter().chain(&validation.images).copied().collect();
        let inputs: Arc<dyn Inputs> = Arc::new(problem.features(&all, observer)?);
        for &labels in &options.labels {
            // there is a single draw of all images
            let draws = if labels == LabelCount::All { 1 } else { options.draws as u64 };
            let drawn = (0..draws).map(|draw| labeled(problem.training(), labels, problem.seed().wrapping_add(draw)));
            let Some(drawn) = drawn.collect::<Option<Vec<Labeled>>>() else {
                let mut counts = vec![0; problem.training().ways];
                problem.training().labels.iter().for_each(|&label| counts[label as usize] += 1);
                observer.note(format!(
                    "{}: {labels} labels per class are skipped: a class has only {} images to learn from, the others are for \
                     validation",
                    name.data,
                    counts.iter().min().copied().unwrap_or(0)
                ))?;
                continue;
            };
            let place = |method: &str| Place {
                data: name.data.clone(),
                network: name.network.clone(),
                key: name.key.clone(),
                labels: labels.to_string(),
                method: method.to_string(),
            };
            for head in &options.heads {
                cells.fill(place(head), observer, || {
                    let candidate = Candidate::head(head, heads, problem, slice::from_ref(&inputs));
                    drawn.iter().map(|training| score(&candidate, training, problem)).collect()
                })?;
            }
            for &from in &options.fine_tune {
                let tuning = FineTuning::new(from, problem)?;
                cells.fill(place(&tuning.name()), observer, || {
                    let one = |training: &Labeled| {
                        let images: Vec<usize> = training.images.iter().chain(&validation.images).copied().collect();
                        score(&tuning.candidate(problem, &images)?, training, problem)
                    };
                    drawn.iter().map(one).collect()
                })?;
            }
        }
        Ok(())
    }
}

/// Fine-tuning of one problem's network.
enum FineTuning {
    From(String),
    All,
    Scratch,
}

impl FineTuning {
    /// Fails if the network does not have that many split points.
    fn new(from: FineTuneFrom, problem: &Problem) -> Result<Self> {
        let place = match from {
            FineTuneFrom::All => return Ok(Self::All),
            FineTuneFrom::Scratch => return Ok(Self::Scratch),
            FineTuneFrom::Stage(place) => place,
        };
        let backbone = problem.network().backbone();
        let stages = backbone.split_points();
        match place.checked_sub(1).and_then(|skipped| stages.iter().rev().nth(skipped)) {
            Some(stage) => Ok(Self::From(stage.clone())),
            None => Err(TransferError::NoSuchStage { place, network: backbone.name(), stages: stages.len() }),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::From(stage) => format!("fine-tune from {stage}"),
            Self::All => "fine-tune all".into(),
            Self::Scratch => "from scratch".into(),
        }
    }

    /// A candidate for these images.
    fn candidate(&self, problem: &Problem, images: &[usize]) -> Result<Candidate> {
        match self {
            Self::From(stage) => Candidate::fine_tune(stage, problem, &[problem.view()], images),
            Self::All => Ok(Candidate::fine_tune_all(problem)),
            Self::Scratch => Candidate::from_scratch(problem),
        }
    }
}

/// This many images of each class, drawn from the seed; `None` if a class has fewer.
fn labeled(training: &Labeled, labels: LabelCount, seed: u64) -> Option<Labeled> {
    let LabelCount::Of(count) = labels else { return Some(training.clone()) };
    let mut places = Vec::new();
    for class in 0..training.ways {
        let own: Vec<usize> = (0..training.labels.len()).filter(|&k| training.labels[k] as usize == class).collect();
        if own.len() < count {
            return None;
        }
        let order = permutation(&mut rng(seed, "labels", class as u64), own.len());
        places.extend(order[..count].iter().map(|&k| own[k]));
    }
    places.sort_unstable();
    Some(training.select(&places))
}

/// Trains a candidate and scores it on the validation images.
fn score(candidate: &Candidate, training: &Labeled, problem: &Problem) -> Result<CellScore> {
    let validation = problem.validation();
    let start = Instant::now();
    let learner = candidate.learner(Deadline::default())?;
    let classifier = learner.adapt(&training.batch_through_each(&candidate.inputs)?, problem.seed())?;
    let train_seconds = start.elapsed().as_secs_f64();
    let mut predicted = Vec::with_capacity(validation.images.len());
    for images in validation.images.chunks(BATCH) {
        let logits = classifier.logits(&candidate.plain().inputs(images, None)?)?;
        predicted.extend(logits.argmax(1)?.to_vec1::<u32>()?);
    }
    let predict_seconds = (start.elapsed().as_secs_f64() - train_seconds) / validation.images.len() as f64;
    let right = predicted.iter().zip(&validation.labels).filter(|(predicted, label)| predicted == label).count();
    Ok(CellScore { right, of: predicted.len(), train_seconds, predict_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HEADS;
    use crate::toy::Toy;
    use std::collections::BTreeSet;
    use taper_learn::{Event, Flow, LearnError, NoopObserver, runs::Existing};

    fn options() -> SurveyOptions {
        SurveyOptions {
            labels: vec![LabelCount::Of(1), LabelCount::All],
            draws: 1,
            heads: vec!["ridge".into(), "nearest-mean".into()],
            fine_tune: Vec::new(),
        }
    }

    struct StopAfter(usize);

    impl Observer for StopAfter {
        fn on(&mut self, event: Event<'_>) -> taper_learn::Result<Flow> {
            self.0 -= usize::from(matches!(event, Event::Note(_)));
            Ok(if self.0 == 0 { Flow::Stop } else { Flow::Continue })
        }
    }

    #[test]
    fn weight_files_with_the_same_name_have_cells_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", Existing::Refuse).unwrap();
        let toy = Toy::new(&[4, 4]);
        let problems = [toy.clone().problem(0), toy.clone().problem(1), toy.problem(0)];
        assert_eq!(problems[0].weights(), problems[1].weights());
        let cells = survey(&problems, &options(), &HEADS, Some(&run), &mut NoopObserver).unwrap();
        // the third problem is the same as the first
        assert_eq!(cells.len(), 2 * 2 * 2, "{cells:?}");
        let networks: BTreeSet<&str> = cells.iter().map(|cell| cell.network.as_str()).collect();
        assert_eq!(networks.len(), 2, "{networks:?}");
        let again = survey(&problems, &options(), &HEADS, Some(&run), &mut NoopObserver).unwrap();
        assert_eq!(again, cells, "a finished survey scores nothing again");
    }

    #[test]
    fn an_observer_stops_a_survey_which_resumes_to_the_same_cells() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", Existing::Refuse).unwrap();
        let problems = [Toy::new(&[4, 4]).problem(0)];
        let stopped = survey(&problems, &options(), &HEADS, Some(&run), &mut StopAfter(3)).unwrap_err();
        assert!(matches!(stopped, TransferError::Learn(LearnError::Stopped { .. })), "{stopped}");
        let cells_filled = |run: Option<&RunDirectory>| {
            let mut left = StopAfter(usize::MAX);
            let cells = survey(&problems, &options(), &HEADS, run, &mut left).unwrap();
            (cells, usize::MAX - left.0)
        };
        let (resumed, filled) = cells_filled(Some(&run));
        let (unbroken, all) = cells_filled(None);
        assert_eq!(filled, all - 3, "what the stopped session filled was filled again");
        let scores = |cells: &[Cell]| cells.iter().map(|cell| (cell.method.clone(), cell.accuracy)).collect::<Vec<_>>();
        assert_eq!(scores(&resumed), scores(&unbroken));
    }

    #[test]
    fn an_unknown_head_and_a_missing_stage_are_errors_before_anything_is_trained() {
        let problems = [Toy::new(&[4, 4]).problem(0)];
        let with = |heads: &[&str], fine_tune: &[FineTuneFrom]| {
            let heads = heads.iter().map(ToString::to_string).collect();
            let options = SurveyOptions { heads, fine_tune: fine_tune.to_vec(), ..options() };
            survey(&problems, &options, &HEADS, None, &mut NoopObserver).unwrap_err()
        };
        assert!(matches!(with(&["ridge", "bridge"], &[]), TransferError::UnknownHead { name, .. } if name == "bridge"));
        let error = with(&["ridge"], &[FineTuneFrom::Stage(9)]);
        assert!(matches!(error, TransferError::NoSuchStage { place: 9, stages, .. } if stages > 0), "{error}");
    }
}
