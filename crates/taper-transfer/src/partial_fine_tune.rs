//! Partial fine-tuning: the upper stages of a pretrained network with a head, from the head that
//! frozen features give (linear probing, then fine-tuning: Kumar et al. 2022), where batch norm's
//! statistics stay as they are; or, beside it, all of a network from its first weights.

use crate::Targeted;
use candle_core::{DType, Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use taper_data::Batch;
use taper_learn::heads::{Embedding, LogisticRegression};
use taper_learn::{
    Adapt, Classifier, Deadline, Draw, Gradient, LearnError, Objective, Optimizer, Plan, Progress, Rates, Result,
    Schedule, TaskNorm, accuracy, fit,
};
use taper_models::{Buffers, Leaves, Mode, Network, Norm, Params, State};
use taper_ops::{cross_entropy_to, permutation, rng};

/// Which parameters are trained; the head always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    All,
    /// The head alone.
    Head,
    /// Those of these stages, or whose names begin so (`"layer4"`, `"layer3.0.conv1"`), and the head.
    Named(Vec<String>),
    /// The weights and biases of the norms, and the head (Frankle et al. 2021).
    Norms,
    /// All biases, the norms' among them, and the head (Ben Zaken et al. 2022).
    Biases,
}

/// What training begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// The head that logistic regression gives the frozen features; norms keep their statistics.
    LinearProbe,
    /// The state as it is; norms take each batch's statistics, and learn those that they keep.
    AsGiven,
}

/// Fine-tunes a network, or the [`taper_models::Upper`] part of one on its activations.
#[derive(Debug, Clone)]
pub struct PartialFineTune {
    /// The network.
    pub network: Network,
    /// The state that it starts from.
    pub state: State,
    /// What is made of that state before the first step.
    pub begin: Init,
    /// Which parameters are trained.
    pub part: Part,
    /// Passes over the labeled images.
    pub epochs: u64,
    /// Images a step.
    pub batch: usize,
    /// AdamW's learning rate for the head and the uppermost stage.
    pub learning_rate: f64,
    /// Factor of the rate from a stage to the one below.
    pub layer_decay: f64,
    /// Strength of the pull back to the pretrained weights (L2-SP, Li et al. 2018), 0 for none.
    pub l2_sp: f64,
    /// Label smoothing (Szegedy et al. 2016), 0 for none.
    pub smoothing: f64,
    /// When to give up.
    pub until: Deadline,
}

impl PartialFineTune {
    /// What does well with some dozens of images a class: 16 epochs at a rate of 3e-4 that falls by
    /// 0.7 a stage, and a light pull back. No label smoothing: it spoils the head that it begins with.
    pub fn usual(network: Network, state: State) -> Self {
        Self {
            network,
            state,
            begin: Init::LinearProbe,
            part: Part::All,
            epochs: 16,
            batch: 32,
            learning_rate: 3e-4,
            layer_decay: 0.7,
            l2_sp: 1e-3,
            smoothing: 0.0,
            until: Deadline::default(),
        }
    }

    /// All of a network from its first weights, which `seed` draws: 30 epochs at a rate of 1e-3, the
    /// same for every stage, with label smoothing.
    ///
    /// Errs where the network's shapes do not fit together.
    pub fn scratch(network: Network, seed: u64) -> Result<Self> {
        let state = network.init(seed)?;
        Ok(Self {
            begin: Init::AsGiven,
            epochs: 30,
            learning_rate: 1e-3,
            layer_decay: 1.0,
            l2_sp: 0.0,
            smoothing: 0.1,
            ..Self::usual(network, state)
        })
    }

    /// The network with the head that logistic regression gives its features, with its state.
    fn probed(&self, support: &Batch, seed: u64) -> Result<(Network, State)> {
        let embedding = Embedding::new(self.network.clone(), self.state.clone(), TaskNorm::Stored);
        let rows: Vec<usize> = (0..support.inputs.dim(0)?).collect();
        let features = rows.chunks(self.batch).map(|rows| {
            self.until.check()?;
            Ok(embedding.support(&support.inputs.narrow(0, rows[0], rows.len())?)?.0)
        });
        let features = Tensor::cat(&features.collect::<Result<Vec<_>>>()?, 0)?;
        let probe = LogisticRegression::chosen(embedding).until(self.until);
        probe.adapt(&Batch { inputs: features, ..support.clone() }, seed)?.network()
    }

