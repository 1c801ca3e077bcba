//! Meta-training: a learner from many small tasks.

use super::{TrainingTasks, pretrain};
use std::sync::Arc;
use taper_data::{EpisodeSampler, Inputs};
use taper_learn::{
    Context, LearnError, Method, Observer, Plan, Result, RunDirectory, TaskNorm, evaluate_over,
    methods::{SettingValues, Training},
    training::Stage,
};
use taper_models::{Architecture, Head, Network, State, SymmetryEnsemble};

/// Validation tasks are the same in every run.
const VALIDATION_SEED: u64 = 0x7661_6c69;

/// How a learner is meta-trained.
#[derive(Debug, Clone)]
pub struct MetaTraining {
    /// The network.
    pub architecture: Architecture,
    /// Whose statistics normalize a task.
    pub norm: TaskNorm,
    /// The method's settings.
    pub settings: SettingValues,
    /// The meta-training itself.
    pub plan: Plan,
    /// The pretraining before it, for methods that have one.
    pub pretraining: Plan,
    /// Images per pretraining step.
    pub batch: usize,
    /// Tasks per validation.
    pub validation_tasks: u64,
    /// Whether the learner compares images over all eight symmetries of the square.
    pub symmetries: bool,
}

/// A trained learner.
#[derive(Debug)]
pub struct Learned {
    /// The network, with the method's head.
    pub network: Network,
    /// What was learned: the best validated state if there was validation.
    pub state: State,
    /// Seconds of training, pretraining included.
    pub seconds: f64,
}

/// Meta-trains `method` on `tasks`, after pretraining if the method starts from it; the state that
/// scores best on `validation` tasks is kept.
///
/// # Errors
/// Returns an error if the method is not trained on tasks or does not support symmetries, or if training
/// fails or is stopped.
///
/// ```
/// use std::sync::Arc;
/// use taper_data::{Glyphs, GlyphsSize, TaskShape, View};
/// use taper_learn::{NoopObserver, Plan, TaskNorm, methods::SettingValues};
/// use taper_meta::PROTONET;
/// use taper_meta::training::{MetaTraining, TaskSource, TrainingTasks, meta_train};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let glyphs = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 6, drawings: 4 })?);
/// let view = Arc::new(View::new(glyphs, "gray resize(16x16) invert".parse()?)?);
/// let source = TaskSource::new(view, (0..6).collect());
/// let tasks = TrainingTasks::new(source, Vec::new(), TaskShape::fixed(3, 1, 2)?)?;
/// let training = MetaTraining {
///     architecture: "conv4-4".parse()?,
///     norm: TaskNorm::Support,
///     settings: SettingValues::new(),
///     plan: Plan { steps: 3, items: 2, ..Plan::default() },
///     pretraining: Plan::default(),
///     batch: 20,
///     validation_tasks: 0,
///     symmetries: false,
/// };
/// let learned = meta_train(&PROTONET, &training, &tasks, None, None, &mut NoopObserver)?;
/// assert!(learned.state.params.count() > 0);
/// # Ok(())
/// # }
/// ```
pub fn meta_train(
    method: &dyn Method,
    training: &MetaTraining,
    tasks: &TrainingTasks,
    validation: Option<&EpisodeSampler>,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Learned> {
    let MetaTraining { architecture, norm, settings, plan, pretraining, batch, .. } = training;
    let view = &tasks.main.view;
    let info = method.info();
    let pretrained = match info.training {
        Training::Episodes { pretrained: true } => {
            let stage = Stage { name: "pretrained", run };
            Some(pretrain(stage, &tasks.main, *architecture, pretraining, *batch, observer)?.1)
        }
        Training::Episodes { pretrained: false } => None,
        _ => return Err(LearnError::Invalid(format!("{} is not trained on tasks: pretrain a classifier", info.name))),
    };
    let plain = Network::new(architecture.backbone(view.shape())?, Head::Identity);
    let network = method.network(&plain, tasks.shape.ways().high());
    let context = Context { network: network.clone(), norm: *norm, steps: plan.steps };
    let configured = method.configure(settings, context)?;
    let ranks = observer.ranks();
    let validate = |state: &State| -> Result<f64> {
        let Some(sampler) = validation else { return Ok(0.0) };
        let learner = configured.learner(state.clone())?;
        let episode = |number| Ok(view.episode(&sampler.draw(VALIDATION_SEED, number), None)?);
        let tasks = training.validation_tasks;
        Ok(evaluate_over(ranks.as_ref(), learner.as_ref(), tasks, VALIDATION_SEED, episode)?.accuracy().mean)
    };
    let objective = configured.objective()?;
    let start = configured.start(pretrained.as_ref().map(|outcome| outcome.progress.learned()), plan.seed)?;
    let validate_every = if validation.is_none() { 0 } else { plan.validate_every };
    let plan = Plan { validate_every, ..plan.clone() };
    let stage = Stage { name: info.name, run };
    let outcome = stage.train(&plan, start, objective.as_ref(), |at| tasks.episode(at), validate, observer)?;
    let network = if training.symmetries { with_symmetries(method, &network)? } else { network };
    Ok(Learned {
        network,
        seconds: outcome.seconds + pretrained.map_or(0.0, |outcome| outcome.seconds),
        state: outcome.progress.into_best(),
    })
}

/// The network that gives the features of an image in all eight symmetries of the square.
///
/// # Errors
/// Returns an error if the method does more with features than compare them.
pub fn with_symmetries(method: &dyn Method, network: &Network) -> Result<Network> {
    let ensemble = Network::new(Arc::new(SymmetryEnsemble::new(network.backbone().clone())?), network.head());
    if ensemble.param_specs() != network.param_specs() {
        return Err(LearnError::Invalid(format!(
            "symmetries are for learners that compare features, such as protonet, not {}",
            method.info().name
        )));
    }
    Ok(ensemble)
}
