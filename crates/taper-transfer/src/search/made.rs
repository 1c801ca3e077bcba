//! Making a classifier of a candidate.

use crate::calibration::cooled;
use crate::candidate::{Candidate, CandidateBuilder};
use crate::labeled_support::LabeledSupport;
use crate::{Approach, CandidateSpec, Problem, Result};
use std::time::Instant;
use taper_learn::{Model, provenance::Provenance, support::Support, training::Deadline};
use taper_models::{Network, State};

/// A classifier trained on all training images.
pub(super) struct Made {
    pub(super) problem: Problem,
    pub(super) network: Network,
    pub(super) state: State,
    kept: Support,
    /// The time that it took.
    pub(super) seconds: f64,
}

impl Made {
    /// `temperature` is that of the candidate's logits if it is known.
    pub(super) fn new(
        builder: &CandidateBuilder,
        spec: &CandidateSpec,
        candidate: &Candidate,
        temperature: Option<f64>,
    ) -> Result<Self> {
        let start = Instant::now();
        let problem = builder.problem_of(spec)?;
        let (network, state) = candidate.train(&problem)?;
        let (kept, state) = match &spec.approach {
            Approach::Head(name) | Approach::Staged(name) => {
                let learner = candidate.learner(Deadline::default())?;
                LabeledSupport {
                    dataset: problem.dataset().as_ref(),
                    labeled: problem.training(),
                    seed: problem.seed(),
                }
                .of_head(Some(name.as_str()), learner.as_ref(), &candidate.inputs, &network, state)?
            }
            Approach::FineTune(_) => {
                let state = cooled(&network, state, temperature.unwrap_or(1.0))?;
                (fine_tuned_support(&problem, &network, &state)?, state)
            }
        };
        Ok(Self { problem, network, state, kept, seconds: start.elapsed().as_secs_f64() })
    }

    /// The classifier, as it is saved; `chosen` says whether it was chosen on folds of the training images.
    pub(super) fn model(&self, chosen: bool) -> Result<Model> {
        let Self { problem, network, state, kept, .. } = self;
        let (network, state, kept) = (network.clone(), state.clone(), kept.clone());
        let chosen_on = if chosen { vec![problem.learned_from()?] } else { Vec::new() };
        problem.model(network, state, Provenance { chosen_on, ..Provenance::default() }, Some(kept))
    }
}

/// What a fine-tuned network keeps: its features of the training images, and its scores on the validation images, which
/// it has not learned from and nothing was chosen by.
pub(crate) fn fine_tuned_support(problem: &Problem, network: &Network, state: &State) -> Result<Support> {
    LabeledSupport { dataset: problem.dataset().as_ref(), labeled: problem.training(), seed: problem.seed() }
        .of_fine_tuned(problem.view().as_ref(), network, state, problem.validation())
}
