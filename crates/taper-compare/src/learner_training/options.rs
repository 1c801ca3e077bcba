//! How a learner is trained.

use super::divided::{Divided, LearnerData};
use super::from_weights::WeightsStart;
use super::prepared::{PreparedTraining, Start};
use crate::external::learns_from_episodes;
use crate::from_weights::ITEMS;
use crate::{CompareError, Result, method};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use taper_data::{Count, Look, Scope, TaskShape, Transform, View};
use taper_learn::{
    Method, Observer, Plan, TaskNorm,
    methods::{SettingValues, Training},
    models::default_transform,
    training::{Average, Schedule},
};
use taper_meta::training::{Auxiliary, TaskSource, TrainingTasks, with_symmetries};
use taper_models::{Architecture, Head, Network};

/// How a learner is trained. Options that a method has no use for are ignored, except those that
/// [`prepare`](Self::prepare) refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct LearnerTraining {
    /// The method by its name in the registry.
    pub method: String,
    /// The method's settings; those that are missing have their defaults.
    pub settings: SettingValues,
    /// Classes per task.
    #[serde(with = "taper_learn::text")]
    pub ways: Count,
    /// Support images per class.
    #[serde(with = "taper_learn::text")]
    pub shots: Count,
    /// Query images per class.
    #[serde(with = "taper_learn::text")]
    pub queries: Count,
    /// Where the classes of a task come from; `None` stays within groups if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Whether no classes are held out for validation and for the test.
    pub train_on_all: bool,
    /// Training steps; `None` for the method's usual number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Passes over the images (pretraining) or over the tasks (multitask training).
    pub epochs: u64,
    /// Images per step of pretraining or of multitask training.
    pub batch_size: usize,
    /// Mini-batches per step of pretraining, each normalized by itself; `None` for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches_per_step: Option<usize>,
    /// The network, unless training starts from pretrained weights.
    #[serde(with = "taper_learn::text")]
    pub backbone: Architecture,
    /// Side of the images that the network sees, in pixels; `None` for the network's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Steps from image to input; `None` chooses by the look of the images.
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
    /// Whose statistics normalize a task; `None` for the method's own choice.
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub norm: Option<TaskNorm>,
    /// Whether the learner compares images over all eight symmetries of the square.
    pub symmetries: bool,
    /// Learning rate of the outer loop; `None` for 0.001, or 0.0001 from pretrained weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_lr: Option<f64>,
    /// Tasks per step; `None` for 8, or 2 from pretrained weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_batch_size: Option<usize>,
    /// How weights are averaged.
    #[serde(with = "taper_learn::text")]
    pub average: Average,
    /// Steps between validations; `None` for a twentieth of the steps, or a quarter from pretrained weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validate_every: Option<u64>,
    /// Tasks per validation.
    pub validation_episodes: u64,
    /// Steps between checkpoints.
    pub save_every: u64,
    /// Seed of every random choice.
    #[serde(with = "taper_learn::text")]
    pub seed: u64,
}

/// Training tasks of a method that starts from nothing.
const TASKS: u64 = 60_000;
/// Tasks per step of a method that starts from nothing.
const TASKS_PER_STEP: usize = 8;
/// Learning rate of a method that starts from nothing.
const META_LR: f64 = 1e-3;

impl Default for LearnerTraining {
    fn default() -> Self {
        Self {
            method: "protonet".into(),
            settings: SettingValues::new(),
            ways: Count::fixed(5),
            shots: Count::fixed(1),
            queries: Count::fixed(5),
            scope: None,
            train_on_all: false,
            steps: None,
            epochs: 10,
            batch_size: 20,
            batches_per_step: None,
            backbone: Architecture::Conv4(64),
            image_size: None,
            transform: None,
            norm: None,
            symmetries: false,
            meta_lr: None,
            meta_batch_size: None,
            average: Average::Off,
            validate_every: None,
            validation_episodes: 100,
            save_every: 50,
            seed: 0,
        }
    }
}

impl LearnerTraining {
    /// The shape of training and test tasks.
    ///
    /// # Errors
    /// Returns an error if such tasks would have nothing to learn or nothing to score.
    pub fn shape(&self) -> taper_data::Result<TaskShape> {
        TaskShape::new(self.ways, self.shots, self.queries)
    }

