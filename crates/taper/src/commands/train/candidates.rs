//! Ways to make a classifier from a pretrained network, cross-validated inside the training images.

use super::setting::Setting;
use crate::registry::method;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Inputs, View};
use taper_learn::heads::{Embedding, LogisticRegression, stratified_folds};
use taper_learn::{
    Adapt, Deadline, Interval, Labeled, LearnError, Right, Setup, TaskNorm, cross_validate, repeated_folds_interval,
    wilson_interval,
};
use taper_models::{Network, State, Upper};
use taper_ops::threads;
use taper_transfer::{Activations, PartialFineTune};

/// A way to make a classifier, with what it takes in.
pub(crate) struct Candidate {
    pub(crate) adapt: Box<dyn Adapt>,
    /// The images as the classifier sees them, then altered copies that it learns from too.
    pub(crate) inputs: Vec<Arc<dyn Inputs>>,
}

/// A candidate's score.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Score {
    pub(crate) name: String,
    /// What it gets right of each fold left out, one repetition after the other.
    pub(crate) folds: Vec<Right>,
    /// Folds a repetition.
    pub(crate) ways_of_folding: usize,
    pub(crate) seconds: f64,
}

impl Score {
    /// Its accuracy over the folds that it was scored on.
    pub(crate) fn interval(&self) -> Interval {
        /// With fewer folds their spread says little: Wilson's interval over the images.
        const SPREAD_FROM: usize = 4;
        if self.folds.len() < SPREAD_FROM {
            let total = |part: fn(&Right) -> usize| self.folds.iter().map(part).sum();
            return wilson_interval(total(|fold| fold.right), total(|fold| fold.of));
        }
        let shares: Vec<f64> = self.folds.iter().map(|fold| fold.share()).collect();
        repeated_folds_interval(&shares, self.ways_of_folding)
    }

    /// Is it better than another, on the folds that both were scored on?
    pub(crate) fn beats(&self, other: &Self) -> bool {
        let shared = self.folds.len().min(other.folds.len());
        let right = |score: &Self| score.folds[..shared].iter().map(|fold| fold.right).sum::<usize>();
        right(self) > right(other)
    }
}

/// How candidates are scored on folds of the training images.
#[derive(Clone, Copy)]
pub(crate) struct Folding {
    pub(crate) folds: usize,
    /// Each repetition folds anew, the same for every candidate.
    pub(crate) repetitions: u64,
    pub(crate) seed: u64,
}

/// A head of the registry on features that are computed already. `linear-probe` chooses its
/// penalty.
pub(crate) fn head(name: &str, setting: &Setting, inputs: &[Arc<dyn Inputs>]) -> Result<Candidate> {
    let method = method(name)?;
    let told = if name == "linear-probe" { BTreeMap::from([("c".to_string(), 0.0)]) } else { BTreeMap::new() };
    let setup =
        Setup { network: setting.network.clone(), norm: TaskNorm::Stored, settings: method.settings(&told)?, steps: 0 };
    let adapt = (method.learner)(&setup, setting.state.clone())?;
    Ok(Candidate { adapt, inputs: inputs.to_vec() })
}

/// Logistic regression with a penalty chosen once, on folds of `training`.
pub(crate) fn probe(
    setting: &Setting,
    inputs: &[Arc<dyn Inputs>],
    training: &Labeled,
    until: Deadline,
    seed: u64,
) -> Result<Candidate> {
    let embedding = Embedding::new(setting.network.clone(), setting.state.clone(), TaskNorm::Stored);
    let choosing = LogisticRegression::chosen(embedding.clone()).until(until);
    let c = choosing.choose(&training.batch(inputs[0].as_ref())?, seed)?;
    Ok(Candidate { adapt: Box::new(LogisticRegression::new(embedding, c).until(until)), inputs: inputs.to_vec() })
}

