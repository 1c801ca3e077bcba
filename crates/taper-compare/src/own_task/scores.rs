//! Scores of one row over numbers of labels and draws, as many as fit into its share of the time.

use super::draws::{Count, Draws};
use super::row::{LearningCost, Row};
use crate::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;
use taper_learn::statistics::ScoredTask;
use taper_learn::{LearnError, Observer, RunDirectory, classifiers::predict};
use taper_ops::map_in_order;
use taper_transfer::{LabelCount, RunList};

/// Draws of labels, at most.
const DRAWS: u64 = 20;
/// Draws that come first, before others are paid for: fewer hardly tell how much draws differ.
const FIRST: u64 = 3;
/// Draws that are scored in parallel, where learning takes little: the same on every machine.
const AT_ONCE: u64 = 4;
/// Images classified at once.
const BATCH: usize = 64;

/// The answers after learning from one draw of labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub(super) labels: LabelCount,
    pub(super) draw: u64,
    /// The label given to each query; none if learning diverged.
    pub(super) predicted: Vec<Option<u32>>,
    /// Seconds of learning and of classifying all queries.
    pub(super) adapt_seconds: f64,
    pub(super) predict_seconds: f64,
    /// Seconds that passed, on all threads.
    pub(super) seconds: f64,
}

/// All answers of a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Scores {
    pub(super) cells: Vec<Cell>,
    /// Why some numbers of labels are left out.
    pub(super) left_out: Option<String>,
}

impl Scores {
    /// Seconds that everything took.
    pub(super) fn seconds(&self) -> f64 {
        self.cells.iter().map(|cell| cell.seconds).sum()
    }

    /// The cells of a number of labels, by draw.
    pub(super) fn of(&self, labels: LabelCount) -> Vec<&Cell> {
        let mut cells: Vec<&Cell> = self.cells.iter().filter(|cell| cell.labels == labels).collect();
        cells.sort_by_key(|cell| cell.draw);
        cells
    }

    /// A mean over the cells of a number of labels.
    pub(super) fn mean(&self, labels: LabelCount, of: impl Fn(&Cell) -> f64) -> f64 {
        let cells = self.of(labels);
        cells.iter().map(|cell| of(cell)).sum::<f64>() / cells.len().max(1) as f64
    }

    /// Answers by draw; draws without any are passed over.
    pub(super) fn answers(&self, draws: &Draws, labels: LabelCount, which: Answers) -> BTreeMap<u64, ScoredTask> {
        let tasks = self.of(labels).into_iter().map(|cell| {
            let draw = draws.draw(cell.draw);
            let choices = if draws.vary(labels) { draw.choice.len() } else { 0 };
            let include = |place: usize| match which {
                Answers::Choice => place < choices,
                Answers::Measure => place >= choices,
                Answers::All => true,
            };
            (cell.draw, draws.scored(&draw, labels, &cell.predicted, include))
        });
        tasks.filter(|(_, task)| !task.decisions.is_empty()).collect()
    }
}

/// Which answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// Those that choices are made on.
    Choice,
    /// Those that no choice depends on.
    Measure,
    /// All of them.
    All,
}

impl Answers {
    /// Those that tables show: of held-out images if there are any, else all.
    pub(super) fn shown(draws: &Draws) -> Self {
        if draws.pool().sets_aside() { Self::Measure } else { Self::All }
    }
}