    /// Checks the options against the data, and divides their classes. Nothing is trained or written yet.
    ///
    /// # Errors
    /// Returns an error if the method is unknown or does not do what is asked for, or if the data don't fill the
    /// tasks.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use taper_compare::{LearnerData, LearnerTraining};
    /// use taper_data::{Count, Glyphs, GlyphsSize};
    /// use taper_learn::NoopObserver;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let glyphs = Glyphs::new(0, GlyphsSize { alphabets: 6, characters: 3, drawings: 4 })?; // or open(path)?
    /// let training = LearnerTraining {
    ///     method: "protonet".into(),
    ///     backbone: "conv4-4".parse()?,
    ///     ways: Count::fixed(3),
    ///     queries: Count::fixed(2),
    ///     steps: Some(3),
    ///     validation_episodes: 2,
    ///     ..LearnerTraining::default()
    /// };
    /// let data = LearnerData::of(Arc::new(glyphs)); // with pretrained weights: pretrained: Some(&weights)
    /// let prepared = training.prepare(&data, &mut NoopObserver)?;
    /// let trained = prepared.train(None, &mut NoopObserver)?;
    /// let tests = prepared.test(&trained, &mut NoopObserver)?;
    /// println!("{:.2}", tests[0].evaluation.accuracy().mean); // trained.model.save(path)? keeps the learner
    /// # Ok(())
    /// # }
    /// ```
    pub fn prepare<'a>(&'a self, data: &LearnerData<'_>, observer: &mut dyn Observer) -> Result<PreparedTraining<'a>> {
        let method = method(&self.method)?;
        let settings = method.resolve(&self.settings)?;
        let shape = self.shape()?;
        self.check(method, data)?;
        let start = match data.pretrained {
            Some(pretrained) => {
                let frozen = WeightsStart::frozen(&data.dataset, pretrained, shape, self)?;
                Start::Weights(Box::new(frozen))
            }
            None => Start::Nothing,
        };
        let view = match &start {
            Start::Weights(frozen) => frozen.view.clone(),
            Start::Nothing => self.view(data)?,
        };
        if let (true, Start::Nothing) = (self.symmetries, &start) {
            let plain = Network::new(self.backbone.backbone(view.shape())?, Head::Identity);
            with_symmetries(method, &method.network(&plain, shape.ways().high()))?;
        }
        let own = Divided::new(self, data.split.clone(), view.clone(), data.is_synthetic, observer)?;
        let mut also = Vec::new();
        if method.info().training != Training::SharedTasks {
            shape.check(own.training.dataset())?;
            for more in &data.also {
                let view = Arc::new(View::new(more.dataset.clone(), view.transform().clone())?);
                also.push((more.divided(self, view, observer)?, more.share));
            }
        }
        let auxiliary = also
            .iter()
            .map(|(divided, share): &(Divided, f64)| Auxiliary { source: divided.training.clone(), share: *share });
        let tasks = match method.info().training {
            // its tasks are fixed, each of all classes of a group
            Training::SharedTasks => {
                let classes = (0..own.training.dataset().classes().len() as u32).collect();
                let source = TaskSource { classes, ..own.training.clone() };
                TrainingTasks::new(source, Vec::new(), TaskShape::fixed(self.ways.high(), 1, 1)?)?
            }
            _ => TrainingTasks::new(own.training.clone(), auxiliary.collect(), shape)?,
        };
        let also = also.into_iter().map(|(divided, _)| divided).collect();
        Ok(PreparedTraining { options: self, method, settings, shape, own, also, tasks, start })
    }

    /// Refuses what the method does not do.
    fn check(&self, method: &dyn Method, data: &LearnerData<'_>) -> Result<()> {
        let name = method.info().name;
        let refused = |what: &str| Err(CompareError::Invalid(format!("{name} {what}")));
        let has_more = !data.also.is_empty();
        match method.info().training {
            Training::Nothing => return refused("is not trained before it meets a task: nothing can be kept of it"),
            Training::SharedTasks | Training::Pretraining if has_more => {
                return refused("learns from one data set: give no more");
            }
            _ => {}
        }
        if data.pretrained.is_some() {
            if !learns_from_episodes(method) {
                return refused(
                    "can't be meta-trained from pretrained weights: use protonet, meta-baseline, r2d2, matching or \
                     meta-opt-net",
                );
            }
            if has_more || self.symmetries || self.average != Average::Off || self.transform.is_some() {
                return refused(
                    "starts from pretrained weights: it then learns from one data set, sees images as the weights do, and \
                     averages nothing",
                );
            }
        }
        Ok(())
    }

    fn view(&self, data: &LearnerData<'_>) -> Result<Arc<View>> {
        let look = Look::of(data.dataset.as_ref())?;
        let transform = match &self.transform {
            Some(transform) => transform.clone(),
            None => default_transform(self.backbone, look, look.channels, self.image_size)?,
        };
        Ok(Arc::new(View::new(data.dataset.clone(), transform)?))
    }

    /// Tasks per step of meta-training, from nothing or from pretrained weights.
    pub fn tasks_per_step(&self, from_weights: bool) -> usize {
        self.meta_batch_size.unwrap_or(if from_weights { ITEMS } else { TASKS_PER_STEP })
    }

    /// Meta-training from nothing.
    pub(super) fn episodes_plan(&self) -> Plan {
        let items = self.tasks_per_step(false);
        let steps = self.steps.unwrap_or(TASKS.div_ceil(items as u64));
        Plan {
            items,
            clip: Some(10.0),
            validate_every: self.validate_every.unwrap_or((steps / 20).max(1)),
            ..self.plan(steps)
        }
    }

    /// Passes over the training images.
    pub(super) fn pretraining_plan(&self, source: &TaskSource) -> Plan {
        let images = source.images() as u64;
        let items = self.batches_per_step.unwrap_or(1);
        Plan { items, ..self.plan((self.epochs * images.div_ceil(self.batch_size as u64)).div_ceil(items as u64)) }
    }

    pub(super) fn plan(&self, steps: u64) -> Plan {
        Plan {
            steps,
            learning_rate: self.meta_lr.unwrap_or(META_LR),
            schedule: Schedule::Cosine { warmup: 0 },
            average: self.average,
            save_every: self.save_every,
            seed: self.seed,
            ..Plan::default()
        }
    }
}
