//! Nothing said: heads on cached features and partial fine-tuning are cross-validated inside the
//! training images within a budget of time; the best is kept and scored once on validation.

use super::candidates::{Candidate, Score, fine_tune, head};
use super::features::features;
use super::report::Report;
use super::setting::Setting;
use crate::args::Train;
use crate::commands::{result_json, run_directory};
use crate::output::{Output, Stopped, interrupted};
use crate::registry::CLASSIFIER;
use crate::table::{duration, table};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use taper_data::Inputs;
use taper_learn::heads::usual_folds;
use taper_learn::{RunDirectory, write_atomically};

/// Heads to try, the plainest first: of equal ones it is kept.
const HEADS: [&str; 6] = ["nearest-mean", "ridge", "lda", "linear-probe", "linear-head", "mlp-head"];
/// What is taken where nothing can be cross-validated.
const UNTRIED: &str = "linear-probe";
/// Repetitions of the folds, for heads, which cost little.
const REPETITIONS: u64 = 2;
/// Uppermost stages to fine-tune from, the last alone first.
const CUTS: usize = 2;

pub(crate) fn run(options: &Train, config: &str, setting: &Setting, output: &Output) -> Result<()> {
    let start = Instant::now();
    let seed = options.run.common.seed;
    let training = &setting.parts.training;
    let run = run_directory(&options.run, config)?;
    check_budget(options, setting, output)?;
    let images = &training.images;
    let inputs: Arc<dyn Inputs> = Arc::new(features(options.cache.as_deref(), setting, images, output)?);
    let mut trial = Trial::new(options, run.as_ref(), start, output)?;
    let best = match usual_folds(&training.labels, training.ways) {
        None => {
            output.note(format!("a class has a single training image, so nothing can be compared: {UNTRIED} is taken"));
            head(UNTRIED, setting, &inputs)?
        }
        Some(folds) => {
            for name in HEADS {
                trial.consider(
                    name,
                    || head(name, setting, &inputs),
                    |c| c.score(training, folds, REPETITIONS, seed),
                )?;
            }
            for stage in setting.network.backbone().cuts().iter().rev().take(CUTS) {
                trial.consider_tuning(stage, setting, folds, seed)?;
            }
            trial.tell(output);
            let name = trial.best()?;
            match name.strip_prefix("fine-tune from ") {
                Some(stage) => fine_tune(stage, setting, images)?.0,
                None => head(&name, setting, &inputs)?,
            }
        }
    };
    let fitting = Instant::now();
    let (network, state) = best.train(training, setting, seed)?;
    let train_seconds = fitting.elapsed().as_secs_f64();
    let report = Report::new(setting, &network, &state, seed)?;
    output.line(format!("{} is kept, trained on all {} training images\n", best.name, images.len()));
    report.tell(setting, output);
    if let Some(run) = &run {
        let model = setting.model(CLASSIFIER, network, state);
        model.save(&run.path().join("model"))?;
        output.line(format!("the classifier is in {}", run.path().join("model").display()));
    }
    let mut method = report.json();
    method["name"] = json!(best.name);
    method["kind"] = json!("transfer");
    method["train_seconds"] = json!(train_seconds);
    method["adapt_seconds"] = json!(0.0);
    method["tried"] = json!(trial.json());
    let out = run.map(|run| run.path().to_path_buf());
    output.event(&result_json("train", start.elapsed().as_secs_f64(), vec![method], out.as_ref()));
    Ok(())
}

/// Errs, saying what it would take, when the budget does not even buy the features.
fn check_budget(options: &Train, setting: &Setting, output: &Output) -> Result<()> {
    const SAMPLE: usize = 16;
    let images = &setting.parts.training.images;
    let start = Instant::now();
    features(options.cache.as_deref(), setting, &images[..images.len().min(SAMPLE)], output)?;
    let needed = start.elapsed().as_secs_f64() * images.len() as f64 / images.len().min(SAMPLE) as f64;
    if needed > options.budget.0 {
        bail!(
            "--budget {} is too short: the features of {} images alone take about {}, use --budget {}s or more",
            options.budget,
            images.len(),
            duration(needed),
            (2.0 * needed).ceil()
        );
    }
    Ok(())
}

/// What has been tried, and what has not and why.
struct Trial<'a> {
    run: Option<&'a RunDirectory>,
    output: &'a Output,
    start: Instant,
    budget: f64,
    scores: Vec<Score>,
    left_out: Vec<(String, String)>,
}

