//! Running a comparison: train, choose on validation tasks, measure on test tasks, conclude.

use crate::contender::Contender;
use crate::external::{built_in, from_weights, starts_from_weights};
use crate::registry::{METHODS, method};
use crate::report::{DataSummary, Report};
use crate::scores::{Described, MethodRun, Scores};
use crate::tasks::{ComparisonData, ComparisonTasks, TaskSet};
use crate::training::TrainingRun;
use crate::{CompareError, Comparison, Result};
use taper_data::{Inputs, Look};
use taper_learn::{
    Method, Model, Observer, RunDirectory, evaluate_over,
    methods::Training,
    provenance::{Provenance, UsedData},
};
use taper_meta::training::TaskSource;
use taper_models::catalog::Pretrained;

/// Validation tasks that choices are made on, unless there are fewer test tasks.
const VALIDATION_TASKS: u64 = 100;

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
        self.score(data, pretrained, run, &|_| true, observer)?.report()
    }

    /// Trains and scores the methods of those units that `mine` accepts, of [`Comparison::units`] in total. Each method is
    /// trained and scored as in a comparison of all, so [`Scores::merged`] parts give the same report.
    ///
    /// # Errors
    /// Returns what [`Comparison::run`] does.
    pub fn score(
        &self,
        data: &ComparisonData,
        pretrained: Option<&Pretrained>,
        run: Option<&RunDirectory>,
        mine: &dyn Fn(usize) -> bool,
        observer: &mut dyn Observer,
    ) -> Result<Scores> {
        self.check()?;
        let tasks = ComparisonTasks::new(self, data, observer)?;
        let sets = [tasks.validation(self.seed)?, tasks.test(self.seed)?];
        let groups = self.groups();
        // photographs are not learned from nothing too where weights are a start
        let from_weights_only = pretrained.is_some() && Look::of(data.dataset.as_ref())?.channels > 1;
        let mut scoring = Scoring { comparison: self, tasks: &tasks, sets: &sets, runs: Vec::new(), used: None };
        for number in 0..self.repeats {
            let first = number as usize * groups.len();
            let in_part = |method: &dyn Method| {
                if from_weights_only && starts_from_weights(method) {
                    return false;
                }
                let group = group(method);
                groups.iter().position(|known| *known == group).is_some_and(|place| mine(first + place))
            };
            let contenders = TrainingRun::new(self, &tasks, run, number).contenders(&in_part, observer)?;
            scoring.add(number, contenders, observer)?;
        }
        // what was trained elsewhere is the same in every training run
        let last = self.repeats as usize * groups.len();
        let mut external = Vec::new();
        if mine(last) {
            external.extend(built_in(self, &tasks, observer)?.map(|contender| (0, contender)));
        }
        if let Some(pretrained) = pretrained.filter(|_| mine(last + 1)) {
            let [validation, test] = &sets;
            let contenders = from_weights(self, &tasks, [validation, test], pretrained, run, observer)?;
            external.extend((1..).zip(contenders));
        }
        scoring.add(self.repeats, external, observer)?;
        let runs = scoring.runs;
        let data = DataSummary {
            tested_on: tasks.test.dataset().name().to_string(),
            trained_on: tasks.training.dataset().name().to_string(),
            training_classes: tasks.training.classes.len(),
            validation_classes: tasks.validation.classes.len(),
            test_classes: tasks.test.classes.len(),
            scope: tasks.test.scope,
            image_width: tasks.test.view.shape().2,
        };
        Ok(Scores { comparison: self.clone(), data, runs })
    }

    /// Into how many units the comparison can be divided: methods that start from the same pretrained network stay
    /// together, and each training run has its own; the built-in learner and all that starts from `weights` is a unit each.
    pub fn units(&self, weights: bool) -> usize {
        self.repeats as usize * self.groups().len() + 1 + usize::from(weights)
    }

    /// The groups of methods that are trained together, in the order of the registry.
    fn groups(&self) -> Vec<&'static str> {
        let mut groups = Vec::new();
        for method in METHODS.iter().filter(|method| self.asks_for(method.info().name)) {
            let group = group(*method);
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
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
}

/// What is trained once for several methods, or else the method's name.
fn group(method: &dyn Method) -> &'static str {
    match method.info().training {
        Training::Pretraining => "pretrained",
        Training::Episodes { pretrained: true } => "half pretrained",
        _ => method.info().name,
    }
}

/// Scores contenders one after another.
struct Scoring<'a> {
    comparison: &'a Comparison,
    tasks: &'a ComparisonTasks,
    /// Validation tasks and test tasks.
    sets: &'a [TaskSet; 2],
    runs: Vec<MethodRun>,
    /// The images of the training classes and of the validation classes, once they are needed.
    used: Option<[UsedData; 2]>,
}

impl Scoring<'_> {
    /// Scores the contenders of one training run, each with its place.
    fn add(&mut self, number: u64, contenders: Vec<(usize, Contender)>, observer: &mut dyn Observer) -> Result<()> {
        let (count, ranks, seed) = (contenders.len(), observer.ranks(), self.comparison.seed);
        let [validation, test] = self.sets;
        for (done, (place, contender)) in contenders.into_iter().enumerate() {
            let evaluated = |tasks: &TaskSet, inputs: &dyn Inputs, count: u64| {
                let episode = |number| tasks.episode(inputs, number);
                evaluate_over(ranks.as_ref(), contender.learner.as_ref(), count, seed, episode)
                    .map_err(|error| CompareError::Invalid(format!("scoring {}: {error}", contender.name)))
            };
            let chosen_on = evaluated(validation, contender.validation.as_ref(), self.comparison.validation_tasks())?;
            let measured = evaluated(test, contender.test.as_ref(), self.comparison.episodes)?;
            let accuracy = measured.accuracy();
            observer.note(format!(
                "{}: {:.1} ± {:.1} %",
                contender.name,
                accuracy.mean * 100.0,
                accuracy.margin() * 100.0
            ))?;
            observer.advanced("methods scored", done + 1, count)?;
            // of several training runs, the first one's model is kept
            let is_first = number == 0 || number == self.comparison.repeats;
            let model = contender.model.clone().filter(|_| is_first);
            let model = model.map(|model| self.with_provenance(model, contender.trained_here)).transpose()?;
            self.runs.push(MethodRun {
                place: (number, place),
                method: Described {
                    name: contender.name,
                    kind: contender.kind,
                    start: contender.start,
                    trained_on: contender.trained_on,
                    transductive: contender.learner.transductive(),
                    has_model: model.is_some(),
                    model,
                },
                train_seconds: contender.train_seconds,
                validation: chosen_on,
                test: measured,
            });
        }
        Ok(())
    }

    /// The model, with the images that it was trained on and chosen on.
    fn with_provenance(&mut self, model: Model, trained_here: bool) -> Result<Model> {
        let used = |source: &TaskSource| UsedData::of_classes(source.dataset(), &source.classes);
        let [trained, chosen] = match self.used.take() {
            Some(used) => self.used.insert(used),
            None => self.used.insert([used(&self.tasks.training)?, used(&self.tasks.validation)?]),
        };
        let here = Provenance {
            trained_on: if trained_here { vec![trained.clone()] } else { Vec::new() },
            validated_on: Vec::new(),
            chosen_on: vec![chosen.clone()],
        };
        Ok(Model { provenance: model.provenance.clone().and(here), ..model })
    }
}
