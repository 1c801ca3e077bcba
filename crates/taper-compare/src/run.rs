//! Running a comparison: train, choose on validation tasks, measure on test tasks, conclude.

use crate::contender::Contender;
use crate::external::{built_in, from_weights, starts_from_weights};
use crate::registry::{METHODS, method};
use crate::report::{DataSummary, MethodReport, Report};
use crate::tasks::{ComparisonData, ComparisonTasks, TaskSet};
use crate::training::TrainingRun;
use crate::verdict::{Scored, Verdict};
use crate::{CompareError, Comparison, Result};
use taper_data::{Inputs, Look};
use taper_learn::{
    Evaluation, Interval, Method, Model, Observer, RunDirectory, evaluate,
    provenance::{Provenance, UsedData},
};
use taper_meta::training::TaskSource;
use taper_models::catalog::Pretrained;

/// Validation tasks that choices are made on, unless there are fewer test tasks.
const VALIDATION_TASKS: u64 = 100;

/// A method with how it did in every training run.
struct Entry {
    contender: Contender,
    validation: Vec<Evaluation>,
    test: Vec<Evaluation>,
    train_seconds: Vec<f64>,
}

impl Comparison {
    /// Trains every method that is asked for, chooses on validation tasks, and measures all of them on
    /// the same test tasks. `pretrained` weights give methods of their own. With a run directory every
    /// stage of training is saved there and resumed from there.
    ///
    /// # Errors
    /// Returns an error if a method is unknown, the data don't fill the tasks, training diverges, or
    /// the observer asks to stop.
    pub fn run(
        &self,
        data: &ComparisonData,
        pretrained: Option<&Pretrained>,
        run: Option<&RunDirectory>,
        observer: &mut dyn Observer,
    ) -> Result<Report> {
        self.check()?;
        let tasks = ComparisonTasks::new(self, data, observer)?;
        let (validation, test) = (tasks.validation(self.seed)?, tasks.test(self.seed)?);
        let from_nothing = self.trained_from_nothing(&tasks, pretrained)?;
        let mut entries: Vec<Entry> = Vec::new();
        for number in 0..self.repeats {
            let contenders = TrainingRun::new(self, &tasks, run, number).contenders(&from_nothing, observer)?;
            self.score(contenders, &mut entries, &validation, &test, observer)?;
        }
        // what was trained elsewhere is the same in every training run
        let mut external: Vec<Contender> = built_in(self, &tasks, observer)?.into_iter().collect();
        if let Some(pretrained) = pretrained {
            external.extend(from_weights(self, &tasks, [&validation, &test], pretrained, run, observer)?);
        }
        self.score(external, &mut entries, &validation, &test, observer)?;
        self.report(entries, &tasks)
    }

