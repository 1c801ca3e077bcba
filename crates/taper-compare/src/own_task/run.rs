//! Running a comparison on a data set's own classes: the images, a session of scoring, the conclusion, and the
//! classifier that is kept.

use super::answers::scored as scored_answers;
use super::conclude::conclude;
use super::draws::Draws;
use super::keep::trained_on_all;
use super::ledger::Ledger;
use super::meta_data::MetaSource;
use super::options::OwnTask;
use super::pool::Pool;
use super::report::{Curve, KeptAnswers, OwnTaskReport, OwnTaskSummary};
use super::row::Row;
use super::scores::{Scores, score_all_labels};
use super::session::{Clock, Session};
use crate::from_weights::{Frozen, MetaTrained};
use crate::{CompareError, Result};
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Dataset, Hash};
use taper_learn::{Model, Observer, RunDirectory, methods::Kind, provenance::Provenance};
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
    /// Learners that were meta-trained from the same weights before, with what tables call them.
    pub learners: Vec<(String, Model)>,
}

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

/// The kept learners, each named as tables call it.
///
/// # Errors
/// Returns an error if one was trained from other weights, or on images that are compared on.
fn kept_learners(data: &OwnTaskData<'_>, frozen: Option<&Frozen>, draws: &Draws) -> Result<Vec<(String, MetaTrained)>> {
    let dataset = data.dataset.as_ref();
    let learner = |(name, model): &(String, Model)| -> Result<(String, MetaTrained)> {
        let Some(frozen) = frozen else {
            return Err(CompareError::Invalid(format!("{name} starts from pretrained weights: give them")));
        };
        let learned = frozen.learned(model)?;
        let images = model.provenance.trained_images(dataset, &draws.pool().images())?.len();
        if images > 0 {
            let dataset = dataset.name().to_string();
            return Err(CompareError::SeenByLearner { learner: name.clone(), images, dataset });
        }
        Ok((name.clone(), learned))
    };
    data.learners.iter().map(learner).collect()
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
        let learners = kept_learners(data, frozen.as_ref(), &draws)?;
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
            learners,
        };
        session.fill(budget, meta.as_ref(), observer)?;
        let Session { mut scored, left_out, scratch, .. } = session;
        let curves = |scored: &[(Row, Scores)]| -> Result<Vec<Curve>> {
            scored.iter().map(|(row, scores)| Curve::of(row, scores, &draws, &counts)).collect()
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
        let kept = match keepable {
            Some((row, _)) => {
                let used = match data.learners.iter().find(|(name, _)| *name == row.name) {
                    Some((_, learner)) => learner.provenance.clone(),
                    None if row.kind == Kind::Meta => {
                        Provenance { trained_on: used.into_iter().collect(), ..Provenance::default() }
                    }
                    None => Provenance::default(),
                };
                trained_on_all(row, &draws, dataset.as_ref(), frozen.as_ref(), scratch.as_ref(), used)?
            }
            None => None,
        };
        let (model, answers) = kept.map_or((None, None), |kept| (Some(kept.model), kept.answers));
        let pool = draws.pool();
        let answers = keepable.map(|(_, scores)| KeptAnswers {
            held_out: pool.sets_aside(),
            answers: answers.unwrap_or_else(|| scored_answers(&draws, &counts, scores)),
            classes: pool.classes.iter().map(|&class| dataset.classes()[class as usize].full_name()).collect(),
        });
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
            answers,
        })
    }
}

/// Rows that diverged, and how often.
fn warnings(scored: &[(Row, Scores)]) -> Vec<String> {
    let warning = |(row, scores): &(Row, Scores)| {
        let failed = scores.cells.iter().filter(|cell| cell.predicted.iter().any(Option::is_none)).count();
        (failed > 0).then(|| format!("{} diverged on {failed} draw(s) of labels, which count as guesses", row.name))
    };
    scored.iter().filter_map(warning).collect()
}
