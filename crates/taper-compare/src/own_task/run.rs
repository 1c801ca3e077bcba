//! Running a comparison on a data set's own classes: features once for everything, then row after row, the
//! cheapest first, each with its share of the time that is left.

use super::conclude::conclude;
use super::curve::{CurvePoint, Series};
use super::draws::{Count, Draws};
use super::keep::trained_on_all;
use super::ledger::{ELAPSED, Ledger};
use super::meta_data::MetaSource;
use super::options::{OwnTask, Part};
use super::pool::Pool;
use super::report::{Curve, OwnTaskReport, OwnTaskSummary};
use super::row::{LearningCost, LeftOut, Row};
use super::rows::{self, Scratch};
use super::scores::{Answers, Scores, score, score_all_labels};
use crate::from_weights::{Frozen, Made, MetaTrained, MetaTraining};
use crate::{CompareError, Result};
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Dataset, Hash};
use taper_learn::{Method, Observer, RunDirectory, evaluation::Labeled, methods::Kind};
use taper_models::catalog::Pretrained;
use taper_ops::map_in_order;
use taper_transfer::RunList;

/// What is compared on.
#[derive(Clone)]
pub struct OwnTaskData<'a> {
    /// The data set whose classes are to be told apart.
    pub dataset: Arc<dyn Dataset>,
    /// Pretrained weights, from which everything but the floor starts.
    pub pretrained: Option<&'a Pretrained>,
    /// Other images with classes to meta-learn from.
    pub meta_data: Option<Arc<dyn Dataset>>,
}

/// What is still to be scored.
enum Planned {
    Method(&'static dyn Method, Part),
    FineTuneAll,
    MetaThenFineTune,
}

impl Planned {
    /// Its name among measured times.
    fn name(&self) -> &'static str {
        match self {
            Self::Method(method, _) => method.info().name,
            Self::FineTuneAll => "fine-tuning everything",
            Self::MetaThenFineTune => "fine-tuning after meta-training",
        }
    }

    /// Its share of the time, relative to the others'.
    fn weight(&self) -> f64 {
        match self {
            Self::Method(_, Part::Floor) => 0.5,
            Self::Method(_, Part::Head | Part::Scratch) => 1.0,
            Self::Method(_, Part::Meta) => 2.0,
            Self::Method(_, Part::FineTune) => 6.0,
            Self::FineTuneAll => 5.0,
            Self::MetaThenFineTune => 4.0,
        }
    }
}

/// Of a meta-learner's share of the time, what its training may take.
const TRAINING: f64 = 0.75;
/// Fewer steps of meta-training teach nothing, and more are not needed from pretrained weights.
const FEWEST_STEPS: u64 = 10;
const USEFUL_STEPS: u64 = 100;
const MOST_STEPS: u64 = 1000;

/// How many images `budget` seconds pay for.
///
/// # Errors
/// Returns an error if they don't even pay for the features of the fewest images that say anything.
fn affordable(ways: usize, per_image: f64, budget: f64) -> Result<usize> {
    /// The share of the time that features may take.
    const SHARE: f64 = 0.5;
    let images = 2 * ways;
    let needed = per_image * images as f64;
    if needed > budget {
        return Err(CompareError::BudgetTooShort { budget, needed, images });
    }
    Ok(if per_image > 0.0 { ((SHARE * budget / per_image) as usize).max(images) } else { usize::MAX })
}

/// Fails if an earlier session of the run compared on other images: its scores are of no use then.
fn check_unchanged(dataset: &dyn Dataset, pool: &Pool, run: Option<&RunDirectory>) -> Result<()> {
    if run.is_none() {
        return Ok(());
    }
    let images = pool.images();
    let hashes = map_in_order(&images, |_, &image| dataset.content_hash(image));
    let mut content = Vec::new();
    for (hash, image) in hashes.into_iter().zip(&images) {
        content.extend(hash?.0);
        content.extend(dataset.labels()[*image].to_le_bytes());
    }
    let found = Hash::of(&content).to_string();
    let mut known: RunList<String> = RunList::open(run, "data.json")?;
    match known.first() {
        Some(before) if *before != found => Err(CompareError::DataChanged { dataset: dataset.name().to_string() }),
        Some(_) => Ok(()),
        None => Ok(known.push(found)?),
    }
}

