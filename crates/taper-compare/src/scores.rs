//! What a comparison measured, before anything is concluded: the scores of each training run of each method. Parts of a
//! comparison are put together here.

use crate::report::{DataSummary, MethodReport, Report};
use crate::verdict::{Scored, Verdict};
use crate::{CompareError, Comparison, Result, Start};
use serde::{Deserialize, Serialize};
use taper_learn::{Evaluation, Interval, Model, RunDirectory, methods::Kind};

/// What a comparison, or a part of one, measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Scores {
    pub(crate) comparison: Comparison,
    pub(crate) data: DataSummary,
    pub(crate) runs: Vec<MethodRun>,
}

/// The scores of one method after one training run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MethodRun {
    /// The training run, and the method's place in it: the order of all scores.
    pub(crate) place: (u64, usize),
    #[serde(flatten)]
    pub(crate) method: Described,
    pub(crate) train_seconds: f64,
    pub(crate) validation: Evaluation,
    pub(crate) test: Evaluation,
}

/// What is known of a method besides its scores.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) start: Start,
    pub(crate) trained_on: String,
    pub(crate) transductive: bool,
    /// Whether there is a model to keep if the method is chosen.
    pub(crate) has_model: bool,
    #[serde(skip)]
    pub(crate) model: Option<Model>,
}

impl Scores {
    /// The scores of all parts of a comparison.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub fn merged(parts: Vec<Self>) -> Result<Self> {
        let all = parts.into_iter().reduce(|mut all, part| {
            all.runs.extend(part.runs);
            all
        });
        let mut all = all.ok_or_else(nothing)?;
        all.runs.sort_by_key(|run| run.place);
        Ok(all)
    }

    /// Writes the models that may be chosen into a run directory, in the folders that [`Scores::models`] names.
    ///
    /// # Errors
    /// Returns an error if one can't be written.
    pub fn save_models(&self, run: &RunDirectory) -> Result<()> {
        for scored in &self.runs {
            if let Some(model) = &scored.method.model {
                model.save(&run.other_model_path(&folder(scored.place))?)?;
            }
        }
        Ok(())
    }

    /// The methods that have a model, with the folder in a part's run directory where it is saved.
    pub fn models(&self) -> impl Iterator<Item = (&str, String)> {
        let with_models = self.runs.iter().filter(|run| run.method.has_model);
        with_models.map(|run| (run.method.name.as_str(), folder(run.place)))
    }

    /// What the scores show.
    ///
    /// # Errors
    /// Returns an error if no method was scored.
    pub fn report(self) -> Result<Report> {
        let Self { comparison, data, runs } = self;
        let mut methods: Vec<Compared> = Vec::new();
        for run in runs {
            match methods.iter_mut().find(|method| method.first.name == run.method.name) {
                Some(method) => {
                    method.train_seconds.push(run.train_seconds);
                    method.validation.push(run.validation);
                    method.test.push(run.test);
                }
                None => methods.push(Compared::new(run)),
            }
        }
        let best = methods.iter().max_by(|a, b| a.test_mean().total_cmp(&b.test_mean())).ok_or_else(nothing)?;
        let reports = methods.iter().map(|method| method.report(&best.test)).collect::<Result<Vec<_>>>()?;
        let scored: Vec<Scored<'_>> = methods.iter().map(Compared::scored).collect();
        let verdict = Verdict::new(&scored)?;
        let warnings = reports.iter().filter_map(MethodReport::warning).collect();
        let chosen = (0..methods.len())
            .filter(|&place| methods[place].first.has_model)
            .max_by(|&a, &b| methods[a].validation_mean().total_cmp(&methods[b].validation_mean()));
        let chosen = chosen.map(|place| methods.swap_remove(place).first);
        Ok(Report {
            comparison,
            data,
            methods: reports,
            verdict,
            chosen: chosen.as_ref().map(|chosen| chosen.name.clone()),
            warnings,
            model: chosen.and_then(|chosen| chosen.model),
        })
    }
}

fn nothing() -> CompareError {
    CompareError::Invalid("no method could be scored: ask for others".into())
}

/// The folder of a model in a part's run directory.
fn folder((run, place): (u64, usize)) -> String {
    format!("model-{run}-{place}")
}

/// A method with how it did in every training run.
struct Compared {
    /// Its name, kind and model; the scores are in the lists.
    first: Described,
    validation: Vec<Evaluation>,
    test: Vec<Evaluation>,
    train_seconds: Vec<f64>,
}

impl Compared {
    fn new(run: MethodRun) -> Self {
        Self {
            first: run.method,
            validation: vec![run.validation],
            test: vec![run.test],
            train_seconds: vec![run.train_seconds],
        }
    }

    fn scored(&self) -> Scored<'_> {
        Scored {
            name: &self.first.name,
            kind: self.first.kind,
            start: &self.first.start,
            validation: &self.validation,
            test: &self.test,
            train_seconds: self.train_seconds(),
        }
    }

    fn test_mean(&self) -> f64 {
        mean(self.test.iter().map(|run| run.accuracy().mean))
    }

    fn validation_mean(&self) -> f64 {
        mean(self.validation.iter().map(|run| run.accuracy().mean))
    }

    fn train_seconds(&self) -> f64 {
        mean(self.train_seconds.iter().copied())
    }

    fn report(&self, best: &[Evaluation]) -> Result<MethodReport> {
        let Self { first, validation, test, .. } = self;
        let interval = |runs: &[Evaluation]| -> Result<Interval> { Ok(Evaluation::mean_accuracy(runs)?.interval()) };
        Ok(MethodReport {
            name: first.name.clone(),
            kind: first.kind,
            start: first.start.clone(),
            trained_on: first.trained_on.clone(),
            transductive: first.transductive,
            accuracy: interval(test)?,
            from_best: Evaluation::difference(test, best)?.interval(),
            validation: interval(validation)?,
            train_seconds: self.train_seconds(),
            cost: test.first().map(|run| run.cost).unwrap_or_default(),
            diverged: test.iter().map(|run| run.diverged).sum(),
            task_accuracies: test.iter().map(|run| run.accuracies.clone()).collect(),
        })
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}
