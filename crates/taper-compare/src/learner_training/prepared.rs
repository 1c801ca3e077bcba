//! A learner's training with everything checked, and the learner.

use super::divided::{Divided, TEST_TASKS};
use super::from_weights::WeightsStart;
use super::options::LearnerTraining;
use crate::Result;
use crate::from_weights::Frozen;
use taper_data::TaskShape;
use taper_learn::{
    Evaluation, Method, Model, Observer, Plan, RunDirectory,
    methods::{SettingValues, Training},
    training::{Schedule, Stage},
};
use taper_meta::training::{
    Learned, MetaTraining, MultitaskTraining, TrainingTasks, meta_train, multitask, pretrain, with_symmetries,
};

/// What training starts from.
pub(super) enum Start {
    Nothing,
    Weights(Box<Frozen>),
}

/// A learner's training with everything checked.
pub struct PreparedTraining<'a> {
    pub(super) options: &'a LearnerTraining,
    pub(super) method: &'static dyn Method,
    pub(super) settings: SettingValues,
    pub(super) shape: TaskShape,
    pub(super) own: Divided,
    pub(super) also: Vec<Divided>,
    pub(super) tasks: TrainingTasks,
    pub(super) start: Start,
}

/// A trained learner.
pub struct TrainedLearner {
    /// The learner, ready to be kept.
    pub model: Model,
    /// Seconds of training.
    pub seconds: f64,
    /// Accuracy on each task in the last epoch of multitask training, which tests its own tasks.
    pub last_epoch: Vec<f64>,
}

/// How a learner does on tasks of classes that it was not trained on.
#[derive(Debug, Clone)]
pub struct LearnerTest {
    /// The data set that the classes are of.
    pub dataset: String,
    /// Scores on the tasks.
    pub evaluation: Evaluation,
}

impl PreparedTraining<'_> {
    /// Tasks that a learner is tested on.
    pub const TEST_TASKS: u64 = TEST_TASKS;

    /// The method.
    pub fn method(&self) -> &'static dyn Method {
        self.method
    }

    /// The shape of the tasks.
    pub fn shape(&self) -> TaskShape {
        self.shape
    }

    /// What training tasks are drawn from.
    pub fn tasks(&self) -> &TrainingTasks {
        &self.tasks
    }

    /// Trains the learner. With a run directory every stage is saved there and resumed from there.
    ///
    /// # Errors
    /// Returns an error if training fails or the observer asks to stop.
    pub fn train(&self, run: Option<&RunDirectory>, observer: &mut dyn Observer) -> Result<TrainedLearner> {
        let (learned, last_epoch) = match (&self.start, self.method.info().training) {
            (Start::Weights(frozen), _) => (WeightsStart { frozen, prepared: self }.learn(run, observer)?, Vec::new()),
            (_, Training::SharedTasks) => self.multitask(run, observer)?,
            (_, Training::Episodes { .. }) => (self.episodes(run, observer)?, Vec::new()),
            _ => (self.pretraining(run, observer)?, Vec::new()),
        };
        let model = Model {
            network: learned.network,
            state: learned.state,
            labels: Vec::new(),
            transform: self.own.training.view.transform().to_string(),
            origin: self.origin(),
            provenance: self.provenance()?,
            support: None,
        };
        Ok(TrainedLearner { model, seconds: learned.seconds, last_epoch })
    }

    /// Scores a learner on tasks of classes that were held out: of the main data set, then of the others. Empty if
    /// there are too few of them, and after multitask training, which tests its own tasks.
    ///
    /// # Errors
    /// Returns an error if an image can't be read, or adapting fails.
    pub fn test(&self, trained: &TrainedLearner, observer: &mut dyn Observer) -> Result<Vec<LearnerTest>> {
        if self.method.info().training == Training::SharedTasks {
            return Ok(Vec::new());
        }
        let mut tests = Vec::new();
        for divided in std::iter::once(&self.own).chain(&self.also) {
            let evaluation = match &self.start {
                Start::Weights(frozen) => {
                    WeightsStart { frozen, prepared: self }.test(&trained.model, divided, observer)?
                }
                Start::Nothing => {
                    let ranks = observer.ranks();
                    divided.test(&trained.model, self.shape, self.options.seed, ranks.as_ref())?
                }
            };
            if let Some(evaluation) = evaluation {
                tests.push(LearnerTest { dataset: divided.test.dataset().name().to_string(), evaluation });
            }
        }
        Ok(tests)
    }

    /// A classifier of the training classes, whose features the learner compares.
    fn pretraining(&self, run: Option<&RunDirectory>, observer: &mut dyn Observer) -> Result<Learned> {
        let plan = self.options.pretraining_plan(&self.own.training);
        let plan = Plan { steps: self.options.steps.unwrap_or(plan.steps), ..plan };
        let stage = Stage { name: "pretrained", run };
        let LearnerTraining { backbone, batch_size, symmetries, .. } = *self.options;
        let (network, outcome) = pretrain(stage, &self.own.training, backbone, &plan, batch_size, observer)?;
        let network = if symmetries { with_symmetries(self.method, &network)? } else { network };
        Ok(Learned { network, seconds: outcome.seconds, state: outcome.progress.into_best() })
    }

    /// Meta-training from nothing, or after pretraining if the method wants that.
    fn episodes(&self, run: Option<&RunDirectory>, observer: &mut dyn Observer) -> Result<Learned> {
        let training = MetaTraining {
            architecture: self.options.backbone,
            norm: self.options.norm.unwrap_or(self.method.info().norm),
            settings: self.settings.clone(),
            plan: self.options.episodes_plan(),
            pretraining: self.options.pretraining_plan(&self.own.training),
            batch: self.options.batch_size,
            validation_tasks: self.options.validation_episodes,
            symmetries: self.options.symmetries,
        };
        let validation = self.own.validation.sampler(self.shape).ok();
        Ok(meta_train(self.method, &training, &self.tasks, validation.as_ref(), run, observer)?)
    }

    /// One shared head over fixed tasks.
    fn multitask(&self, run: Option<&RunDirectory>, observer: &mut dyn Observer) -> Result<(Learned, Vec<f64>)> {
        let plan = self.options.plan(self.options.steps.unwrap_or(0));
        let training = MultitaskTraining {
            architecture: self.options.backbone,
            ways: self.options.ways.high(),
            batch: self.options.batch_size,
            epochs: self.options.epochs,
            queries: Some(self.options.queries.high()),
            plan: Plan { schedule: Schedule::Constant, ..plan },
        };
        let trained = multitask(Stage { name: "multitask", run }, &self.tasks.main, &training, observer)?;
        let seconds = trained.outcome.seconds;
        let learned = Learned { network: trained.network, seconds, state: trained.outcome.progress.state };
        Ok((learned, trained.last_epoch))
    }
}
