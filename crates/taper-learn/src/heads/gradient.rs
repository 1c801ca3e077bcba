//! Heads learned by gradient on frozen features: a linear layer, or one hidden layer (the seed
//! recipe's head). Adam over shuffled mini-batches.

use super::embedding::{Embedding, TaskEmbedding};
use crate::{
    Adapt, Classifier, Draw, Kind, Method, NoopObserver, Optimizer, Plan, Progress, Result, Setting, Setup, Supervised,
    TaskNorm, Training, fit,
};
use candle_core::{Device, Tensor};
use taper_data::Batch;
use taper_models::{Head, Network, Norm, Params, State};
use taper_ops::{permutation, rng};

const SETTINGS: &[Setting] = &[
    Setting { name: "epochs", default: 10.0, about: "passes over the labeled images" },
    Setting { name: "lr", default: 1e-3, about: "Adam's learning rate" },
    Setting { name: "batch", default: 32.0, about: "images a step" },
];

/// A linear layer by gradient on the features of an ordinary classifier.
pub const LINEAR_HEAD: Method = Method {
    name: "linear-head",
    title: "pretrained + linear head",
    kind: Kind::Transfer,
    paper: "Donahue et al. 2014",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: SETTINGS,
    training: Training::Pretraining,
    learner: |setup, state| Ok(Box::new(GradientHead::of(setup, state, None)?)),
};

/// The same with a hidden layer of 1024 units and dropout.
pub const MLP_HEAD: Method = Method {
    name: "mlp-head",
    title: "pretrained + MLP head",
    learner: |setup, state| Ok(Box::new(GradientHead::of(setup, state, Some(HIDDEN))?)),
    ..LINEAR_HEAD
};

/// The seed recipe's hidden units.
const HIDDEN: usize = 1024;

/// A head trained by gradient; the features stay as they are and are computed once.
#[derive(Debug, Clone)]
pub struct GradientHead {
    /// The frozen features.
    pub embedding: Embedding,
    /// Hidden units; none for a linear layer.
    pub hidden: Option<usize>,
    /// Passes over the labeled images.
    pub epochs: u64,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Images a step.
    pub batch: usize,
}

impl GradientHead {
    fn of(setup: &Setup, state: State, hidden: Option<usize>) -> Result<Self> {
        Ok(Self {
            embedding: Embedding::of(setup, state),
            hidden,
            epochs: setup.settings.count("epochs")? as u64,
            learning_rate: setup.settings.get("lr")?,
            batch: setup.settings.count("batch")?.max(1),
        })
    }
}

impl Adapt for GradientHead {
    fn adapt(&self, support: &Batch, seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let head = match self.hidden {
            Some(hidden) => Head::Mlp { hidden, outputs: support.ways },
            None => Head::Linear { outputs: support.ways },
        };
        let network = self.embedding.network().with_head(head);
        let labels = support.labels.to_vec1::<u32>()?;
        let steps_per_epoch = labels.len().div_ceil(self.batch) as u64;
        let items = |at: Draw| {
            let order = permutation(&mut rng(at.seed, "epoch", at.step / steps_per_epoch), labels.len());
            let first = (at.step % steps_per_epoch) as usize * self.batch;
            let rows: Vec<u32> = order.iter().skip(first).take(self.batch).map(|&row| row as u32).collect();
            let chosen: Vec<u32> = rows.iter().map(|&row| labels[row as usize]).collect();
            let rows = Tensor::from_slice(&rows, rows.len(), &Device::Cpu)?;
            Ok(Batch::new(features.index_select(&rows, 0)?, &chosen, support.ways)?)
        };
        let plan = Plan {
            steps: self.epochs * steps_per_epoch,
            learning_rate: self.learning_rate,
            optimizer: Optimizer::adam(),
            seed,
            ..Plan::default()
        };
        let objective = Supervised { network: network.clone(), head_only: true, norm: Norm::Stored, smoothing: 0.0 };
        let start = State { params: network.init_head(seed)?, ..State::default() };
        let fitted = fit(Progress::new(start), &plan, &objective, items, |_| Ok(0.0), &mut NoopObserver)?;
        Ok(Box::new(Fitted { network, head: fitted.progress.state.params, task }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

struct Fitted {
    network: Network,
    head: Params,
    task: TaskEmbedding,
}

impl Classifier for Fitted {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let state = State { params: self.head.clone(), ..State::default() };
        Ok(self.network.logits(&state, &self.task.query(inputs)?)?.detach())
    }

    fn network(&self) -> Result<(Network, State)> {
        self.task.with_head(self.network.head(), &self.head)
    }
}