/// Scores `row` at every number of labels, first on a few draws each, the fewest labels first, then on more
/// draws while `share` seconds last. What an earlier session of the run scored is not scored again, and what
/// is left out depends on recorded times alone, so that a resumed run ends as an unbroken one. `known` are scores of
/// this session, which a longer share extends.
pub(super) fn score(
    row: &Row,
    known: Scores,
    draws: &Draws,
    counts: &[Count],
    share: f64,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Scores> {
    let mut scoring = Scoring { row, draws, list: RunList::open(run, &row.file())? };
    if run.is_none() {
        scoring.list.extend(known.cells)?;
    }
    let mut scores = Scores::default();
    let mut reached: Vec<Count> = Vec::new();
    for &count in counts {
        let first = if draws.vary(count.labels) { FIRST } else { 1 };
        let estimate = first as f64 * scoring.estimate(count, reached.last(), &scores);
        if scores.seconds() + estimate > share && !(reached.is_empty() && row.cost == LearningCost::Small) {
            let text =
                if estimate >= 90.0 { format!("{:.0} min", estimate / 60.0) } else { format!("{estimate:.0} s") };
            scores.left_out = Some(format!("learning from {} takes about {text}", count.words()));
            break;
        }
        scores.cells.extend(scoring.cells(&[count], 0..first, observer)?);
        reached.push(count);
    }
    let varying: Vec<Count> = reached.into_iter().filter(|count| draws.vary(count.labels)).collect();
    let step = if row.cost == LearningCost::Small { AT_ONCE } else { 1 };
    let mut next = FIRST;
    while next < DRAWS && !varying.is_empty() {
        let numbers = next..(next + step).min(DRAWS);
        let round: f64 = varying.iter().map(|count| scores.mean(count.labels, |cell| cell.seconds)).sum();
        if scores.seconds() + round * (numbers.end - numbers.start) as f64 > share {
            break;
        }
        next = numbers.end;
        scores.cells.extend(scoring.cells(&varying, numbers, observer)?);
    }
    Ok(scores)
}

/// Adds the score of `row` after learning from all labels, if there is one draw of them and it is not known.
pub(super) fn score_all_labels(
    row: &Row,
    draws: &Draws,
    counts: &[Count],
    scores: &mut Scores,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<bool> {
    let Some(&last) = counts.last().filter(|last| !draws.vary(last.labels) && scores.of(last.labels).is_empty()) else {
        return Ok(false);
    };
    let mut scoring = Scoring { row, draws, list: RunList::open(run, &row.file())? };
    scores.cells.extend(scoring.cells(&[last], 0..1, observer)?);
    scores.left_out = scores.left_out.take().filter(|_| counts.iter().any(|count| scores.of(count.labels).is_empty()));
    Ok(true)
}

struct Scoring<'a> {
    row: &'a Row,
    draws: &'a Draws,
    list: RunList<Cell>,
}

impl Scoring<'_> {
    /// Seconds for one draw of `count` labels: by what fewer labels took, or as the row's cost says.
    fn estimate(&self, count: Count, before: Option<&Count>, scores: &Scores) -> f64 {
        match (before, self.row.cost) {
            (Some(before), _) => {
                let more = (count.images as f64 / before.images as f64).max(1.0);
                scores.mean(before.labels, |cell| cell.adapt_seconds) * more
                    + scores.mean(before.labels, |cell| cell.predict_seconds)
            }
            (None, LearningCost::PerImage(seconds)) => seconds * count.images as f64,
            (None, LearningCost::Small) => 0.0,
        }
    }

    /// The cells of these counts and draws; those that are not known yet are scored and kept.
    fn cells(
        &mut self,
        counts: &[Count],
        numbers: std::ops::Range<u64>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Cell>> {
        let wanted: Vec<(LabelCount, u64)> =
            counts.iter().flat_map(|count| numbers.clone().map(|number| (count.labels, number))).collect();
        let is_known = |list: &RunList<Cell>, (labels, draw)| {
            list.iter().any(|cell: &Cell| cell.labels == labels && cell.draw == draw)
        };
        let missing: Vec<(LabelCount, u64)> =
            wanted.iter().copied().filter(|&one| !is_known(&self.list, one)).collect();
        if self.row.cost == LearningCost::Small {
            let start = Instant::now();
            let made = map_in_order(&missing, |_, &(labels, draw)| self.cell(labels, draw));
            let made = made.into_iter().collect::<Result<Vec<Cell>>>()?;
            let (passed, busy) = (start.elapsed().as_secs_f64(), made.iter().map(|cell| cell.seconds).sum::<f64>());
            let shared = made.into_iter().map(|cell| Cell { seconds: cell.seconds * passed / busy.max(1e-9), ..cell });
            self.list.extend(shared)?;
            observer.advanced(&self.row.name, missing.len(), missing.len())?;
        } else {
            for (done, &(labels, draw)) in missing.iter().enumerate() {
                let cell = self.cell(labels, draw)?;
                self.list.extend([cell])?;
                observer.advanced(&self.row.name, done + 1, missing.len())?;
            }
        }
        Ok(self.list.iter().filter(|cell| wanted.contains(&(cell.labels, cell.draw))).cloned().collect())
    }

    /// Learns from one draw of labels and classifies its queries.
    fn cell(&self, labels: LabelCount, number: u64) -> Result<Cell> {
        use rand::Rng as _;
        let Row { learner, inputs, .. } = self.row;
        let draw = self.draws.draw(number);
        let support = self.draws.support(&draw, labels);
        let queries = self.draws.queries(&draw, labels);
        let seed: u64 = taper_ops::rng(self.draws.seed(), "learning from labels", number).random();
        let start = Instant::now();
        let mut adapt_seconds = 0.0;
        let answers = learner.adapt(&support.batch(inputs.as_ref())?, seed).and_then(|classifier| {
            adapt_seconds = start.elapsed().as_secs_f64();
            predict(classifier.as_ref(), inputs.as_ref(), &queries, BATCH)
        });
        let predicted = match answers {
            Ok(predicted) => predicted.into_iter().map(Some).collect(),
            Err(LearnError::InnerDiverged { .. } | LearnError::Diverged { .. } | LearnError::NotFinite { .. }) => {
                vec![None; queries.len()]
            }
            Err(error) => return Err(error.into()),
        };
        let seconds = start.elapsed().as_secs_f64();
        Ok(Cell { labels, draw: number, predicted, adapt_seconds, predict_seconds: seconds - adapt_seconds, seconds })
    }
}
