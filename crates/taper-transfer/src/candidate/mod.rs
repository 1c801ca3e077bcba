//! Candidates: ways to make a classifier from a pretrained network, cross-validated inside the training
//! images.

mod builder;
mod estimates;
mod heads;
mod score;
mod spec;
mod version;

pub(crate) use builder::CandidateBuilder;
pub use heads::HEADS;
pub(crate) use heads::head_learner;
pub(crate) use score::CandidateScore;
pub use spec::{Approach, CandidateSpec, CropPolicy, InputVariant, Scale, Views};

use crate::{Activations, FineTune, Problem, Result};
use candle_core::DType;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Inputs, View};
use taper_learn::heads::stratified_folds;
use taper_learn::{
    Adapt, LearnError, Method,
    evaluation::{Labeled, fitted_temperature, held_out_logits, hits_of},
    training::Deadline,
};
use taper_models::{Network, State, Upper};
use taper_ops::threads;

/// Makes a candidate's learner, which stops at a deadline.
type MakeLearner = Box<dyn Fn(Deadline) -> Result<Box<dyn Adapt>>>;

/// A way to make a classifier, with its inputs.
pub(crate) struct Candidate {
    make_learner: MakeLearner,
    /// The images as the classifier sees them, then altered copies that it also learns from.
    pub(crate) inputs: Vec<Arc<dyn Inputs>>,
}

/// How candidates are scored on folds of the training images.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Folding {
    pub(crate) folds: usize,
    /// Each repetition has different folds, the same for every candidate.
    pub(crate) repetitions: u64,
    pub(crate) seed: u64,
}

/// The time that a race has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RaceTimes {
    /// When to give up a fold, as what follows would not fit any more.
    pub(crate) until: Deadline,
    /// When the classifier must have been made.
    pub(crate) end: Deadline,
    /// The seconds that a classifier takes after its training, for what it keeps.
    pub(crate) keeping: f64,
}