    /// # Errors
    /// Returns an error that names the first value that makes no sense.
    pub fn check(&self) -> Result<()> {
        self.methods.iter().try_for_each(|name| method(name).map(|_| ()))?;
        let positive = [
            ("methods", self.methods.len() as u64),
            ("episodes", self.episodes),
            ("repeats", self.repeats),
            ("images", self.images),
            ("meta-batch-size", self.meta_batch_size as u64),
            ("batch-size", self.batch_size as u64),
            ("tune-steps", self.tune_steps),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(CompareError::Invalid(format!("{name} is 0: it must be at least 1")));
            }
        }
        for (name, rate) in [("meta-lr", self.meta_lr), ("lr", self.lr)] {
            if !(rate.is_finite() && rate > 0.0) {
                return Err(CompareError::Invalid(format!("{name} is {rate}: it must be above 0, such as 0.001")));
            }
        }
        self.shape()?;
        Ok(())
    }

    /// Tasks that choices are made on.
    pub(crate) fn validation_tasks(&self) -> u64 {
        self.episodes.min(VALIDATION_TASKS)
    }

    /// The methods that are trained from nothing, in the order of the registry: of photographs with pretrained weights,
    /// only those that can't start from the weights.
    fn trained_from_nothing(
        &self,
        tasks: &ComparisonTasks,
        pretrained: Option<&Pretrained>,
    ) -> Result<Vec<&'static dyn Method>> {
        let asked = METHODS.iter().copied().filter(|method| self.asks_for(method.info().name));
        let photographs = Look::of(tasks.test.view.dataset().as_ref())?.channels > 1;
        let start_from_weights = pretrained.is_some() && photographs;
        Ok(asked.filter(|&method| !(start_from_weights && starts_from_weights(method))).collect())
    }

    /// Scores contenders and adds them to the entries of the same name.
    fn score(
        &self,
        contenders: Vec<Contender>,
        entries: &mut Vec<Entry>,
        validation: &TaskSet,
        test: &TaskSet,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let count = contenders.len();
        for (number, contender) in contenders.into_iter().enumerate() {
            let evaluated = |tasks: &TaskSet, inputs: &dyn Inputs, count: u64| {
                evaluate(contender.learner.as_ref(), count, self.seed, |number| tasks.episode(inputs, number))
                    .map_err(|error| CompareError::Invalid(format!("scoring {}: {error}", contender.name)))
            };
            let chosen_on = evaluated(validation, contender.validation.as_ref(), self.validation_tasks())?;
            let measured = evaluated(test, contender.test.as_ref(), self.episodes)?;
            let accuracy = measured.accuracy();
            observer.note(format!(
                "{}: {:.1} ± {:.1} %",
                contender.name,
                accuracy.mean * 100.0,
                accuracy.margin() * 100.0
            ))?;
            observer.advanced("methods scored", number + 1, count)?;
            match entries.iter_mut().find(|entry| entry.contender.name == contender.name) {
                Some(entry) => {
                    entry.train_seconds.push(contender.train_seconds);
                    entry.validation.push(chosen_on);
                    entry.test.push(measured);
                }
                None => entries.push(Entry {
                    train_seconds: vec![contender.train_seconds],
                    validation: vec![chosen_on],
                    test: vec![measured],
                    contender,
                }),
            }
        }
        Ok(())
    }

    fn report(&self, mut entries: Vec<Entry>, tasks: &ComparisonTasks) -> Result<Report> {
        let Some(best) = entries.iter().max_by(|a, b| a.test_mean().total_cmp(&b.test_mean())) else {
            return Err(CompareError::Invalid("no method could be scored: ask for others".into()));
        };
        let methods = entries.iter().map(|entry| entry.report(&best.test)).collect::<Result<Vec<_>>>()?;
        let scored: Vec<Scored<'_>> = entries.iter().map(Entry::scored).collect();
        let verdict = Verdict::new(&scored)?;
        let warnings = methods.iter().filter_map(MethodReport::warning).collect();
        let chosen = (0..entries.len())
            .filter(|&place| entries[place].contender.model.is_some())
            .max_by(|&a, &b| entries[a].validation_mean().total_cmp(&entries[b].validation_mean()));
        let chosen = chosen.map(|place| entries.swap_remove(place).contender);
        let model = chosen.as_ref().map(|contender| kept(contender, tasks)).transpose()?.flatten();
        Ok(Report {
            comparison: self.clone(),
            data: DataSummary {
                tested_on: tasks.test.dataset().name().to_string(),
                trained_on: tasks.training.dataset().name().to_string(),
                training_classes: tasks.training.classes.len(),
                validation_classes: tasks.validation.classes.len(),
                test_classes: tasks.test.classes.len(),
                scope: tasks.test.scope,
                image_width: tasks.test.view.shape().2,
            },
            methods,
            verdict,
            chosen: chosen.map(|contender| contender.name),
            warnings,
            model,
        })
    }
}

/// The model of a contender, with the images that it was trained on and chosen on.
fn kept(contender: &Contender, tasks: &ComparisonTasks) -> Result<Option<Model>> {
    let used = |source: &TaskSource| UsedData::of_classes(source.dataset(), &source.classes);
    let Some(model) = contender.model.clone() else { return Ok(None) };
    let here = Provenance {
        trained_on: if contender.trained_here { vec![used(&tasks.training)?] } else { Vec::new() },
        validated_on: Vec::new(),
        chosen_on: vec![used(&tasks.validation)?],
    };
    Ok(Some(Model { provenance: model.provenance.clone().and(here), ..model }))
}

impl Entry {
    fn scored(&self) -> Scored<'_> {
        Scored {
            name: &self.contender.name,
            kind: self.contender.kind,
            start: &self.contender.start,
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
        let Self { contender, validation, test, .. } = self;
        let interval = |runs: &[Evaluation]| -> Result<Interval> { Ok(Evaluation::mean_accuracy(runs)?.interval()) };
        Ok(MethodReport {
            name: contender.name.clone(),
            kind: contender.kind,
            start: contender.start.clone(),
            trained_on: contender.trained_on.clone(),
            transductive: contender.learner.transductive(),
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