/// The share of the time that is kept for training the chosen method on all labels.
const RESERVED: f64 = 0.1;

impl OwnTask {
    /// Scores every method at every number of labels, as the time allows, and trains the one that does best on
    /// all labels. With a run directory everything that was scored or trained is kept there, and a comparison
    /// that was stopped or killed resumes there.
    ///
    /// # Errors
    /// Returns an error if a method is unknown, the data don't allow a comparison, the time does not even pay for
    /// the features, training fails, or the observer asks to stop.
    pub fn run(
        &self,
        data: &OwnTaskData<'_>,
        run: Option<&RunDirectory>,
        observer: &mut dyn Observer,
    ) -> Result<OwnTaskReport> {
        self.check()?;
        let start = Instant::now();
        let mut ledger = Ledger::open(run)?;
        let dataset = &data.dataset;
        let others = data.meta_data.as_ref().map_or(0, |meta| meta.labels().len());
        let budget = self.seconds(dataset.labels().len() + others);
        let ways = dataset.classes().len();
        let frozen = data.pretrained.map(|weights| Frozen::new(dataset, weights, ways, self.image_size, self.seed));
        let frozen = frozen.transpose()?;
        let per_image = match &frozen {
            Some(frozen) => ledger.measured("features of an image", || frozen.seconds_per_image())?,
            None => 0.0,
        };
        let most = affordable(ways, per_image, budget)?;
        let pool = Pool::new(dataset.as_ref(), most, self.seed, observer)?;
        check_unchanged(dataset.as_ref(), &pool, run)?;
        let draws = Draws::new(pool, self.seed);
        let counts = draws.counts(&self.label_counts(), self.labels.is_empty(), observer)?;
        let meta = match (&data.meta_data, &frozen) {
            (Some(meta), Some(_)) => Some(MetaSource::new(self, dataset.as_ref(), meta, per_image, budget)?),
            _ => None,
        };
        let before = ledger.elapsed();
        let mut session = Session {
            own: self,
            dataset,
            frozen: frozen.as_ref(),
            per_image,
            draws: &draws,
            counts: &counts,
            ledger,
            run,
            clock: Clock { start, before, seconds: budget * (1.0 - RESERVED) },
            scored: Vec::new(),
            left_out: Vec::new(),
            scratch: None,
        };
        session.fill(budget, meta.as_ref(), observer)?;
        let Session { mut scored, left_out, scratch, .. } = session;
        let curves = |scored: &[(Row, Scores)]| -> Result<Vec<Curve>> {
            scored.iter().map(|(row, scores)| curve(row, scores, &draws, &counts)).collect()
        };
        let mut methods = curves(&scored)?;
        let mut conclusion = conclude(&methods)?;
        let place = |name: &str| scored.iter().position(|(row, _)| row.name == name);
        let chosen = conclusion.chosen.as_ref().and_then(|chosen| place(&chosen.name));
        // what is kept learns from all labels in any case: the score that it then has is worth knowing
        if let Some((row, scores)) = chosen.map(|place| &mut scored[place])
            && score_all_labels(row, &draws, &counts, scores, run, observer)?
        {
            methods = curves(&scored)?;
            conclusion = conclude(&methods)?;
        }
        let keepable = chosen.map(|place| &scored[place]);
        let used = meta.as_ref().map(MetaSource::used).transpose()?;
        let model = match keepable {
            Some((row, _)) => {
                let used = used.filter(|_| row.kind == Kind::Meta);
                trained_on_all(row, &draws, dataset.as_ref(), frozen.as_ref(), scratch.as_ref(), used)?
            }
            None => None,
        };
        let pool = draws.pool();
        Ok(OwnTaskReport {
            comparison: self.clone(),
            data: OwnTaskSummary {
                name: dataset.name().to_string(),
                classes: pool.ways(),
                images: pool.labeled_images(),
                held_out: pool.images().len() - pool.labeled_images(),
                weights: frozen.as_ref().map(|frozen| frozen.name.clone()),
                meta_data: meta.as_ref().map(MetaSource::summary),
                budget,
            },
            methods,
            left_out,
            crossings: conclusion.crossings,
            forecasts: conclusion.forecasts,
            claims: conclusion.claims,
            words: conclusion.words,
            chosen: conclusion.chosen,
            warnings: warnings(&scored).into_iter().chain(conclusion.warnings).collect(),
            model,
        })
    }
}