impl<'a> Trial<'a> {
    /// Goes on with what an earlier session tried.
    fn new(options: &Train, run: Option<&'a RunDirectory>, start: Instant, output: &'a Output) -> Result<Self> {
        let file = run.map(|run| run.path().join(SCORES));
        let scores = match file.filter(|file| file.exists()) {
            Some(file) => {
                let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                serde_json::from_str(&text)
                    .with_context(|| format!("{}: is broken, start again with --force", file.display()))?
            }
            None => Vec::new(),
        };
        Ok(Self { run, output, start, budget: options.budget.0, scores, left_out: Vec::new() })
    }

    fn known(&self, name: &str) -> bool {
        self.scores.iter().any(|score| score.name == name)
    }

    /// Seconds of the budget that are left; earlier sessions' trials count.
    fn left(&self) -> f64 {
        self.budget - self.start.elapsed().as_secs_f64()
    }

    /// Tries one, unless that was done before or the time is over.
    fn consider(
        &mut self,
        name: &str,
        make: impl FnOnce() -> Result<Candidate>,
        score: impl FnOnce(&Candidate) -> Result<Score>,
    ) -> Result<()> {
        if interrupted() {
            let hint = match self.run {
                Some(run) => format!("go on with --resume {}", run.path().display()),
                None => "nothing was kept: use --out next time".to_string(),
            };
            return Err(Stopped(format!("stopped after {} ways were tried, {hint}", self.scores.len())).into());
        }
        if self.known(name) {
            return Ok(());
        }
        if self.left() <= 0.0 && !self.scores.is_empty() {
            self.left_out.push((name.to_string(), "the budget is spent".into()));
            return Ok(());
        }
        let score = score(&make()?)?;
        self.output.event(&json!({"event": "tried", "name": score.name, "accuracy": score.interval().mean,
            "seconds": score.seconds}));
        self.scores.push(score);
        if let Some(run) = self.run {
            write_atomically(&run.path().join(SCORES), &serde_json::to_vec(&self.scores)?)?;
        }
        Ok(())
    }

    /// Tries fine-tuning where an epoch says that it fits into the time left.
    fn consider_tuning(&mut self, stage: &str, setting: &Setting, folds: usize, seed: u64) -> Result<()> {
        let name = format!("fine-tune from {stage}");
        if self.known(&name) || self.left() <= 0.0 {
            return self.consider(&name, || bail!("the budget is spent"), |_| bail!("the budget is spent"));
        }
        let training = &setting.parts.training;
        let (candidate, tune) = fine_tune(stage, setting, &training.images)?;
        let begun = Instant::now();
        let one_epoch = taper_transfer::PartialFineTune { epochs: 1, ..tune.clone() };
        taper_learn::Adapt::adapt(&one_epoch, &training.batch(candidate.inputs.as_ref())?, seed)?;
        // folds of the images, and all of them once more if it wins
        let needed = begun.elapsed().as_secs_f64() * tune.epochs as f64 * folds as f64;
        if needed > self.left() {
            self.left_out
                .push((name, format!("takes about {} more than the budget has", duration(needed - self.left()))));
            return Ok(());
        }
        self.consider(&name, || Ok(candidate), |c| c.score(training, folds, 1, seed))
    }

    /// The name of the best; of equal ones the first.
    fn best(&self) -> Result<String> {
        let mut best: Option<&Score> = None;
        for score in &self.scores {
            if best.is_none_or(|best| score.interval().mean > best.interval().mean) {
                best = Some(score);
            }
        }
        Ok(best.context("nothing could be tried, use a longer --budget")?.name.clone())
    }

    fn tell(&self, output: &Output) {
        let mut rows: Vec<Vec<String>> = self
            .scores
            .iter()
            .map(|score| {
                let interval = score.interval();
                let figure = format!("{:.1}", interval.mean * 100.0);
                let between = format!("{:.1} to {:.1}", interval.low * 100.0, interval.high * 100.0);
                vec![score.name.clone(), figure, between, duration(score.seconds)]
            })
            .collect();
        rows.extend(
            self.left_out.iter().map(|(name, why)| vec![name.clone(), String::new(), why.clone(), String::new()]),
        );
        output.line("tried on folds of the training images:");
        output.line(table(&["way", "accuracy %", "95 % interval", "took"], &rows));
    }

    fn json(&self) -> Vec<serde_json::Value> {
        let entry = |score: &Score| {
            let interval = score.interval();
            json!({"name": score.name, "accuracy": interval.mean, "ci95": [interval.low, interval.high],
                "seconds": score.seconds})
        };
        self.scores.iter().map(entry).collect()
    }
}

/// The file of a run that says what was tried.
const SCORES: &str = "tried.json";
