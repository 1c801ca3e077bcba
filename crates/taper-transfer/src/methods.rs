//! Fine-tuning as methods of a registry: on a task's support set, from three kinds of starting points.

use crate::{FineTune, Init};
use serde::{Deserialize, Serialize};
use taper_learn::{
    Adapt, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, MethodSettings, Registered, Training},
};
use taper_models::State;

/// Fine-tuning of an ordinary classifier, in a registry.
pub const FINE_TUNE: Registered<FineTunePretrained> = Registered::new();

/// [`FromScratch`] in a registry.
pub const SCRATCH: Registered<FromScratch> = Registered::new();

/// [`FineTuneShared`] in a registry.
pub const MULTITASK: Registered<FineTuneShared> = Registered::new();

method_settings! {
    /// Fine-tuning of an ordinary classifier.
    pub struct FineTunePretrained {
        /// Steps over the support set.
        pub steps: u64 = 40;
        /// AdamW's learning rate.
        pub lr: f64 = 3e-3;
    }
}

/// The same from an untrained network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FromScratch(pub FineTunePretrained);

/// The same from one network trained over many tasks: the baseline of meta-learning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FineTuneShared(pub FineTunePretrained);

impl MethodSettings for FromScratch {
    const FIELDS: &'static [(&'static str, &'static str)] = FineTunePretrained::FIELDS;
}

impl MethodSettings for FineTuneShared {
    const FIELDS: &'static [(&'static str, &'static str)] = FineTunePretrained::FIELDS;
}

impl TypedMethod for FineTunePretrained {
    const INFO: MethodInfo = MethodInfo {
        name: "fine-tune",
        title: "pretrained + fine-tune",
        kind: Kind::Transfer,
        paper: "Yosinski et al. 2014",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    /// From the head that logistic regression gives the frozen features, so that training does not start by
    /// following a head that knows nothing (Kumar et al. 2022).
    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(FineTune { init: Init::LinearProbe, ..self.tune(context, state) }))
    }
}

impl FineTunePretrained {
    /// From a fresh head.
    fn tune(&self, context: &Context, state: State) -> FineTune {
        let tune = FineTune::few_shot(context.network.clone(), state, context.norm);
        FineTune { epochs: self.steps, learning_rate: self.lr, ..tune }
    }
}

impl TypedMethod for FromScratch {
    const INFO: MethodInfo = MethodInfo {
        name: "scratch",
        title: "from scratch",
        kind: Kind::Scratch,
        norm: TaskNorm::Support,
        training: Training::Nothing,
        ..FineTunePretrained::INFO
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(self.0.tune(context, state)))
    }
}

impl TypedMethod for FineTuneShared {
    const INFO: MethodInfo = MethodInfo {
        name: "multitask",
        title: "multitask + fine-tune",
        paper: "Caruana 1997",
        training: Training::SharedTasks,
        ..FineTunePretrained::INFO
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(Box::new(self.0.tune(context, state)))
    }
}
