//! Fine-tuning: training part or all of a network by gradient descent on labeled images, from a fresh head, from the
//! head that frozen features give (linear probing, then fine-tuning: Kumar et al. 2022), or from the given head.

use crate::Part;
use candle_core::{Device, Tensor};
use taper_data::Batch;
use taper_learn::heads::{Embedding, LogisticRegression, OnFeatures, Penalty};
use taper_learn::{
    Adapt, Classifier, Draw, LearnError, Plan, Progress, Result, TaskNorm, fit,
    training::{Deadline, MiniBatches, Optimizer, Rates, Schedule, Supervised, Targeted, Trainable},
};
use taper_models::{Buffers, Head, Network, Norm, State};

/// The head that training starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// The network with a fresh head.
    FreshHead,
    /// The network with a head from logistic regression on its frozen features.
    LinearProbe,
    /// The network as given.
    AsGiven,
}

/// Whose statistics batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistics {
    /// Each batch's in training, and at inference the running ones, which training updates.
    Running,
    /// A task's norm; in training the stored ones, which don't change, or each batch's.
    Task(TaskNorm),
}

/// Fine-tunes a network, or the [`taper_models::Upper`] part of one on its activations.
///
/// ```no_run
/// use taper_learn::{Adapt, Classifier};
/// use taper_transfer::{FineTune, Part};
/// # fn tune(network: taper_models::Network, state: taper_models::State, labeled: taper_data::Batch) -> taper_learn::Result<()> {
/// let tune = FineTune { part: Part::Named(vec!["layer4".into()]), ..FineTune::pretrained(network, state) };
/// let classifier = tune.adapt(&labeled, 0)?;
/// let logits = classifier.logits(&labeled.inputs)?;
/// # let _ = logits;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FineTune {
    /// The network.
    pub network: Network,
    /// The state that it starts from.
    pub state: State,
    /// How that state is prepared before the first step.
    pub init: Init,
    /// Which parameters are trained.
    pub part: Part,
    /// Passes over the labeled images.
    pub epochs: u64,
    /// Images per step; `None` for all at once, in their order.
    pub batch: Option<usize>,
    /// AdamW's learning rate for the head and the uppermost stage.
    pub learning_rate: f64,
    /// The share of steps over which the rate rises; it falls along half a cosine after them.
    pub warmup: f64,
    /// Factor of the rate from each stage to the one below.
    pub layer_decay: f64,
    /// Strength of the penalty on the distance from the pretrained weights (L2-SP, Li et al. 2018), 0 for none.
    pub l2_sp: f64,
    /// Label smoothing (Szegedy et al. 2016), 0 for none.
    pub smoothing: f64,
    /// Whose statistics batch norm uses.
    pub statistics: Statistics,
    /// When to stop.
    pub until: Deadline,
}

impl FineTune {
    /// Settings for dozens of images per class: 16 epochs at a rate of 3e-4 that is multiplied by 0.7
    /// per stage, with weak L2-SP. No label smoothing, which would spoil the head that it starts with.
    pub fn pretrained(network: Network, state: State) -> Self {
        Self {
            network,
            state,
            init: Init::LinearProbe,
            part: Part::All,
            epochs: 16,
            batch: Some(32),
            learning_rate: 3e-4,
            warmup: 0.1,
            layer_decay: 0.7,
            l2_sp: 1e-3,
            smoothing: 0.0,
            statistics: Statistics::Task(TaskNorm::Stored),
            until: Deadline::default(),
        }
    }

    /// Trains a whole network from random weights, drawn from `seed`: 30 epochs at a rate of 1e-3, the
    /// same for every stage, with label smoothing.
    ///
    /// # Errors
    /// Returns an error if the network's shapes do not fit together.
    pub fn scratch(network: Network, seed: u64) -> Result<Self> {
        let state = network.init(seed)?;
        Ok(Self {
            init: Init::AsGiven,
            epochs: 30,
            learning_rate: 1e-3,
            layer_decay: 1.0,
            l2_sp: 0.0,
            smoothing: 0.1,
            statistics: Statistics::Running,
            ..Self::pretrained(network, state)
        })
    }

    /// Settings for a few images per class: a fresh head, and 40 steps over all images at a
    /// rate of 3e-3.
    pub fn few_shot(network: Network, state: State, norm: TaskNorm) -> Self {
        Self {
            init: Init::FreshHead,
            epochs: 40,
            batch: None,
            learning_rate: 3e-3,
            warmup: 0.0,
            layer_decay: 1.0,
            l2_sp: 0.0,
            statistics: Statistics::Task(norm),
            ..Self::pretrained(network, state)
        }
    }