    /// The rates of the stages, the uppermost's being 1.
    fn rates(&self) -> Rates {
        let stages = self.network.backbone().stages();
        let depth = stages.len();
        let rate = |(place, stage)| (stage, self.layer_decay.powi((depth - 1 - place) as i32));
        Rates::new(stages.into_iter().enumerate().map(rate).collect())
    }
}

impl Adapt for PartialFineTune {
    fn adapt(&self, support: &Batch, seed: u64) -> Result<Box<dyn Classifier>> {
        let ((network, start), norm) = match self.begin {
            Init::LinearProbe => (self.probed(support, seed)?, Norm::Stored),
            Init::AsGiven => ((self.network.clone(), self.state.clone()), Norm::Batch),
        };
        let labels = support.labels.to_vec1::<u32>()?;
        let steps_per_epoch = labels.len().div_ceil(self.batch) as u64;
        let items = |at: Draw| {
            let order = permutation(&mut rng(at.seed, "epoch", at.step / steps_per_epoch), labels.len());
            let first = (at.step % steps_per_epoch) as usize * self.batch;
            let rows: Vec<u32> = order.iter().skip(first).take(self.batch).map(|&row| row as u32).collect();
            let chosen: Vec<u32> = rows.iter().map(|&row| labels[row as usize]).collect();
            let rows = Tensor::from_slice(&rows, rows.len(), &Device::Cpu)?;
            let batch = Batch::new(support.inputs.index_select(&rows, 0)?, &chosen, support.ways)?;
            Ok(Targeted::of(&batch, None, self.smoothing)?)
        };
        let steps = self.epochs * steps_per_epoch;
        let plan = Plan {
            steps,
            learning_rate: self.learning_rate,
            schedule: Schedule::Cosine { warmup: steps / 10 },
            optimizer: Optimizer::AdamW { weight_decay: 1e-2 },
            rates: self.rates(),
            seed,
            ..Plan::default()
        };
        let trained = self.part.of(&network, &start)?;
        let objective = FineTuning::new(network.clone(), &start, trained, self.l2_sp).with_norm(norm);
        let fitted = fit(Progress::new(start), &plan, &objective, items, |_| Ok(0.0), &mut self.until.clone())?;
        Ok(Box::new(Tuned { network, state: fitted.progress.state }))
    }
}

/// Cross-entropy of what is trained, with a pull back to where it started.
#[derive(Debug, Clone)]
pub struct FineTuning {
    network: Network,
    trained: BTreeSet<String>,
    /// Where the backbone's trained parameters started.
    origin: Params,
    l2_sp: f64,
    norm: Norm,
}

impl Part {
    /// The names of what is trained of `network` with `state`.
    ///
    /// Errs when a name is no stage's and no parameter's, listing the stages.
    pub fn of(&self, network: &Network, state: &State) -> Result<BTreeSet<String>> {
        let under = |name: &str, start: &str| {
            name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Self::Named(starts) = self
            && let Some(start) = starts.iter().find(|start| !state.params.iter().any(|(name, _)| under(name, start)))
        {
            let stages = network.backbone().stages().join(", ");
            let head = network.backbone().head_name();
            return Err(LearnError::Invalid(format!("`{start}` names no part of the network: use {stages} or {head}")));
        }
        let holds = |name: &str| match self {
            _ if network.in_head(name) => true,
            Self::All => true,
            Self::Head => false,
            Self::Named(starts) => starts.iter().any(|start| under(name, start)),
            Self::Norms => state.buffers.normalize(name),
            Self::Biases => name.ends_with(".bias"),
        };
        Ok(state.params.iter().map(|(name, _)| name.to_string()).filter(|name| holds(name)).collect())
    }
}

/// The uppermost stage at which the network can be cut with all that is `trained` above it; none
/// where there is no such stage.
pub fn lowest_cut(network: &Network, trained: &BTreeSet<String>) -> Option<String> {
    let backbone = network.backbone();
    let in_stage = |stage: &str, name: &str| name.strip_prefix(stage).is_some_and(|rest| rest.starts_with('.'));
    let mut cut = None;
    for stage in backbone.stages() {
        if backbone.split_points().contains(&stage) {
            cut = Some(stage.clone());
        }
        if trained.iter().any(|name| in_stage(&stage, name)) {
            break;
        }
    }
    cut
}

impl FineTuning {
    /// Of the parameters `trained`, by their names ([`Part::of`]), from `start`; `anchor` is L2-SP's
    /// strength, for the backbone alone. Norms take the stored statistics.
    pub fn new(network: Network, start: &State, trained: BTreeSet<String>, l2_sp: f64) -> Self {
        let origin = start.params.filter(|name| l2_sp > 0.0 && !network.in_head(name) && trained.contains(name));
        Self { network, trained, origin, l2_sp, norm: Norm::Stored }
    }

