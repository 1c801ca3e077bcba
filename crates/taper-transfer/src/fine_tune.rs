//! Fine-tuning: a pretrained network with a fresh head, trained on the new task.

use candle_core::Tensor;
use taper_data::Batch;
use taper_learn::{
    Adapt, Classifier, Kind, LearnError, Method, NoopObserver, Optimizer, Plan, Progress, Result, Schedule, Setting,
    Setup, Supervised, TaskNorm, Training, fit,
};
use taper_models::{Buffers, Head, Network, Norm, State};

const SETTINGS: &[Setting] = &[
    Setting { name: "steps", default: 40.0, about: "steps over the support set" },
    Setting { name: "lr", default: 3e-3, about: "AdamW's learning rate" },
];

/// Fine-tuning of an ordinary classifier.
pub const FINE_TUNE: Method = Method {
    name: "fine-tune",
    title: "pretrained + fine-tune",
    kind: Kind::Transfer,
    paper: "Yosinski et al. 2014",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: SETTINGS,
    training: Training::Pretraining,
    learner,
};

/// The same from an untrained network.
pub const SCRATCH: Method = Method {
    name: "scratch",
    title: "from scratch",
    kind: Kind::Scratch,
    norm: TaskNorm::Support,
    training: Training::Nothing,
    ..FINE_TUNE
};

/// The same from one network trained over many tasks: the baseline of learning to learn.
pub const MULTITASK: Method = Method {
    name: "multitask",
    title: "multitask + fine-tune",
    paper: "Caruana 1997",
    training: Training::SharedTasks,
    ..FINE_TUNE
};

fn learner(setup: &Setup, state: State) -> Result<Box<dyn Adapt>> {
    Ok(Box::new(FineTune {
        network: setup.network.clone(),
        state,
        head_only: false,
        steps: setup.settings.count("steps")? as u64,
        learning_rate: setup.settings.get("lr")?,
        norm: setup.norm,
    }))
}

/// Fine-tunes on the whole support set at every step. With fresh weights instead of pretrained
/// ones, this is training from scratch.
#[derive(Debug, Clone)]
pub struct FineTune {
    /// The pretrained network; its head is replaced.
    pub network: Network,
    /// The pretrained state.
    pub state: State,
    /// Is the head all that is trained?
    pub head_only: bool,
    /// Steps over the support set.
    pub steps: u64,
    /// AdamW's learning rate.
    pub learning_rate: f64,
    /// Whose statistics normalize: stored ones for a pretrained network.
    pub norm: TaskNorm,
}

impl Adapt for FineTune {
    fn adapt(&self, support: &Batch, seed: u64) -> Result<Box<dyn Classifier>> {
        let network = self.network.with_head(Head::Linear { outputs: support.ways });
        let start = network.replace_head(&self.state, seed)?;
        let norm = if self.norm == TaskNorm::Stored { Norm::Stored } else { Norm::Batch };
        let objective = Supervised { network: network.clone(), head_only: self.head_only, norm, smoothing: 0.0 };
        let plan = Plan {
            steps: self.steps,
            learning_rate: self.learning_rate,
            optimizer: Optimizer::AdamW { weight_decay: 1e-2 },
            schedule: Schedule::Cosine { warmup: 0 },
            seed,
            ..Plan::default()
        };
        let unscored = |_: &State| Ok(0.0);
        let fitted =
            fit(Progress::new(start), &plan, &objective, |_| Ok(support.clone()), unscored, &mut NoopObserver)?;
        let state = fitted.progress.state;
        let (_, statistics) = self.norm.support(&network, &state.params, &state.buffers, &support.inputs, None)?;
        Ok(Box::new(FineTuned { network, state, statistics: statistics.detached(), norm: self.norm }))
    }

    fn transductive(&self) -> bool {
        self.norm.transductive()
    }
}

/// A fine-tuned network.
#[derive(Debug, Clone)]
pub struct FineTuned {
    network: Network,
    state: State,
    statistics: Buffers,
    norm: TaskNorm,
}

impl Classifier for FineTuned {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let forward = self.norm.query(&self.network, &self.state.params, &self.statistics, inputs, None)?;
        Ok(forward.output.detach())
    }

    fn network(&self) -> Result<(Network, State)> {
        if self.norm.transductive() {
            return Err(LearnError::Invalid(
                "a transductive learner can't be kept as a classifier of single images: use --norm support".into(),
            ));
        }
        Ok((self.network.clone(), State { params: self.state.params.clone(), buffers: self.statistics.clone() }))
    }
}