    /// The network and the state that training begins with.
    fn begin(&self, support: &Batch, seed: u64) -> Result<(Network, State)> {
        match self.init {
            Init::FreshHead => {
                let network = self.network.with_head(Head::Linear { outputs: support.ways });
                let state = network.replace_head(&self.state, seed)?;
                Ok((network, state))
            }
            Init::LinearProbe => self.probed(support, seed),
            Init::AsGiven => Ok((self.network.clone(), self.state.clone())),
        }
    }

    /// The network with a head from logistic regression on its features, and its state.
    fn probed(&self, support: &Batch, seed: u64) -> Result<(Network, State)> {
        let embedding = Embedding::new(self.network.clone(), self.state.clone(), TaskNorm::Stored);
        let rows: Vec<usize> = (0..support.len()).collect();
        let features = rows.chunks(self.batch.unwrap_or(rows.len()).max(1)).map(|rows| {
            self.until.check()?;
            Ok(embedding.support(&support.inputs.narrow(0, rows[0], rows.len())?)?.0)
        });
        let features = Tensor::cat(&features.collect::<Result<Vec<_>>>()?, 0)?;
        let head = LogisticRegression::new(Penalty::CrossValidated).until(self.until);
        OnFeatures::new(head, embedding).adapt(&Batch { inputs: features, ..support.clone() }, seed)?.network()
    }

    /// The rates of the stages, relative to the uppermost.
    fn rates(&self) -> Rates {
        if self.layer_decay == 1.0 {
            return Rates::default();
        }
        let stages = self.network.backbone().stages();
        let depth = stages.len();
        let rate = |(place, stage)| (stage, self.layer_decay.powi((depth - 1 - place) as i32));
        Rates::new(stages.into_iter().enumerate().map(rate).collect())
    }
}

impl Adapt for FineTune {
    fn adapt(&self, support: &Batch, seed: u64) -> Result<Box<dyn Classifier>> {
        let (network, start) = self.begin(support, seed)?;
        let labels = support.labels.to_vec1::<u32>()?;
        let batches = MiniBatches::new(labels.len(), self.batch.unwrap_or(labels.len()))?;
        let items = |at: Draw| {
            if self.batch.is_none() {
                return Targeted::of(support, None, self.smoothing);
            }
            let places = batches.places(at.seed, at.step);
            let chosen: Vec<u32> = places.iter().map(|&row| labels[row]).collect();
            let rows = Tensor::from_iter(places.into_iter().map(|row| row as u32), &Device::Cpu)?;
            let batch = Batch::new(support.inputs.index_select(&rows, 0)?, &chosen, support.ways)?;
            Targeted::of(&batch, None, self.smoothing)
        };
        let steps = self.epochs * batches.steps_per_epoch();
        let plan = Plan {
            steps,
            learning_rate: self.learning_rate,
            schedule: Schedule::Cosine { warmup: (steps as f64 * self.warmup) as u64 },
            optimizer: Optimizer::AdamW { weight_decay: 1e-2 },
            rates: self.rates(),
            seed,
            ..Plan::default()
        };
        let norm = match self.statistics {
            Statistics::Task(TaskNorm::Stored) => Norm::Stored,
            _ => Norm::Batch,
        };
        let trainable = Trainable::Named(self.part.of(&network, &start)?);
        let objective = Supervised::new(network.clone(), trainable, norm).with_l2_sp(&start, self.l2_sp);
        let fitted = fit(Progress::new(start), &plan, &objective, items, |_| Ok(0.0), &mut self.until.clone())?;
        let state = fitted.progress.state;
        let (norm, statistics) = match self.statistics {
            Statistics::Task(norm @ (TaskNorm::Support | TaskNorm::Batch)) => {
                let (_, statistics) = norm.support(&network, &state.params, &state.buffers, &support.inputs, None)?;
                (norm, statistics.detached())
            }
            Statistics::Task(TaskNorm::PerStep) => return Err(TaskNorm::per_step_elsewhere()),
            Statistics::Running | Statistics::Task(TaskNorm::Stored) => (TaskNorm::Stored, state.buffers.clone()),
        };
        Ok(Box::new(FineTuned { network, state, statistics, norm }))
    }

    fn transductive(&self) -> bool {
        matches!(self.statistics, Statistics::Task(norm) if norm.transductive())
    }
}