/// Fine-tuning from `stage` on; what is below is computed once for `images`, seen through each of
/// `views`.
pub(crate) fn fine_tune(
    stage: &str,
    setting: &Setting,
    views: &[&View],
    images: &[usize],
) -> Result<(Candidate, PartialFineTune)> {
    let (network, state) = upper(stage, setting)?;
    let below = |view: &&View| -> Result<Arc<dyn Inputs>> {
        let stages = [stage.to_string()];
        let mut made = Activations::compute(view, images, &setting.network, &setting.state, &stages)?;
        Ok(Arc::new(made.swap_remove(0)))
    };
    let inputs = views.iter().map(below).collect::<Result<_>>()?;
    let usual = PartialFineTune::usual(network, state);
    // as many steps, whatever the copies
    let tune = PartialFineTune { epochs: usual.epochs.div_ceil(views.len() as u64), ..usual };
    Ok((Candidate { adapt: Box::new(tune.clone()), inputs }, tune))
}

/// Fine-tuning of the whole network, on images.
pub(crate) fn fine_tune_all(setting: &Setting) -> Candidate {
    on_images(PartialFineTune::usual(setting.network.clone(), setting.state.clone()), setting)
}

/// Training of the whole network from fresh weights, on images.
pub(crate) fn from_scratch(setting: &Setting, seed: u64) -> Result<Candidate> {
    Ok(on_images(PartialFineTune::scratch(setting.network.clone(), seed)?, setting))
}

fn on_images(tune: PartialFineTune, setting: &Setting) -> Candidate {
    Candidate { adapt: Box::new(tune), inputs: vec![setting.view.clone()] }
}

/// The setting's network from `stage` on, with its head.
pub(super) fn upper(stage: &str, setting: &Setting) -> Result<(Network, State)> {
    let upper = Upper::new(setting.network.backbone().clone(), stage)?;
    let State { params, buffers } = &setting.state;
    let in_head = |name: &str| setting.network.in_head(name);
    let state = State {
        params: params.filter(|name| upper.holds(name) || in_head(name)),
        buffers: buffers.filter(|name| upper.holds(name)),
    };
    Ok((Network::new(Arc::new(upper), setting.network.head()), state))
}

impl Candidate {
    /// The images as the classifier sees them.
    pub(crate) fn plain(&self) -> &dyn Inputs {
        self.inputs[0].as_ref()
    }

    /// Its score on folds of `training`, as many as are done by the deadline.
    ///
    /// Errs when not even two are.
    pub(crate) fn score(&self, name: &str, training: &Labeled, folding: Folding, until: Deadline) -> Result<Score> {
        const FEWEST: usize = 2;
        let start = Instant::now();
        let Folding { folds, repetitions, seed } = folding;
        let at_once = threads().max(FEWEST);
        let mut scores: Vec<Right> = Vec::new();
        'folding: for repetition in 0..repetitions {
            let fold_of = stratified_folds(&training.labels, folds, seed.wrapping_add(repetition))?;
            for first in (0..folds).step_by(at_once) {
                let some = first..(first + at_once).min(folds);
                let scored = until
                    .check()
                    .and_then(|()| cross_validate(self.adapt.as_ref(), &self.inputs, training, &fold_of, some, seed));
                match scored {
                    Ok(more) => scores.extend(more),
                    Err(LearnError::OutOfTime) if scores.len() >= FEWEST => break 'folding,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(Score { name: name.to_string(), folds: scores, ways_of_folding: folds, seconds })
    }

    /// The classifier of all of `training`, as a network for images.
    pub(crate) fn train(&self, training: &Labeled, setting: &Setting, seed: u64) -> Result<(Network, State)> {
        let classifier = self.adapt.adapt(&training.batch_through_each(&self.inputs)?, seed)?;
        let (network, state) = classifier.network()?;
        let head = network.head();
        Ok((setting.network.with_head(head), setting.onto(&state)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(right: &[usize]) -> Score {
        let folds = right.iter().map(|&right| Right { right, of: 20 }).collect();
        Score { name: String::new(), folds, ways_of_folding: 5, seconds: 0.0 }
    }

    #[test]
    fn ways_are_compared_on_the_folds_that_both_were_scored_on() {
        let (whole, early) = (score(&[15, 15, 5, 5, 5]), score(&[16, 15]));
        assert!(early.beats(&whole) && !whole.beats(&early));
        assert!(!score(&[14, 16]).beats(&whole), "of equal ones neither is better");
    }

    #[test]
    fn few_folds_have_the_interval_of_their_images() {
        let interval = score(&[15, 17]).interval();
        assert_eq!((interval.mean, interval.low), (0.8, wilson_interval(32, 40).low));
    }
}