/// The time that is left.
struct Clock {
    start: Instant,
    /// Seconds of earlier sessions.
    before: f64,
    seconds: f64,
}

impl Clock {
    fn elapsed(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    fn left(&self) -> f64 {
        (self.seconds - self.elapsed()).max(0.0)
    }
}

/// Everything that rows are made of and scored with.
struct Session<'a> {
    own: &'a OwnTask,
    dataset: &'a Arc<dyn Dataset>,
    frozen: Option<&'a Frozen>,
    /// Seconds that the features of an image take.
    per_image: f64,
    draws: &'a Draws,
    counts: &'a [Count],
    ledger: Ledger,
    run: Option<&'a RunDirectory>,
    clock: Clock,
    scored: Vec<(Row, Scores)>,
    left_out: Vec<LeftOut>,
    scratch: Option<Scratch>,
}

impl Session<'_> {
    /// Tells what is going to be done.
    fn announce(&self, rows: usize, budget: f64, meta: Option<&MetaSource>, observer: &mut dyn Observer) -> Result<()> {
        let labels: Vec<String> = self.counts.iter().map(|count| count.labels.to_string()).collect();
        let pool = self.draws.pool();
        let features = match self.frozen {
            Some(_) => {
                let images = pool.images().len() + meta.map_or(0, MetaSource::images);
                format!(", of which features take about {:.0} s", images as f64 * self.per_image)
            }
            None => String::new(),
        };
        observer.note(format!(
            "plan: {} classes, {} labels per class, {rows} methods, within {budget:.0} s{features}",
            pool.ways(),
            labels.join(", ")
        ))?;
        Ok(())
    }

    /// Makes and scores all rows, the cheapest first.
    fn fill(&mut self, budget: f64, meta: Option<&MetaSource>, observer: &mut dyn Observer) -> Result<()> {
        let mut planned = self.planned(meta, observer)?;
        self.announce(planned.len(), budget, meta, observer)?;
        let made = match self.frozen {
            Some(frozen) => {
                let images = self.draws.pool().images();
                Some(frozen.make(&frozen.view, &images, "features", observer)?)
            }
            None => None,
        };
        let sample = self.sample();
        let mut trained: Option<MetaTrained> = None;
        let mut tasks = None;
        while !planned.is_empty() {
            let total: f64 = planned.iter().map(Planned::weight).sum();
            let next = planned.remove(0);
            if let (Planned::Method(_, Part::Meta), None, Some(meta), Some(frozen)) = (&next, &tasks, meta, self.frozen)
            {
                tasks = Some(meta.tasks(frozen, self.draws.pool().ways(), self.own.seed, observer)?);
            }
            self.ledger.measured(&format!("{ELAPSED}{}", next.name()), || Ok(self.clock.elapsed()))?;
            let part = next.weight() / total;
            let share = self.ledger.measured(&format!("time for {}", next.name()), || Ok(part * self.clock.left()))?;
            let row = match (&next, self.frozen, &made) {
                (Planned::Method(method, Part::Floor), ..) => rows::pixels(*method, self.dataset)?,
                (Planned::Method(method, Part::Scratch), ..) => {
                    let scratch = Scratch::new(self.own, self.dataset, self.draws.pool().ways())?;
                    let row = scratch.row(*method, &sample, &mut self.ledger)?;
                    self.scratch = Some(scratch);
                    row
                }
                (Planned::Method(method, Part::Head), Some(frozen), Some(made)) => {
                    rows::head(self.own, *method, frozen, made)?
                }
                (Planned::Method(_, Part::FineTune), Some(frozen), Some(Made { activations: Some(made), .. })) => {
                    let Some(stage) = &frozen.stage else { continue };
                    rows::fine_tune_upper(frozen, stage, made, &sample, &mut self.ledger)?
                }
                (Planned::FineTuneAll, Some(frozen), _) => rows::fine_tune_all(frozen, &sample, &mut self.ledger)?,
                (
                    Planned::Method(method, Part::Meta),
                    Some(frozen),
                    Some(Made { activations: Some(activations), .. }),
                ) => {
                    let Some((training, validation)) = &tasks else { continue };
                    let settings = self.own.set.of(method.info().name);
                    let meta_training =
                        MetaTraining::new(*method, settings, frozen, training, validation.as_ref(), self.own.seed)?;
                    let what = format!("a meta-training step of {}", method.info().name);
                    let per_step = self.ledger.measured(&what, || meta_training.seconds_of_step())?;
                    let steps = ((TRAINING * share / per_step) as u64).min(MOST_STEPS);
                    if steps < FEWEST_STEPS {
                        let useful = per_step * USEFUL_STEPS as f64;
                        let reason = format!("its training takes about {useful:.0} s");
                        self.leave_out(method.info().title, Kind::Meta, reason);
                        continue;
                    }
                    let meta_trained = meta_training.train(steps, self.run, observer)?;
                    let row = rows::meta_trained(&meta_trained, frozen, activations, &self.draws.pool().images())?;
                    trained.get_or_insert(meta_trained);
                    row
                }
                (Planned::MetaThenFineTune, Some(frozen), Some(Made { activations: Some(activations), .. })) => {
                    let (Some(stage), Some(trained)) = (&frozen.stage, &trained) else {
                        self.leave_out("meta-train, then fine-tune", Kind::Meta, "no meta-learner was trained".into());
                        continue;
                    };
                    rows::meta_then_fine_tune(trained, frozen, stage, activations, &sample, &mut self.ledger)?
                }
                _ => continue,
            };
            let scores = score(&row, Scores::default(), self.draws, self.counts, share, self.run, observer)?;
            match scores.cells.is_empty() {
                true => {
                    let reason = scores.left_out.unwrap_or_default();
                    self.leave_out(&row.name, row.kind, reason);
                }
                false => {
                    self.say(&row, &scores, observer)?;
                    self.scored.push((row, scores));
                }
            }
        }
        self.fill_time(observer)
    }

    /// Gives the time that is left to the rows that were cut short, the last ones first: they cost most.
    fn fill_time(&mut self, observer: &mut dyn Observer) -> Result<()> {
        for place in (0..self.scored.len()).rev() {
            if self.scored[place].0.cost == LearningCost::Small {
                continue;
            }
            let what = format!("more time for {}", self.scored[place].0.name);
            let more = self.ledger.measured(&what, || Ok(self.clock.left()))?;
            let (row, scores) = &mut self.scored[place];
            let share = scores.seconds() + more;
            let before = (scores.cells.len(), std::mem::take(scores));
            *scores = score(row, before.1, self.draws, self.counts, share, self.run, observer)?;
            if self.scored[place].1.cells.len() > before.0 {
                let (row, scores) = &self.scored[place];
                self.say(row, scores, observer)?;
            }
        }
        Ok(())
    }

    /// What is to be scored, the cheapest first. A note says what can't be scored.
    fn planned(&mut self, meta: Option<&MetaSource>, observer: &mut dyn Observer) -> Result<Vec<Planned>> {
        let parts = self.own.parts()?;
        let can_cut = self.frozen.is_some_and(|frozen| frozen.stage.is_some());
        let mut planned = Vec::new();
        let (mut without_weights, mut without_meta, mut uncut) = (0, 0, 0);
        for part in [Part::Floor, Part::Head, Part::Scratch, Part::Meta, Part::FineTune] {
            for &(method, _) in parts.iter().filter(|(_, of)| *of == part) {
                match part {
                    Part::Head | Part::Meta | Part::FineTune if self.frozen.is_none() => {
                        without_weights += 1;
                        self.leave_out(method.info().title, method.info().kind, "no pretrained weights".into());
                    }
                    Part::Meta if meta.is_none() => {
                        without_meta += 1;
                        self.leave_out(method.info().title, Kind::Meta, "no other images to meta-learn from".into());
                    }
                    Part::Meta if !can_cut => {
                        uncut += 1;
                        self.leave_out(method.info().title, Kind::Meta, "this network can't be trained in part".into());
                    }
                    Part::FineTune if !can_cut => planned.push(Planned::FineTuneAll),
                    Part::FineTune => {
                        planned.push(Planned::Method(method, part));
                        if planned.iter().any(|one| matches!(one, Planned::Method(_, Part::Meta))) {
                            planned.push(Planned::MetaThenFineTune);
                        }
                        planned.push(Planned::FineTuneAll);
                    }
                    _ => planned.push(Planned::Method(method, part)),
                }
            }
        }
        if without_weights > 0 {
            observer.note(format!(
                "{without_weights} methods start from pretrained weights, and there are none: left out"
            ))?;
        }
        if without_meta > 0 {
            observer.note(format!(
                "meta-learners are left out ({without_meta}): they need other images to learn from, such as a folder of other \
                 photographs with classes of their own"
            ))?;
        }
        if uncut > 0 {
            observer.note(format!("meta-learners are left out ({uncut}): this network can't be trained in part"))?;
        }
        if planned.is_empty() {
            return Err(CompareError::Invalid(
                "no method can be scored: give what they start from, or ask for others".into(),
            ));
        }
        Ok(planned)
    }

    /// A few labeled images to measure times on: an image of every class, then a second, up to some number.
    fn sample(&self) -> Labeled {
        const SAMPLE: usize = 16;
        let pool = self.draws.pool();
        let most = pool.labeled.iter().map(Vec::len).max().unwrap_or(0);
        let in_turn = (0..most).flat_map(|place| pool.labeled.iter().filter_map(move |images| images.get(place)));
        self.draws.labeled(in_turn.take(SAMPLE.max(pool.ways())).copied().collect())
    }

    fn leave_out(&mut self, name: &str, kind: Kind, reason: String) {
        self.left_out.push(LeftOut { name: name.to_string(), kind, reason });
    }

    /// Reports a row as soon as it is scored.
    fn say(&self, row: &Row, scores: &Scores, observer: &mut dyn Observer) -> Result<()> {
        let of = |count: &Count| {
            let tasks = scores.answers(self.draws, count.labels, Answers::shown(self.draws));
            let mean = tasks.values().map(|task| task.accuracy()).sum::<f64>() / tasks.len().max(1) as f64;
            (!tasks.is_empty()).then(|| format!("{:.1}% with {}", mean * 100.0, count.labels))
        };
        let all: Vec<String> = self.counts.iter().filter_map(of).collect();
        Ok(observer.note(format!("{}: {}", row.name, all.join(", ")))?)
    }
}

