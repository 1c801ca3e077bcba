//! Meta-training from pretrained weights: the uppermost stage learns from episodes of other images, the part
//! below stays as it is (pretrain, meta-train, fine-tune: Hu et al. 2022, "Pushing the Limits of Simple Pipelines
//! for Few-Shot Learning").

use super::Frozen;
use crate::Result;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{EpisodeIndices, Inputs};
use taper_learn::{
    Context, Draw, Method, Observer, Plan, RunDirectory, TaskNorm, evaluate_over,
    methods::{ConfiguredMethod, SettingValues},
    training::{Schedule, Stage},
};
use taper_models::{Network, State};
use taper_ops::map_in_order;
use taper_transfer::{Activations, upper_part};

/// Episodes per step.
pub(crate) const ITEMS: usize = 2;
/// Rate of a stage that was pretrained.
const LEARNING_RATE: f64 = 1e-4;
/// Validations over the training, and episodes of each.
const VALIDATIONS: u64 = 4;
pub(crate) const VALIDATION_EPISODES: u64 = 20;

/// Episodes by seed and number, as activations below the stage that is trained.
#[derive(Clone)]
pub(crate) struct MetaTasks {
    /// Draws an episode.
    pub(crate) draw: Arc<dyn Fn(u64, u64) -> EpisodeIndices + Send + Sync>,
    pub(crate) activations: Arc<Activations>,
    /// The most classes of an episode.
    pub(crate) ways: usize,
    /// What the episodes are of.
    pub(crate) name: String,
}

impl MetaTasks {
    fn episode(&self, seed: u64, number: u64) -> taper_learn::Result<taper_data::Episode> {
        Ok(self.activations.episode(&(self.draw)(seed, number), None)?)
    }
}

/// A method before its meta-training.
pub(crate) struct MetaTraining<'a> {
    method: &'static dyn Method,
    settings: SettingValues,
    tasks: &'a MetaTasks,
    validation: Option<&'a MetaTasks>,
    network: Network,
    pretrained: State,
    seed: u64,
}

/// A method after its meta-training.
pub(crate) struct MetaTrained {
    pub(crate) method: &'static dyn Method,
    pub(crate) configured: Box<dyn ConfiguredMethod>,
    pub(crate) state: State,
    /// Seconds of training.
    pub(crate) seconds: f64,
    /// What it was meta-trained on.
    pub(crate) on: String,
}

impl<'a> MetaTraining<'a> {
    /// `method`, to be trained from the pretrained weights on `tasks`. The best state on `validation` is kept, which
    /// may be an early one, or the one before any training.
    ///
    /// # Errors
    /// Returns an error if the network can't be cut.
    pub(crate) fn new(
        method: &'static dyn Method,
        settings: SettingValues,
        frozen: &Frozen,
        tasks: &'a MetaTasks,
        validation: Option<&'a MetaTasks>,
        seed: u64,
    ) -> Result<Self> {
        let (upper, pretrained) = upper_part(&frozen.network, &frozen.state, frozen.uppermost_stage()?)?;
        let network = method.network(&upper, tasks.ways);
        Ok(Self { method, settings, tasks, validation, network, pretrained, seed })
    }

    fn configured(&self, steps: u64) -> Result<Box<dyn ConfiguredMethod>> {
        let context = Context { network: self.network.clone(), norm: TaskNorm::Stored, steps };
        Ok(self.method.configure(&self.settings, context)?)
    }

    /// Seconds of a training step.
    pub(crate) fn seconds_of_step(&self) -> Result<f64> {
        let configured = self.configured(1)?;
        let start = configured.start(Some(&self.pretrained), self.seed)?;
        let objective = configured.objective()?;
        let mut seconds = f64::INFINITY;
        for step in 0..2 {
            let items: Vec<u64> = (0..ITEMS as u64).map(|item| step * ITEMS as u64 + item).collect();
            let clock = Instant::now();
            let gradients = map_in_order(&items, |_, &number| {
                let at = Draw { seed: self.seed, step, number };
                objective.gradient(&start, &self.tasks.episode(self.seed, number)?, at)
            });
            gradients.into_iter().try_for_each(|gradient| gradient.map(|_| ()))?;
            seconds = seconds.min(clock.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }

    /// Steps that see so many images.
    pub(crate) fn steps_of(&self, images: u64) -> u64 {
        let drawn = (self.tasks.draw)(self.seed, 0);
        (images / (ITEMS * (drawn.support.len() + drawn.query.len())) as u64).max(1)
    }

    /// So many steps.
    pub(crate) fn plan(&self, steps: u64) -> Plan {
        Plan {
            steps,
            items: ITEMS,
            learning_rate: LEARNING_RATE,
            schedule: Schedule::Cosine { warmup: steps / 10 },
            clip: Some(10.0),
            validate_every: if self.validation.is_some() { (steps / VALIDATIONS).max(1) } else { 0 },
            save_every: 10,
            seed: self.seed,
            ..Plan::default()
        }
    }

    /// Trains by a plan, with so many episodes per validation.
    ///
    /// # Errors
    /// Returns an error if training fails or the observer asks to stop.
    pub(crate) fn train(
        &self,
        plan: &Plan,
        validation_episodes: u64,
        run: Option<&RunDirectory>,
        observer: &mut dyn Observer,
    ) -> Result<MetaTrained> {
        let configured = self.configured(plan.steps)?;
        let start = configured.start(Some(&self.pretrained), self.seed)?;
        let ranks = observer.ranks();
        let score = |state: &State| -> taper_learn::Result<f64> {
            let Some(tasks) = self.validation else { return Ok(0.0) };
            let learner = configured.learner(state.clone())?;
            let episode = |number| tasks.episode(self.seed, number);
            Ok(evaluate_over(ranks.as_ref(), learner.as_ref(), validation_episodes, self.seed, episode)?
                .accuracy()
                .mean)
        };
        let name = format!("{}-from-weights", self.method.info().name);
        let objective = configured.objective()?;
        let episode = |at: Draw| self.tasks.episode(at.seed, at.number);
        let before = score(&start)?;
        let stage = Stage { name: &name, run };
        let outcome = stage.train(plan, start.clone(), objective.as_ref(), episode, score, observer)?;
        let seconds = outcome.seconds;
        let state = match &outcome.progress.best {
            // no training was better than none
            Some(best) if self.validation.is_some() && best.score < before => start,
            _ => outcome.progress.into_best(),
        };
        Ok(MetaTrained { method: self.method, configured, state, seconds, on: self.tasks.name.clone() })
    }
}