/// A fine-tuned network.
struct FineTuned {
    network: Network,
    state: State,
    statistics: Buffers,
    norm: TaskNorm,
}

impl Classifier for FineTuned {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        if inputs.rank() != 4 {
            return Err(LearnError::Invalid(
                "a fine-tuned network classifies images, not features: give images".into(),
            ));
        }
        let forward = self.norm.query(&self.network, &self.state.params, &self.statistics, inputs, None)?;
        Ok(forward.output.detach())
    }

    fn network(&self) -> Result<(Network, State)> {
        if self.norm.transductive() {
            return Err(LearnError::Invalid(
                "a transductive learner can't be kept as a classifier of single images: use the norm `support`".into(),
            ));
        }
        Ok((self.network.clone(), State { params: self.state.params.clone(), buffers: self.statistics.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use taper_models::{Architecture, Params, Upper};
    use taper_ops::{rng, uniform};

    fn pretrained() -> (Network, State) {
        let whole = "cifar-resnet20".parse::<Architecture>().unwrap().backbone((3, 8, 8)).unwrap();
        let upper = Arc::new(Upper::new(whole, "layer3").unwrap());
        let network = Network::new(upper, Head::Linear { outputs: 2 });
        let state = network.init(0).unwrap();
        (network, state)
    }

    fn support() -> Batch {
        let inputs = uniform(&mut rng(0, "activations", 0), (12, 4, 4, 32), -1.0, 1.0).unwrap();
        Batch::new(inputs, &[0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1], 2).unwrap()
    }

    #[test]
    fn only_the_part_asked_for_changes() {
        let (network, state) = pretrained();
        for (part, trained) in [(Part::Norms, "bn1.weight"), (Part::Biases, "bn2.bias")] {
            let tune = FineTune { part, epochs: 2, ..FineTune::pretrained(network.clone(), state.clone()) };
            let (network, tuned) = tune.adapt(&support(), 1).unwrap().network().unwrap();
            let changed: Vec<&str> = state
                .params
                .iter()
                .filter(|(name, _)| !network.in_head(name))
                .filter(|(name, before)| {
                    let moved = (tuned.params.get(name).unwrap() - *before).unwrap().abs().unwrap().max_all().unwrap();
                    moved.to_scalar::<f32>().unwrap() > 0.0
                })
                .map(|(name, _)| name)
                .collect();
            assert!(changed.iter().any(|name| name.ends_with(trained)), "{changed:?}");
            assert!(!changed.iter().any(|name| name.contains("conv")), "{changed:?}");
            for (name, before) in state.buffers.iter() {
                let after = tuned.buffers.get(name).unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(after, before.to_vec1::<f32>().unwrap(), "{name}");
            }
        }
    }

    #[test]
    fn from_scratch_all_is_trained_and_the_norms_learn_their_statistics() {
        let (network, _) = pretrained();
        let scratch = FineTune { epochs: 2, ..FineTune::scratch(network.clone(), 3).unwrap() };
        let (_, tuned) = scratch.adapt(&support(), 1).unwrap().network().unwrap();
        let first = network.init(3).unwrap();
        let differs = |before: &Tensor, after: &Tensor| {
            let moved = (after - before).unwrap().abs().unwrap().flatten_all().unwrap();
            moved.to_vec1::<f32>().unwrap().iter().any(|&by| by > 0.0)
        };
        for (name, before) in first.params.iter() {
            assert!(differs(before, tuned.params.get(name).unwrap()), "{name} stays");
        }
        for (name, before) in first.buffers.iter() {
            assert!(differs(before, tuned.buffers.get(name).unwrap()), "{name} stays");
        }
    }

    #[test]
    fn fine_tuning_fits_noise_that_frozen_features_can_not_and_a_strong_anchor_forbids_it() {
        let (network, state) = pretrained();
        let far = |l2_sp: f64| {
            let tune = FineTune { l2_sp, learning_rate: 5e-3, ..FineTune::pretrained(network.clone(), state.clone()) };
            let (network, tuned) = tune.adapt(&support(), 1).unwrap().network().unwrap();
            let backbone = |params: &Params| params.filter(|name| !network.in_head(name));
            backbone(&tuned.params).minus(1.0, &backbone(&state.params)).unwrap().norm().unwrap()
        };
        let (free, held) = (far(0.0), far(100.0));
        assert!(held < 0.5 * free, "{held} {free}");
    }
}