/// A row's curve.
fn curve(row: &Row, scores: &Scores, draws: &Draws, counts: &[Count]) -> Result<Curve> {
    let series = |which| Series {
        points: counts.iter().map(|&count| (count, scores.answers(draws, count.labels, which))).collect(),
    };
    let (table, choice, apart) = (series(Answers::shown(draws)), series(Answers::Choice), series(Answers::Measure));
    let points = table.estimates()?.into_iter().map(|(count, estimate)| CurvePoint {
        labels: count.labels,
        per_class: count.per_class,
        accuracy: estimate.interval(),
        draws: scores.of(count.labels).len(),
        adapt_seconds: scores.mean(count.labels, |cell| cell.adapt_seconds),
        predict_seconds: scores.mean(count.labels, |cell| cell.predict_seconds / cell.predicted.len().max(1) as f64),
    });
    Ok(Curve {
        name: row.name.clone(),
        kind: row.kind,
        approach: row.approach,
        start: row.start,
        trained_on: row.trained_on.clone(),
        train_seconds: row.train_seconds,
        points: points.collect(),
        left_out: scores.left_out.clone(),
        measured: apart,
        choice,
    })
}

/// Rows that diverged, and how often.
fn warnings(scored: &[(Row, Scores)]) -> Vec<String> {
    let warning = |(row, scores): &(Row, Scores)| {
        let failed = scores.cells.iter().filter(|cell| cell.predicted.iter().any(Option::is_none)).count();
        (failed > 0).then(|| format!("{} diverged on {failed} draw(s) of labels, which count as guesses", row.name))
    };
    scored.iter().filter_map(warning).collect()
}
