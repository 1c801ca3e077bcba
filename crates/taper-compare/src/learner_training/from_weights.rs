//! Meta-training of a learner from pretrained weights.

use super::divided::{Divided, TEST_TASKS};
use super::options::LearnerTraining;
use super::prepared::PreparedTraining;
use crate::from_weights::{Frozen, MetaTraining};
use crate::{Result, TEST_SEED};
use std::collections::BTreeSet;
use std::sync::Arc;
use taper_data::{Dataset, TaskShape};
use taper_learn::{Evaluation, Model, Observer, Plan, RunDirectory, evaluate_over};
use taper_meta::training::Learned;
use taper_models::catalog::Pretrained;

/// Images that a learner sees in training unless a number of steps is asked for: a stage that was pretrained needs few.
const IMAGES: u64 = 12_000;

/// Training that starts from pretrained weights.
pub(super) struct WeightsStart<'a> {
    pub(super) frozen: &'a Frozen,
    pub(super) prepared: &'a PreparedTraining<'a>,
}

impl WeightsStart<'_> {
    /// The pretrained network as it sees a data set.
    ///
    /// # Errors
    /// Returns an error if the weights don't fit, or the network can't be trained in part.
    pub(super) fn frozen(
        dataset: &Arc<dyn Dataset>,
        pretrained: &Pretrained,
        shape: TaskShape,
        options: &LearnerTraining,
    ) -> Result<Frozen> {
        let frozen = Frozen::new(dataset, pretrained, shape.ways().high(), options.image_size, options.seed)?;
        frozen.uppermost_stage()?;
        Ok(frozen)
    }

    /// Trains the uppermost stage.
    pub(super) fn learn(&self, run: Option<&RunDirectory>, observer: &mut dyn Observer) -> Result<Learned> {
        let PreparedTraining { options, method, settings, shape, own, .. } = self.prepared;
        let training = self.frozen.tasks(&own.training, *shape, options.seed, observer)?;
        let validation = match own.validation.sampler(*shape) {
            Ok(_) => Some(self.frozen.tasks(&own.validation, *shape, options.seed, observer)?),
            Err(_) => None,
        };
        let meta_training =
            MetaTraining::new(*method, settings.clone(), self.frozen, &training, validation.as_ref(), options.seed)?;
        let steps = options.steps.unwrap_or_else(|| meta_training.steps_of(IMAGES));
        let plan = meta_training.plan(steps);
        let plan = Plan {
            items: options.tasks_per_step(true),
            learning_rate: options.meta_lr.unwrap_or(plan.learning_rate),
            validate_every: options.validate_every.filter(|_| validation.is_some()).unwrap_or(plan.validate_every),
            save_every: options.save_every,
            ..plan
        };
        let trained = meta_training.train(&plan, options.validation_episodes, run, observer)?;
        Ok(Learned {
            network: self.frozen.network.with_head(trained.configured.context().network.head()),
            state: self.frozen.merged(&trained.state),
            seconds: trained.seconds,
        })
    }

    /// How a learner does on tasks of the test classes, whose features are computed once; `None` if there are too few.
    pub(super) fn test(
        &self,
        model: &Model,
        divided: &Divided,
        observer: &mut dyn Observer,
    ) -> Result<Option<Evaluation>> {
        let PreparedTraining { options, shape, .. } = self.prepared;
        let Ok(sampler) = divided.test.sampler(*shape) else { return Ok(None) };
        let task = |number| sampler.draw(options.seed ^ TEST_SEED, number);
        let images: BTreeSet<usize> =
            (0..TEST_TASKS).map(task).flat_map(|task| task.support.into_iter().chain(task.query)).collect();
        let images: Vec<usize> = images.into_iter().collect();
        let learned = self.frozen.learned(model)?;
        let made = self.frozen.make(&divided.test.view, &images, "features to test on", observer)?;
        let features = learned.features(&made, &images)?;
        let learner = learned.configured.learner(learned.state)?;
        let episode = |number| Ok(features.episode(&task(number), None)?);
        Ok(Some(evaluate_over(observer.ranks().as_ref(), learner.as_ref(), TEST_TASKS, options.seed, episode)?))
    }
}
