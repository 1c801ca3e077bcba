//! Options of a training.

use super::TrainedPart;
use crate::{Mixing, Part, Problem, Result, TransferError, UnfreezePhase};
use serde::{Deserialize, Serialize};
use taper_learn::{
    Plan,
    training::{Average, Optimizer, Schedule},
};

/// Options of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct TrainingOptions {
    /// What stays frozen; `None` freezes the backbone if it has pretrained weights, otherwise nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// What is trained, with the norms' stored statistics; excludes `freeze`.
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainedPart>,
    /// Passes over the training images.
    pub epochs: u64,
    /// Learning rate.
    pub lr: f64,
    /// The learning rate over the training.
    pub schedule: ScheduleShape,
    /// Images per batch.
    pub batch_size: usize,
    /// AdamW's weight decay; 0 trains with Adam.
    pub weight_decay: f64,
    /// Batches whose gradients are averaged for one step.
    pub accumulate: usize,
    /// Label smoothing (Szegedy et al. 2016), 0 for none.
    pub smoothing: f64,
    /// Mixup's α (Zhang et al. 2018); excludes `cutmix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    /// CutMix's α (Yun et al. 2019); excludes `mixup`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
    /// How imbalanced classes are balanced.
    pub balance: Balance,
    /// Which states of the training are averaged.
    #[serde(with = "taper_learn::text")]
    pub average: Average,
    /// Epochs without a lower loss on a held-out tenth of the training images after which training stops
    /// and the best state is kept; `None` trains for all epochs and keeps the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Views per image in the report, whose scores are averaged: the image, and copies from the random steps
    /// of the transform.
    pub views: usize,
    /// Trains and validates as in the recipe's original program: dropout and batch statistics stay on in validation,
    /// running statistics of frozen norms move, and nothing is cached.
    pub as_published: bool,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            freeze: None,
            train: None,
            epochs: 10,
            lr: 1e-3,
            schedule: ScheduleShape::Constant,
            batch_size: 32,
            weight_decay: 0.0,
            accumulate: 1,
            smoothing: 0.0,
            mixup: None,
            cutmix: None,
            balance: Balance::Off,
            average: Average::Off,
            patience: None,
            views: 1,
            as_published: false,
        }
    }
}

/// What stays frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freeze {
    /// All but the head.
    Backbone,
    /// Nothing: the whole network is trained, and norms learn their statistics.
    Nothing,
}

/// How imbalanced classes are balanced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Every image counts the same.
    #[default]
    Off,
    /// An image counts more, the fewer images its class has.
    Loss,
    /// Classes are drawn equally often.
    Sampling,
}

/// The learning rate over a training of any length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleShape {
    /// The same throughout.
    #[default]
    Constant,
    /// A linear rise over the first tenth of the steps, then down to 0 along half a cosine.
    Cosine,
    /// A rise from 1/25 over the first 30% of the steps, then down to nearly 0.
    OneCycle,
}

impl ScheduleShape {
    /// The schedule over this many steps.
    pub fn over(self, steps: u64) -> Schedule {
        match self {
            Self::Constant => Schedule::Constant,
            Self::Cosine => Schedule::Cosine { warmup: steps / 10 },
            Self::OneCycle => Schedule::OneCycle,
        }
    }
}

impl TrainingOptions {
    /// Fails if options exclude each other, or a count is 0.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |problem: &str| Err(TransferError::Invalid(problem.to_string()));
        match self {
            Self { epochs: 0, .. } => invalid("0 epochs train nothing: use at least 1"),
            Self { batch_size: 0, .. } => invalid("batches of 0 images train nothing: use at least 1"),
            Self { accumulate: 0, .. } => invalid("steps of 0 batches train nothing: use at least 1"),
            Self { views: 0, .. } => invalid("0 views of an image can't be scored: use at least 1"),
            Self { mixup: Some(_), cutmix: Some(_), .. } => {
                invalid("mixup and cutmix exclude each other: use one of them")
            }
            Self { train: Some(_), freeze: Some(_), .. } => {
                invalid("train and freeze exclude each other: use one of them")
            }
            Self { train: Some(_), as_published: true, .. } => {
                invalid("train and as-published exclude each other: use one of them")
            }
            _ => Ok(()),
        }
    }

    /// How training images are mixed.
    pub(super) fn mixing(&self) -> Mixing {
        match (self.mixup, self.cutmix) {
            (Some(alpha), _) => Mixing::Mixup(alpha),
            (None, Some(alpha)) => Mixing::CutMix(alpha),
            (None, None) => Mixing::Off,
        }
    }

    /// What is trained.
    fn part(&self, problem: &Problem) -> Part {
        match (&self.train, self.freeze) {
            (Some(train), _) => train.part.clone(),
            (None, Some(Freeze::Backbone)) => Part::Head,
            (None, Some(Freeze::Nothing)) => Part::All,
            (None, None) if problem.weights().is_some() || self.as_published => Part::Head,
            (None, None) => Part::All,
        }
    }

    /// Whether stages are unfrozen one after the other.
    pub(super) fn is_gradual(&self) -> bool {
        self.train.as_ref().is_some_and(|train| train.gradual)
    }

    /// Whether norms use each batch's statistics and update the running ones.
    pub(super) fn learns_statistics(&self, problem: &Problem) -> bool {
        (self.part(problem) == Part::All && self.train.is_none()) || self.as_published
    }

    /// What is trained in which epochs. Fails if the network has no such part.
    pub(super) fn unfreeze_schedule(&self, problem: &Problem) -> Result<Vec<UnfreezePhase>> {
        let (part, network, state) = (self.part(problem), problem.network(), problem.state());
        if self.is_gradual() {
            return Ok(part.unfreeze_schedule(network, state, self.epochs)?);
        }
        Ok(vec![UnfreezePhase { epoch: 0, trained: part.of(network, state)? }])
    }

    /// The plan of this many steps per epoch, which saves and validates after every epoch.
    pub(super) fn plan(&self, steps_per_epoch: u64, restarts: Vec<u64>, seed: u64) -> Plan {
        let steps = self.epochs * steps_per_epoch;
        Plan {
            steps,
            items: self.accumulate,
            learning_rate: self.lr,
            schedule: self.schedule.over(steps),
            optimizer: match self.weight_decay {
                0.0 => Optimizer::adam(),
                weight_decay => Optimizer::AdamW { weight_decay },
            },
            restarts,
            average: self.average,
            validate_every: steps_per_epoch,
            patience: self.patience.unwrap_or(0),
            save_every: steps_per_epoch,
            seed,
            ..Plan::default()
        }
    }
}
