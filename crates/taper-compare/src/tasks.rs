//! What a comparison trains on, chooses on and tests on: classes that don't overlap.

use crate::{CompareError, Comparison, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use taper_data::{Dataset, Episode, EpisodeSampler, Inputs, Look, Scope, Split, TaskShape, View, split_classes};
use taper_learn::{Observer, models::default_transform};
use taper_meta::training::TaskSource;

/// The data that methods are compared on.
#[derive(Clone)]
pub struct ComparisonData {
    /// The data set whose classes are tested on.
    pub dataset: Arc<dyn Dataset>,
    /// A published split of its classes; `None` splits by the seed.
    pub split: Option<Split>,
    /// What methods train on if the data set has too few classes to split.
    pub meta_data: Arc<dyn Dataset>,
}

/// Sources of tasks: training, validation and test classes.
pub(crate) struct ComparisonTasks {
    pub(crate) training: TaskSource,
    pub(crate) validation: TaskSource,
    pub(crate) test: TaskSource,
    pub(crate) shape: TaskShape,
}

/// Distinguishes validation tasks from training tasks of the same seed.
const VALIDATION_SEED: u64 = 0x7661_6c69;
/// Distinguishes test tasks from training tasks of the same seed.
pub const TEST_SEED: u64 = 0x7465_7374;

impl ComparisonTasks {
    /// Training, validation and test classes of the data set; if it has too few, training and
    /// validation classes of other data.
    pub(crate) fn new(comparison: &Comparison, data: &ComparisonData, observer: &mut dyn Observer) -> Result<Self> {
        let ComparisonData { dataset, split, meta_data } = data;
        let shape = comparison.shape()?;
        shape.check(dataset.as_ref())?;
        let look = Look::of(dataset.as_ref())?;
        let transform = match &comparison.transform {
            Some(transform) => transform.clone(),
            None => default_transform(comparison.backbone, look, look.channels, comparison.image_size)?,
        };
        let view = Arc::new(View::new(dataset.clone(), transform)?);
        let scope = comparison.scope.unwrap_or_else(|| Scope::default_for(dataset.as_ref()));
        let ways = shape.ways();
        let drawn = || Some(split_classes(dataset.as_ref(), comparison.seed)).filter(|split| split.fills(ways.high()));
        if let Some(split) = split.clone().or_else(drawn) {
            let part = |classes| TaskSource { view: view.clone(), classes, scope };
            let tasks =
                Self { training: part(split.train), validation: part(split.validation), test: part(split.test), shape };
            // a published split may name no validation classes: choices are then made on training classes
            let tasks = match tasks.validation.sampler(shape) {
                Ok(_) => tasks,
                Err(_) => {
                    observer.note(format!(
                        "{}: no validation classes fill a task, so choices are made on training classes",
                        dataset.name()
                    ))?;
                    Self { validation: tasks.training.clone(), ..tasks }
                }
            };
            return Ok(tasks);
        }
        let classes = dataset.classes().len();
        if classes < ways.low() {
            let dataset = dataset.name().to_string();
            return Err(CompareError::TooFewClasses { dataset, classes, ways: ways.to_string() });
        }
        shape.check(meta_data.as_ref())?;
        let other = Look::of(meta_data.as_ref())?;
        let transform = match &comparison.transform {
            Some(transform) => transform.clone(),
            None => default_transform(comparison.backbone, other, look.channels, Some(view.shape().1))?,
        };
        if dataset.vector(0).map(<[f32]>::len) != meta_data.vector(0).map(<[f32]>::len) {
            return Err(CompareError::Invalid(format!(
                "{}: holds vectors and has {classes} classes, too few to split, and {} holds no such vectors to train on: \
                 add classes, or give other vectors of the same length as meta-data",
                dataset.name(),
                meta_data.name()
            )));
        }
        let other = Arc::new(View::new(meta_data.clone(), transform)?);
        let Split { mut train, validation, test } = split_classes(meta_data.as_ref(), comparison.seed);
        train.extend(test);
        train.sort_unstable();
        let (mut training, mut validation) =
            (TaskSource::new(other.clone(), train), TaskSource::new(other.clone(), validation));
        if training.sampler(shape).is_err() || validation.sampler(shape).is_err() {
            let name = meta_data.name();
            observer
                .note(format!("{name}: too few classes to set some apart, so choices are made on training classes"))?;
            training = TaskSource::new(other, (0..meta_data.classes().len() as u32).collect());
            validation = training.clone();
        }
        Ok(Self {
            training,
            validation,
            test: TaskSource { view, classes: (0..classes as u32).collect(), scope: Scope::All },
            shape,
        })
    }

    /// Validation tasks as `view` shows them: `None` for the view of the tasks themselves.
    pub(crate) fn validation(&self, seed: u64) -> Result<TaskSet> {
        TaskSet::new(&self.validation, self.shape, seed ^ VALIDATION_SEED)
    }

    /// Test tasks.
    pub(crate) fn test(&self, seed: u64) -> Result<TaskSet> {
        TaskSet::new(&self.test, self.shape, seed ^ TEST_SEED)
    }
}

/// Tasks by number, the same for every method.
pub(crate) struct TaskSet {
    sampler: EpisodeSampler,
    seed: u64,
}

impl TaskSet {
    fn new(source: &TaskSource, shape: TaskShape, seed: u64) -> Result<Self> {
        Ok(Self { sampler: source.sampler(shape)?, seed })
    }

    /// Task number `number`, its images as `inputs` show them.
    pub(crate) fn episode(&self, inputs: &dyn Inputs, number: u64) -> taper_learn::Result<Episode> {
        Ok(inputs.episode(&self.sampler.draw(self.seed, number), None)?)
    }

    /// The images of the first `count` tasks, ascending.
    pub(crate) fn images(&self, count: u64) -> Vec<usize> {
        let tasks = (0..count).map(|number| self.sampler.draw(self.seed, number));
        let images: BTreeSet<usize> = tasks.flat_map(|task| task.support.into_iter().chain(task.query)).collect();
        images.into_iter().collect()
    }
}