    /// The same with norms that take these statistics; the running ones follow a batch's.
    pub fn with_norm(self, norm: Norm) -> Self {
        Self { norm, ..self }
    }
}

impl Objective for FineTuning {
    type Item = Targeted;

    fn gradient(&self, state: &State, batch: &Targeted, at: Draw) -> Result<Gradient> {
        let leaves = Leaves::new(&state.params.filter(|name| self.trained.contains(name)))?;
        let params = state.params.merged(&leaves.params());
        let mode = Mode { norm: self.norm, dropout: Some(at.rng("dropout")), packed: None };
        let forward = self.network.forward(&params, &state.buffers, &batch.inputs, mode)?;
        let loss = cross_entropy_to(&forward.output, &batch.targets)?;
        let slopes = leaves.gradient(&loss)?;
        // ∇ ½β‖θ − θ₀‖² = β (θ − θ₀)
        let moved = self.origin.zip(&state.params, |origin, now| now - origin)?;
        let pulled = slopes.filter(|name| self.origin.get(name).is_ok()).plus(self.l2_sp, &moved)?;
        let buffers = match self.norm {
            Norm::Batch => state.buffers.moved(&forward.statistics)?,
            Norm::Stored => Buffers::default(),
        };
        Ok(Gradient {
            loss: loss.to_dtype(DType::F64)?.to_scalar::<f64>()? + 0.5 * self.l2_sp * moved.norm()?.powi(2),
            metrics: BTreeMap::from([("accuracy", accuracy(&forward.output, &batch.targets.argmax(1)?)?)]),
            params: slopes.merged(&pulled),
            buffers,
        })
    }
}

struct Tuned {
    network: Network,
    state: State,
}

impl Classifier for Tuned {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        if inputs.rank() != 4 {
            return Err(LearnError::Invalid("a fine-tuned network classifies images, not features".into()));
        }
        Ok(self.network.logits(&self.state, inputs)?.detach())
    }

    fn network(&self) -> Result<(Network, State)> {
        Ok((self.network.clone(), self.state.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use taper_models::{Architecture, Head, Upper};
    use taper_ops::uniform;

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
            let tune = PartialFineTune { part, epochs: 2, ..PartialFineTune::usual(network.clone(), state.clone()) };
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
    fn parts_are_named_by_stages_or_beginnings_of_names_and_cut_as_high_as_they_allow() {
        let whole = "cifar-resnet20".parse::<Architecture>().unwrap().backbone((3, 8, 8)).unwrap();
        let network = Network::new(whole, Head::Linear { outputs: 2 });
        let state = network.init(0).unwrap();
        let named = |names: &[&str]| Part::Named(names.iter().map(ToString::to_string).collect());
        let cut = |part: &Part| lowest_cut(&network, &part.of(&network, &state).unwrap());
        let trained = named(&["layer3.1", "layer3.2.conv1"]).of(&network, &state).unwrap();
        assert!(trained.contains("layer3.1.conv2.weight") && trained.contains("layer3.2.conv1.weight"));
        assert!(!trained.contains("layer3.2.conv2.weight") && trained.iter().any(|name| network.in_head(name)));
        assert_eq!(cut(&named(&["layer3.1"])), Some("layer3".into()));
        assert_eq!(cut(&named(&["layer3", "layer2.0"])), Some("layer2".into()));
        assert_eq!((cut(&Part::All), cut(&Part::Norms)), (None, None));
        let error = named(&["layer1", "layer"]).of(&network, &state).unwrap_err().to_string();
        assert!(error.starts_with("`layer` names no part") && error.contains("layer2, layer3"), "{error}");
    }

    #[test]
    fn from_scratch_all_is_trained_and_the_norms_learn_their_statistics() {
        let (network, _) = pretrained();
        let scratch = PartialFineTune { epochs: 2, ..PartialFineTune::scratch(network.clone(), 3).unwrap() };
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
            let tune = PartialFineTune {
                l2_sp,
                learning_rate: 5e-3,
                ..PartialFineTune::usual(network.clone(), state.clone())
            };
            let (network, tuned) = tune.adapt(&support(), 1).unwrap().network().unwrap();
            let backbone = |params: &Params| params.filter(|name| !network.in_head(name));
            backbone(&tuned.params).minus(1.0, &backbone(&state.params)).unwrap().norm().unwrap()
        };
        let (free, held) = (far(0.0), far(100.0));
        assert!(held < 0.5 * free, "{held} {free}");
    }
}
