//! A session of a comparison: row after row, the cheapest first, each with its share of the time that is left.

use super::draws::{Count, Draws};
use super::ledger::{ELAPSED, Ledger};
use super::meta_data::MetaSource;
use super::options::{OwnTask, Part};
use super::planned::{Planned, planned};
use super::row::{LearningCost, LeftOut, Row};
use super::rows::{self, Scratch};
use super::scores::{Answers, Scores, score};
use crate::Result;
use crate::from_weights::{Frozen, Made, MetaTrained, MetaTraining, VALIDATION_EPISODES};
use std::sync::Arc;
use std::time::Instant;
use taper_data::Dataset;
use taper_learn::{Observer, RunDirectory, evaluation::Labeled, methods::Kind};

/// Of a meta-learner's share of the time, what its training may take.
const TRAINING: f64 = 0.75;
/// Fewer steps of meta-training teach nothing, and more are not needed from pretrained weights.
const FEWEST_STEPS: u64 = 10;
const USEFUL_STEPS: u64 = 100;
const MOST_STEPS: u64 = 1000;

/// The time that is left.
pub(super) struct Clock {
    pub(super) start: Instant,
    /// Seconds of earlier sessions.
    pub(super) before: f64,
    pub(super) seconds: f64,
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
pub(super) struct Session<'a> {
    pub(super) own: &'a OwnTask,
    pub(super) dataset: &'a Arc<dyn Dataset>,
    pub(super) frozen: Option<&'a Frozen>,
    /// Seconds that the features of an image take.
    pub(super) per_image: f64,
    pub(super) draws: &'a Draws,
    pub(super) counts: &'a [Count],
    pub(super) ledger: Ledger,
    pub(super) run: Option<&'a RunDirectory>,
    pub(super) clock: Clock,
    pub(super) scored: Vec<(Row, Scores)>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) scratch: Option<Scratch>,
    /// Learners that were meta-trained from the same weights before, with what tables call them.
    pub(super) learners: Vec<(String, MetaTrained)>,
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
    pub(super) fn fill(&mut self, budget: f64, meta: Option<&MetaSource>, observer: &mut dyn Observer) -> Result<()> {
        let (mut planned, left_out) = planned(self.own, self.frozen, meta, self.learners.len(), observer)?;
        self.left_out = left_out;
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
            let name = match next {
                Planned::Learner(place) => self.learners[place].0.clone(),
                _ => next.name().to_string(),
            };
            self.ledger.measured(&format!("{ELAPSED}{name}"), || Ok(self.clock.elapsed()))?;
            let part = next.weight() / total;
            let share = self.ledger.measured(&format!("time for {name}"), || Ok(part * self.clock.left()))?;
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
                (Planned::Learner(place), Some(frozen), Some(made)) => {
                    let (name, learned) = &self.learners[*place];
                    rows::meta_trained(learned, frozen, made, &self.draws.pool().images(), name.clone())?
                }
                (Planned::Method(method, Part::Meta), Some(frozen), Some(made)) => {
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
                    let plan = meta_training.plan(steps);
                    let meta_trained = meta_training.train(&plan, VALIDATION_EPISODES, self.run, observer)?;
                    let (images, title) = (self.draws.pool().images(), method.info().title.to_string());
                    let row = rows::meta_trained(&meta_trained, frozen, made, &images, title)?;
                    trained.get_or_insert(meta_trained);
                    row
                }
                (Planned::MetaThenFineTune, Some(frozen), Some(Made { activations: Some(activations), .. })) => {
                    let (Some(stage), Some(trained)) = (&frozen.stage, &trained) else {
                        self.leave_out(
                            "a meta-learner, then fine-tune",
                            Kind::Meta,
                            "no meta-learner was trained".into(),
                        );
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
