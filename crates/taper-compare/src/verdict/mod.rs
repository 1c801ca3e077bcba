//! Which kind of learning wins, as a value and in at most three sentences that claim no more than the
//! intervals allow.
//!
//! The best method of each kind is chosen on validation tasks, so that the test tasks measure it without
//! favor. Kinds are compared among methods that start alike: those that learned nothing before, and those
//! that start from the same weights.

mod claim;
mod start;
pub(crate) mod words;

pub use claim::{Claim, Outcome, Question};
pub use start::Start;

pub(crate) use claim::Pair;
use serde::{Deserialize, Serialize};
use taper_learn::{Evaluation, Interval, LearnError, Result, methods::Kind};

/// A method with its scores.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    /// What tables call it.
    pub name: &'a str,
    /// Its kind of learning.
    pub kind: Kind,
    /// What it had learned from before.
    pub start: &'a Start,
    /// Scores on validation tasks, one per training run; empty if there is nothing to choose between.
    pub validation: &'a [Evaluation],
    /// Scores on test tasks, one per training run, the same tasks for all methods.
    pub test: &'a [Evaluation],
    /// Seconds of training, mean over runs.
    pub train_seconds: f64,
}

/// What a comparison shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The method whose kind wins, if one is shown to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winner: Option<String>,
    /// The method to prefer if the best of both kinds are as good as equal: the one that takes less time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cheaper: Option<String>,
    /// Accuracy of the better kind's best method less that of the other's; `None` without both kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Interval>,
    /// All claims, by question.
    pub claims: Vec<Claim>,
    /// The verdict in words: at most three sentences.
    pub words: String,
}

impl Verdict {
    /// The verdict on `methods`.
    ///
    /// # Errors
    ///
    /// Returns an error if methods were not scored on the same test tasks, or not equally often, or if
    /// there are several methods to choose from and one has no validation scores.
    pub fn new(methods: &[Scored<'_>]) -> Result<Self> {
        let kinds = kinds(methods)?;
        let main = kinds.first();
        let mut claims = Claim::together(Question::WhichKind, &kinds.iter().map(Kinds::pair).collect::<Vec<_>>());
        let which = claims.clone();
        let pays = match main {
            Some(main) => Claim::together(Question::Pays, &pays(main.ahead, methods)?),
            None => Vec::new(),
        };
        let elsewhere = Claim::together(Question::Elsewhere, &elsewhere(methods)?);
        let floor = Claim::together(Question::BeatsFloor, &floor(methods)?);
        let unbeaten = pays.iter().find(|claim| !above(claim));
        let outcome = which.first().map(|claim| claim.outcome).filter(|_| unbeaten.is_none());
        let winner = main.filter(|_| outcome == Some(Outcome::Better)).map(|main| main.ahead.name.to_string());
        let cheaper =
            main.filter(|_| outcome == Some(Outcome::AsGoodAsEqual)).map(|main| main.cheaper().name.to_string());
        let words = [
            words::which_kind(main, which.first(), unbeaten),
            words::elsewhere(&kinds[main.map_or(0, |_| 1)..], &which[main.map_or(0, |_| 1)..], &elsewhere, methods),
            words::floor(&floor, methods),
        ];
        let difference = which.first().map(|claim| claim.difference);
        claims.extend(pays);
        claims.extend(elsewhere);
        claims.extend(floor);
        let words = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        Ok(Self { winner, cheaper, difference, claims, words })
    }
}

/// Returns `true` if the claim's first method is shown to be more accurate, by however little.
fn above(claim: &Claim) -> bool {
    claim.p_value < 0.05 && claim.difference.mean > 0.0
}

/// The best method of each kind among those that start alike.
struct Kinds<'a> {
    /// The one that is ahead on test tasks.
    ahead: &'a Scored<'a>,
    behind: &'a Scored<'a>,
    difference: taper_learn::statistics::Estimate,
}

impl<'a> Kinds<'a> {
    fn pair(&self) -> Pair<'a> {
        Pair { first: self.ahead.name, second: self.behind.name, difference: self.difference }
    }

    /// The one that takes less time to train and to adapt to a task.
    fn cheaper(&self) -> &'a Scored<'a> {
        if self.ahead.seconds() <= self.behind.seconds() { self.ahead } else { self.behind }
    }
}

