//! Heads learned by gradient descent on frozen features: a linear layer, or one hidden layer (the seed
//! recipe's head). Adam over shuffled mini-batches.

use super::embedding::TaskEmbedding;
use super::on_features::FeatureHead;
use crate::{
    Adapt, Classifier, Context, Draw, LearnError, NoopObserver, Plan, Progress, Result, TaskNorm, TypedMethod, fit,
    method_settings,
    methods::{Kind, MethodInfo, MethodSettings, Registered, Training},
    training::{MiniBatches, Optimizer, Supervised, Targeted, Trainable},
};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use taper_data::Batch;
use taper_models::{Head, Network, Norm, Params, State};

/// A linear layer learned by gradient descent on the features of an ordinary classifier, in a registry.
pub const LINEAR_HEAD: Registered<LinearHead> = Registered::new();

/// [`MlpHead`] in a registry.
pub const MLP_HEAD: Registered<MlpHead> = Registered::new();

method_settings! {
    /// A linear layer learned by gradient descent on frozen features.
    pub struct LinearHead {
        /// Passes over the labeled images.
        pub epochs: u64 = 10;
        /// Adam's learning rate.
        pub lr: f64 = 1e-3;
        /// Images per step.
        pub batch: usize = 32;
    }
}

/// [`LinearHead`] with a hidden layer of 1024 units and dropout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MlpHead(pub LinearHead);

impl MethodSettings for MlpHead {
    const FIELDS: &'static [(&'static str, &'static str)] = LinearHead::FIELDS;
}

/// The seed recipe's hidden units.
const HIDDEN: usize = 1024;

impl TypedMethod for LinearHead {
    const INFO: MethodInfo = MethodInfo {
        name: "linear-head",
        title: "pretrained + linear head",
        kind: Kind::Transfer,
        paper: "Donahue et al. 2014",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn check(&self) -> Result<()> {
        match self.batch {
            0 => Err(LearnError::Invalid("a batch of 0 images trains nothing: use 1 or more".into())),
            _ => Ok(()),
        }
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(GradientHead::new(self, None), &state))
    }
}

impl TypedMethod for MlpHead {
    const INFO: MethodInfo = MethodInfo { name: "mlp-head", title: "pretrained + MLP head", ..LinearHead::INFO };

    fn check(&self) -> Result<()> {
        self.0.check()
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(GradientHead::new(&self.0, Some(HIDDEN)), &state))
    }
}

/// A head trained by gradient descent; the features don't change and are computed once.
#[derive(Debug, Clone)]
pub struct GradientHead {
    /// Hidden units; `None` for a linear layer.
    pub hidden: Option<usize>,
    /// Passes over the labeled images.
    pub epochs: u64,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Images per step.
    pub batch: usize,
}

impl GradientHead {
    fn new(settings: &LinearHead, hidden: Option<usize>) -> Self {
        let &LinearHead { epochs, lr, batch } = settings;
        Self { hidden, epochs, learning_rate: lr, batch }
    }
}

impl FeatureHead for GradientHead {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, seed: u64) -> Result<Box<dyn Classifier>> {
        let head = match self.hidden {
            Some(hidden) => Head::Mlp { hidden, outputs: support.ways },
            None => Head::Linear { outputs: support.ways },
        };
        let network = task.network().with_head(head);
        let labels = support.labels.to_vec1::<u32>()?;
        let batches = MiniBatches::new(labels.len(), self.batch)?;
        let items = |at: Draw| {
            let places = batches.places(at.seed, at.step);
            let chosen: Vec<u32> = places.iter().map(|&row| labels[row]).collect();
            let rows = Tensor::from_iter(places.into_iter().map(|row| row as u32), &Device::Cpu)?;
            Targeted::of(&Batch::new(features.index_select(&rows, 0)?, &chosen, support.ways)?, None, 0.0)
        };
        let plan = Plan {
            steps: self.epochs * batches.steps_per_epoch(),
            learning_rate: self.learning_rate,
            optimizer: Optimizer::adam(),
            seed,
            ..Plan::default()
        };
        let objective = Supervised::new(network.clone(), Trainable::Head, Norm::Stored);
        let start = State { params: network.init_head(seed)?, ..State::default() };
        let fitted = fit(Progress::new(start), &plan, &objective, items, |_| Ok(0.0), &mut NoopObserver)?;
        Ok(Box::new(Fitted { network, head: fitted.progress.state.params, task }))
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
