//! What has been tried, and what has not and why.

use super::candidates::{Candidate, Folding, Score};
use super::workshop::{Recipe, Workshop};
use crate::output::{Output, Stopped, interrupted};
use crate::table::{duration, table};
use anyhow::{Context, Result};
use serde_json::json;
use std::time::{Duration, Instant};
use taper_learn::{Deadline, LearnError, RunDirectory, write_atomically};

/// The file of a run that says what was tried.
const SCORES: &str = "tried.json";

/// What has been tried, and what has not and why.
pub(super) struct Trial<'a> {
    run: Option<&'a RunDirectory>,
    output: &'a Output,
    end: Instant,
    scores: Vec<Score>,
    tried: Vec<Recipe>,
    left_out: Vec<(String, String)>,
    /// The best so far, so that it need not be made again.
    best: Option<(String, Candidate)>,
}

impl<'a> Trial<'a> {
    /// A trial of `seconds` from `start` on. Goes on with what an earlier session tried, whose time
    /// counts.
    pub(super) fn new(run: Option<&'a RunDirectory>, start: Instant, seconds: f64, output: &'a Output) -> Result<Self> {
        let file = run.map(|run| run.path().join(SCORES));
        let scores: Vec<Score> = match file.filter(|file| file.exists()) {
            Some(file) => {
                let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                serde_json::from_str(&text)
                    .with_context(|| format!("{}: is broken, start again with --force", file.display()))?
            }
            None => Vec::new(),
        };
        let before: f64 = scores.iter().map(|score| score.seconds).sum();
        let end = start + Duration::from_secs_f64((seconds - before).max(0.0));
        Ok(Self { run, output, end, scores, tried: Vec::new(), left_out: Vec::new(), best: None })
    }

    /// Seconds of the budget that are left.
    pub(super) fn left(&self) -> f64 {
        self.end.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    /// Was it scored, in this session or an earlier one?
    pub(super) fn knows(&self, recipe: &Recipe) -> bool {
        let name = recipe.to_string();
        self.scores.iter().any(|score| score.name == name)
    }

    /// It is not tried, for a reason.
    pub(super) fn leave_out(&mut self, recipe: &Recipe, why: String) {
        self.left_out.push((recipe.to_string(), why));
    }

    /// Tries one, unless that was done before or the time, less `reserve` seconds for what comes
    /// after, is over.
    pub(super) fn consider(
        &mut self,
        recipe: &Recipe,
        workshop: &mut Workshop,
        folding: Folding,
        reserve: f64,
    ) -> Result<()> {
        if interrupted() {
            let hint = match self.run {
                Some(run) => format!("go on with --resume {}", run.path().display()),
                None => "nothing was kept: use --out next time".to_string(),
            };
            return Err(Stopped(format!("stopped after {} ways were tried, {hint}", self.scores.len())).into());
        }
        if self.knows(recipe) {
            self.tried.push(recipe.clone());
            return Ok(());
        }
        if self.left() <= reserve && !self.scores.is_empty() {
            self.leave_out(recipe, "the budget is spent".into());
            return Ok(());
        }
        let name = recipe.to_string();
        let until = Deadline::at(self.end - Duration::from_secs_f64(reserve.min(self.left())));
        let training = &workshop.setting(recipe.sight).parts.training.clone();
        let scored = workshop.candidate(recipe, until).and_then(|candidate| {
            let score = candidate.score(&name, training, folding, until)?;
            Ok((candidate, score))
        });
        let (candidate, score) = match scored {
            Ok(scored) => scored,
            Err(error) if out_of_time(&error) => {
                self.leave_out(recipe, "did not end within the budget".into());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.output.event(&json!({"event": "tried", "name": name, "accuracy": score.interval().mean,
            "seconds": score.seconds}));
        self.scores.push(score);
        self.tried.push(recipe.clone());
        if self.best_score()?.name == name {
            self.best = Some((name, candidate));
        }
        if let Some(run) = self.run {
            write_atomically(&run.path().join(SCORES), &serde_json::to_vec(&self.scores)?)?;
        }
        Ok(())
    }

    /// The best; of equal ones the first.
    fn best_score(&self) -> Result<&Score> {
        let mut scores = self.scores.iter();
        let first = scores.next().context("nothing could be tried, use a longer --budget")?;
        Ok(scores.fold(first, |best, score| if score.beats(best) { score } else { best }))
    }

    /// The best way so far.
    pub(super) fn best(&self) -> Result<Recipe> {
        let name = &self.best_score()?.name;
        let found = self.tried.iter().find(|recipe| recipe.to_string() == *name);
        found.cloned().with_context(|| format!("`{name}` was tried by another version, start again with --force"))
    }

    /// The candidate that the best way is, made again where an earlier session made it.
    pub(super) fn into_best(self, workshop: &mut Workshop) -> Result<Candidate> {
        let recipe = self.best()?;
        match self.best {
            Some((name, candidate)) if name == recipe.to_string() => Ok(candidate),
            _ => workshop.candidate(&recipe, Deadline::default()),
        }
    }

    /// Says what was tried.
    pub(super) fn tell(&self) {
        let tried = self.scores.iter().map(|score| {
            let interval = score.interval();
            let figure = format!("{:.1}", interval.mean * 100.0);
            let between = format!("{:.1} to {:.1}", interval.low * 100.0, interval.high * 100.0);
            let images: usize = score.folds.iter().map(|fold| fold.of).sum();
            vec![score.name.clone(), figure, between, images.to_string(), duration(score.seconds)]
        });
        let left_out = self
            .left_out
            .iter()
            .map(|(name, why)| vec![name.clone(), String::new(), why.clone(), String::new(), String::new()]);
        let rows: Vec<Vec<String>> = tried.chain(left_out).collect();
        self.output.line("tried on folds of the training images:");
        self.output.line(table(&["way", "accuracy %", "95 % interval", "decisions", "took"], &rows));
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Vec<serde_json::Value> {
        let entry = |score: &Score| {
            let interval = score.interval();
            json!({"name": score.name, "accuracy": interval.mean, "ci95": [interval.low, interval.high],
                "seconds": score.seconds})
        };
        self.scores.iter().map(entry).collect()
    }
}

/// Did it end by its deadline?
fn out_of_time(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(LearnError::OutOfTime))
}