impl Scored<'_> {
    /// Seconds of training and of adapting to a task.
    fn seconds(&self) -> f64 {
        self.train_seconds + mean(self.test.iter().map(|run| run.cost.adapt_seconds))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// For each start that both kinds have, their best; methods that learned nothing before come first.
fn kinds<'a>(methods: &'a [Scored<'a>]) -> Result<Vec<Kinds<'a>>> {
    let mut all = Vec::new();
    for start in starts(methods) {
        let of = |kind| best(methods.iter().filter(|method| method.kind == kind && method.start == start));
        let (Some(transfer), Some(meta)) = (of(Kind::Transfer)?, of(Kind::Meta)?) else { continue };
        let difference = Evaluation::difference(meta.test, transfer.test)?;
        all.push(match difference.mean >= 0.0 {
            true => Kinds { ahead: meta, behind: transfer, difference },
            false => {
                Kinds { ahead: transfer, behind: meta, difference: Evaluation::difference(transfer.test, meta.test)? }
            }
        });
    }
    Ok(all)
}

/// All starts, nothing first, the others in the methods' order.
fn starts<'a>(methods: &'a [Scored<'a>]) -> Vec<&'a Start> {
    let mut starts = vec![&Start::Nothing];
    for method in methods {
        if !starts.contains(&method.start) {
            starts.push(method.start);
        }
    }
    starts
}

/// The method that does best on validation tasks, the first of equals; `None` if there is none.
fn best<'a>(methods: impl Iterator<Item = &'a Scored<'a>>) -> Result<Option<&'a Scored<'a>>> {
    let methods: Vec<&Scored<'_>> = methods.collect();
    if let [single] = methods.as_slice() {
        return Ok(Some(single));
    }
    let mut best: Option<(f64, &Scored<'_>)> = None;
    for method in methods {
        if method.validation.is_empty() {
            return Err(LearnError::Invalid(format!(
                "{} was not scored on validation tasks, and the best of several methods is chosen there: score it",
                method.name
            )));
        }
        let accuracy = mean(method.validation.iter().map(|run| mean(run.accuracies.iter().copied())));
        if best.is_none_or(|(least, _)| accuracy > least) {
            best = Some((accuracy, method));
        }
    }
    Ok(best.map(|(_, method)| method))
}

/// A learner against everything that learned nothing before the task.
fn pays<'a>(learner: &'a Scored<'a>, methods: &'a [Scored<'a>]) -> Result<Vec<Pair<'a>>> {
    let without = methods.iter().filter(|method| matches!(method.kind, Kind::Floor | Kind::Scratch));
    without.map(|method| pair(learner, method)).collect()
}

/// For weights trained elsewhere, the best method that starts from them against the best that learned
/// here.
fn elsewhere<'a>(methods: &'a [Scored<'a>]) -> Result<Vec<Pair<'a>>> {
    let learners = |start: &'a Start| {
        best(
            methods
                .iter()
                .filter(move |method| method.start == start && matches!(method.kind, Kind::Transfer | Kind::Meta)),
        )
    };
    let mut pairs = Vec::new();
    for start in starts(methods).into_iter().skip(1) {
        if let (Some(method), Some(here)) = (learners(start)?, learners(&Start::Nothing)?) {
            pairs.push(pair(method, here)?);
        }
    }
    Ok(pairs)
}

/// Every other method against each that compares pixels.
fn floor<'a>(methods: &'a [Scored<'a>]) -> Result<Vec<Pair<'a>>> {
    let of = |is_floor: bool| methods.iter().filter(move |method| (method.kind == Kind::Floor) == is_floor);
    of(true).flat_map(|floor| of(false).map(move |method| pair(method, floor))).collect()
}

fn pair<'a>(first: &'a Scored<'a>, second: &'a Scored<'a>) -> Result<Pair<'a>> {
    let difference = Evaluation::difference(first.test, second.test)?;
    Ok(Pair { first: first.name, second: second.name, difference })
}

#[cfg(test)]
mod tests;
