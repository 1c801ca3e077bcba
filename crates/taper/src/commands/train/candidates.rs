//! Ways to make a classifier from a pretrained network, cross-validated inside the training images.

use super::setting::Setting;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use taper_data::Inputs;
use taper_learn::heads::stratified_folds;
use taper_learn::{Adapt, Interval, Labelled, Setup, TaskNorm, cross_validate, repeated_folds_interval};
use taper_models::{Head, Network, State, Upper};
use taper_transfer::{Activations, PartialFineTune};

use crate::registry::method;

/// A way to make a classifier, with what it takes in.
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) adapt: Box<dyn Adapt>,
    pub(crate) inputs: Arc<dyn Inputs>,
}

/// A candidate's score.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Score {
    pub(crate) name: String,
    /// Accuracy on each fold left out, one repetition after the other.
    pub(crate) folds: Vec<f64>,
    /// Folds a repetition.
    pub(crate) ways_of_folding: usize,
    pub(crate) seconds: f64,
}

impl Score {
    pub(crate) fn interval(&self) -> Interval {
        repeated_folds_interval(&self.folds, self.ways_of_folding)
    }
}

/// A head of the registry on features that are computed already. `linear-probe` chooses its
/// penalty.
pub(crate) fn head(name: &str, setting: &Setting, inputs: &Arc<dyn Inputs>) -> Result<Candidate> {
    let method = method(name)?;
    let told = if name == "linear-probe" { BTreeMap::from([("c".to_string(), 0.0)]) } else { BTreeMap::new() };
    let setup =
        Setup { network: setting.network.clone(), norm: TaskNorm::Stored, settings: method.settings(&told)?, steps: 0 };
    let adapt = (method.learner)(&setup, setting.state.clone())?;
    Ok(Candidate { name: name.to_string(), adapt, inputs: inputs.clone() })
}

/// Fine-tuning from `stage` on; what is below is computed once for `images`.
pub(crate) fn fine_tune(stage: &str, setting: &Setting, images: &[usize]) -> Result<(Candidate, PartialFineTune)> {
    let upper = Upper::new(setting.network.backbone().clone(), stage)?;
    let State { params, buffers } = &setting.state;
    let in_head = |name: &str| setting.network.in_head(name);
    let state = State {
        params: params.filter(|name| upper.holds(name) || in_head(name)),
        buffers: buffers.filter(|name| upper.holds(name)),
    };
    let network = Network::new(Arc::new(upper), Head::Linear { outputs: setting.parts.training.ways });
    let activations = Activations::compute(&setting.view, images, &setting.network, &setting.state, stage)?;
    let tune = PartialFineTune::usual(network, state);
    let candidate = Candidate {
        name: format!("fine-tune from {stage}"),
        adapt: Box::new(tune.clone()),
        inputs: Arc::new(activations),
    };
    Ok((candidate, tune))
}

impl Candidate {
    /// Its accuracy on folds of `training`, each repetition folded anew; how repetitions fold is the
    /// same for every candidate.
    pub(crate) fn score(&self, training: &Labelled, folds: usize, repetitions: u64, seed: u64) -> Result<Score> {
        let start = Instant::now();
        let mut scores = Vec::new();
        for repetition in 0..repetitions {
            let fold_of = stratified_folds(&training.labels, folds, seed.wrapping_add(repetition))?;
            let predicted = cross_validate(self.adapt.as_ref(), self.inputs.as_ref(), training, &fold_of, seed)?;
            for fold in 0..folds {
                let places: Vec<usize> = (0..fold_of.len()).filter(|&place| fold_of[place] == fold).collect();
                let right = places.iter().filter(|&&place| predicted[place] == training.labels[place]).count();
                scores.push(right as f64 / places.len() as f64);
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(Score { name: self.name.clone(), folds: scores, ways_of_folding: folds, seconds })
    }

    /// The classifier of all of `training`, as a network for images.
    pub(crate) fn train(&self, training: &Labelled, setting: &Setting, seed: u64) -> Result<(Network, State)> {
        let classifier = self.adapt.adapt(&training.batch(self.inputs.as_ref())?, seed)?;
        let (network, state) = classifier.network()?;
        let head = network.head();
        // an upper part comes back onto the frozen one
        let whole = State {
            params: setting.state.params.filter(|name| !setting.network.in_head(name)).merged(&state.params),
            buffers: setting.state.buffers.merged(&state.buffers),
        };
        Ok((setting.network.with_head(head), whole))
    }
}