impl Candidate {
    /// A head on features.
    pub(crate) fn head(
        name: &str,
        heads: &[&'static dyn Method],
        problem: &Problem,
        inputs: &[Arc<dyn Inputs>],
    ) -> Self {
        let (name, heads, problem) = (name.to_string(), heads.to_vec(), problem.clone());
        let make_learner = Box::new(move |until| head_learner(&name, &heads, &problem, until));
        Self { make_learner, inputs: inputs.to_vec() }
    }

    /// Fine-tuning from `stage` on. Activations below it are computed once for `images`, in each of
    /// `views`.
    pub(crate) fn fine_tune(stage: &str, problem: &Problem, views: &[&View], images: &[usize]) -> Result<Self> {
        let below = |view: &&View| -> Result<Arc<dyn Inputs>> {
            let stages = [stage.to_string()];
            let (network, state) = (problem.network(), problem.state());
            let mut made = Activations::compute(view, images, network, state, &stages, |_, _| Ok(()))?;
            Ok(Arc::new(made.swap_remove(0)))
        };
        let inputs = views.iter().map(below).collect::<Result<_>>()?;
        let tune = default_fine_tuning(stage, problem)?;
        // the same number of steps for any number of copies
        let tune = FineTune { epochs: tune.epochs.div_ceil(views.len() as u64), ..tune };
        Ok(Self::tuned(tune, inputs))
    }

    /// Fine-tuning of the whole network, on images.
    pub(crate) fn fine_tune_all(problem: &Problem) -> Self {
        let tune = FineTune::pretrained(problem.network().clone(), problem.state().clone());
        Self::tuned(tune, vec![problem.view().clone()])
    }

    /// Training of the whole network from fresh weights, on images.
    pub(crate) fn from_scratch(problem: &Problem) -> Result<Self> {
        let tune = FineTune::scratch(problem.network().clone(), problem.seed())?;
        Ok(Self::tuned(tune, vec![problem.view().clone()]))
    }

    fn tuned(tune: FineTune, inputs: Vec<Arc<dyn Inputs>>) -> Self {
        Self { make_learner: Box::new(move |until| Ok(Box::new(FineTune { until, ..tune.clone() }))), inputs }
    }

    /// Its learner, which stops at a deadline.
    pub(crate) fn learner(&self, until: Deadline) -> Result<Box<dyn Adapt>> {
        (self.make_learner)(until)
    }

    /// The images as the classifier sees them.
    pub(crate) fn plain(&self) -> &dyn Inputs {
        self.inputs[0].as_ref()
    }

    /// Its score on the folds of `training` that are completed by the deadline. Fails if fewer than two
    /// are.
    pub(crate) fn score(
        &self,
        name: &str,
        training: &Labeled,
        folding: Folding,
        until: Deadline,
    ) -> Result<CandidateScore> {
        const FEWEST: usize = 2;
        let start = Instant::now();
        let Folding { folds, repetitions, seed } = folding;
        let learner = self.learner(until)?;
        let at_once = threads().max(FEWEST);
        let mut hits: Vec<Vec<bool>> = Vec::new();
        'folding: for repetition in 0..repetitions {
            let fold_of = stratified_folds(&training.labels, folds, seed.wrapping_add(repetition))?;
            for first in (0..folds).step_by(at_once) {
                let some = first..(first + at_once).min(folds);
                let scored = until
                    .check()
                    .and_then(|()| held_out_logits(learner.as_ref(), &self.inputs, training, &fold_of, some, seed));
                match scored {
                    Ok(more) => {
                        let found = more.iter().map(|(logits, labels)| hits_of(logits, labels));
                        hits.extend(found.collect::<taper_learn::Result<Vec<_>>>()?);
                    }
                    Err(LearnError::OutOfTime) if hits.len() >= FEWEST => break 'folding,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(CandidateScore::new(name, hits, folds, start))
    }

    /// The score of a candidate that takes long: fold by fold with all threads, on further folds only while it is better
    /// than `rival` on the first ones (successive halving, Jamieson and Talwalkar 2016), and while there is time for one more
    /// and for making a classifier. Also returns about how many seconds the latter takes. Fails if the first fold is not
    /// completed in time.
    pub(crate) fn race(
        &self,
        name: &str,
        training: &Labeled,
        folding: Folding,
        rival: &CandidateScore,
        times: RaceTimes,
    ) -> Result<(CandidateScore, f64)> {
        let RaceTimes { until, end, keeping } = times;
        let start = Instant::now();
        let Folding { folds, seed, .. } = folding;
        let learner = self.learner(until)?;
        let fold_of = stratified_folds(&training.labels, folds, seed)?;
        let mut score = CandidateScore::new(name, Vec::new(), folds, start);
        let mut rows = Vec::new();
        for fold in 0..folds {
            if fold > 0 && !end.leaves(score.seconds_for_one_more() + keeping) {
                break;
            }
            let scored = until.check().and_then(|()| {
                held_out_logits(learner.as_ref(), &self.inputs, training, &fold_of, fold..fold + 1, seed)
            });
            match scored {
                Ok(made) => {
                    for (logits, labels) in made {
                        let hits = score.hits.into_iter().chain([hits_of(&logits, &labels)?]).collect();
                        score = CandidateScore::new(name, hits, folds, start);
                        rows.extend(logits.to_dtype(DType::F64)?.to_vec2::<f64>()?.into_iter().zip(labels));
                    }
                }
                Err(LearnError::OutOfTime) if fold > 0 => break,
                Err(error) => return Err(error.into()),
            }
            if !score.beats(rival) {
                break;
            }
        }
        let closing = score.seconds_to_fine_tune() + keeping;
        let seconds = start.elapsed().as_secs_f64();
        Ok((CandidateScore { temperature: Some(fitted_temperature(&rows)), seconds, ..score }, closing))
    }

    /// The classifier trained on all training images, as a network for images.
    pub(crate) fn train(&self, problem: &Problem) -> Result<(Network, State)> {
        let support = problem.training().batch_through_each(&self.inputs)?;
        let (network, state) = self.learner(Deadline::default())?.adapt(&support, problem.seed())?.network()?;
        Ok((problem.network().with_head(network.head()), problem.merged(&state)))
    }
}

/// Fine-tuning from `stage` on: about 4,000 images in all, but 6 to 24 passes, at a rate of 2e-3 that is multiplied by
/// 0.8 per stage.
pub(crate) fn default_fine_tuning(stage: &str, problem: &Problem) -> Result<FineTune> {
    const IMAGES: usize = 4000;
    let (network, state) = upper_part(problem.network(), problem.state(), stage)?;
    let epochs = (IMAGES / problem.training().images.len()).clamp(6, 24) as u64;
    Ok(FineTune { epochs, learning_rate: 2e-3, layer_decay: 0.8, ..FineTune::pretrained(network, state) })
}

/// The part of a network from `stage` on, with its head, and the part's state.
///
/// # Errors
/// Returns an error if the network can't be cut there.
pub fn upper_part(network: &Network, state: &State, stage: &str) -> Result<(Network, State)> {
    let upper = Upper::new(network.backbone().clone(), stage)?;
    let State { params, buffers } = state;
    let state = State {
        params: params.filter(|name| upper.holds(name) || network.in_head(name)),
        buffers: buffers.filter(|name| upper.holds(name)),
    };
    Ok((Network::new(Arc::new(upper), network.head()), state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;

    #[test]
    fn a_race_ends_when_one_more_fold_and_training_on_all_images_would_take_too_long() {
        let problem = Toy::new(&[6, 6, 6]).problem(0);
        let candidate = Candidate::fine_tune_all(&problem);
        let folding = Folding { folds: 3, repetitions: 1, seed: 0 };
        let nothing_right = vec![vec![false; 6]; 3];
        let rival = CandidateScore::new("rival", nothing_right, 3, Instant::now());
        let folds = |end| {
            let times = RaceTimes { until: Deadline::default(), end, keeping: 0.0 };
            candidate.race("tuned", problem.training(), folding, &rival, times).unwrap().0.folds.len()
        };
        assert_eq!((folds(Deadline::at(Instant::now())), folds(Deadline::default())), (1, 3));
    }
}
