//! The data that a learner is trained and tested on, their classes divided.

use super::options::LearnerTraining;
use crate::{Result, TEST_SEED, learner};
use std::sync::Arc;
use taper_data::{Dataset, Inputs, Split, TaskShape, View, split_classes};
use taper_learn::{Evaluation, Model, Observer, evaluate_over, ranks::Ranks};
use taper_meta::training::TaskSource;
use taper_models::catalog::Pretrained;

/// Tasks that a learner is tested on.
pub(super) const TEST_TASKS: u64 = 200;

/// The data that a learner is trained and tested on.
#[derive(Clone)]
pub struct LearnerData<'a> {
    /// The data set that most tasks come from.
    pub dataset: Arc<dyn Dataset>,
    /// Whether it was made for this training and is never used again: it is then not recorded.
    pub is_synthetic: bool,
    /// A published split of its classes; `None` splits by the seed.
    pub split: Option<Split>,
    /// More data sets to draw tasks from.
    pub also: Vec<MoreData>,
    /// Pretrained weights to start from: their uppermost stage is trained.
    pub pretrained: Option<&'a Pretrained>,
}

impl LearnerData<'_> {
    /// One data set, its classes split by the seed; nothing is pretrained.
    pub fn of(dataset: Arc<dyn Dataset>) -> Self {
        Self { dataset, is_synthetic: false, split: None, also: Vec::new(), pretrained: None }
    }
}

/// One more data set to draw tasks from.
#[derive(Clone)]
pub struct MoreData {
    /// The data set.
    pub dataset: Arc<dyn Dataset>,
    /// Its share of all tasks, between 0 and 1.
    pub share: f64,
    /// Whether it was made for this training and is never used again: it is then neither tested on nor recorded.
    pub is_synthetic: bool,
}

impl MoreData {
    /// Its classes divided: all of a synthetic one are trained on.
    pub(super) fn divided(
        &self,
        options: &LearnerTraining,
        view: Arc<View>,
        observer: &mut dyn Observer,
    ) -> Result<Divided> {
        if !self.is_synthetic {
            options.shape()?.check(self.dataset.as_ref())?;
            return Divided::new(options, None, view, false, observer);
        }
        let all = (0..self.dataset.classes().len() as u32).collect();
        let part = |classes| TaskSource::new(view.clone(), classes);
        Ok(Divided { training: part(all), validation: part(Vec::new()), test: part(Vec::new()), is_synthetic: true })
    }
}

/// A data set with its classes divided.
pub(super) struct Divided {
    pub(super) training: TaskSource,
    pub(super) validation: TaskSource,
    pub(super) test: TaskSource,
    pub(super) is_synthetic: bool,
}

impl Divided {
    /// A data set by a published split, or else by the seed; all its classes are trained on if there are too few to
    /// hold some out, or if that is asked for.
    pub(super) fn new(
        options: &LearnerTraining,
        split: Option<Split>,
        view: Arc<View>,
        is_synthetic: bool,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        let dataset = view.dataset().as_ref();
        let ways = options.shape()?.ways().high();
        let all =
            || Split { train: (0..dataset.classes().len() as u32).collect(), validation: Vec::new(), test: Vec::new() };
        let drawn = || Some(split_classes(dataset, options.seed)).filter(|split| split.fills(ways));
        let split = match options.train_on_all {
            true => all(),
            false => match split.or_else(drawn) {
                Some(split) => split,
                None => {
                    let name = dataset.name();
                    observer.note(format!("{name}: too few classes to hold some out: trains on all of them"))?;
                    all()
                }
            },
        };
        let part = |classes| {
            let source = TaskSource::new(view.clone(), classes);
            TaskSource { scope: options.scope.unwrap_or(source.scope), ..source }
        };
        Ok(Self {
            training: part(split.train),
            validation: part(split.validation),
            test: part(split.test),
            is_synthetic,
        })
    }

    /// How a learner does on tasks of the test classes; `None` if there are too few.
    pub(super) fn test(
        &self,
        model: &Model,
        shape: TaskShape,
        seed: u64,
        ranks: &dyn Ranks,
    ) -> Result<Option<Evaluation>> {
        let Ok(sampler) = self.test.sampler(shape) else { return Ok(None) };
        let learner = learner(model)?;
        let episode = |number| Ok(self.test.view.episode(&sampler.draw(seed ^ TEST_SEED, number), None)?);
        Ok(Some(evaluate_over(ranks, learner.as_ref(), TEST_TASKS, seed, episode)?))
    }
}
