//! What is trained in which epochs, and what can be computed once because it is frozen.

use super::TrainingOptions;
use crate::candidate::upper_part;
use crate::lowest_cut;
use crate::{Activations, Features, Gradual, Mixing, Problem, Result, TransferError, UnfreezePhase};
use std::collections::BTreeSet;
use std::sync::Arc;
use taper_data::Inputs;
use taper_learn::{
    Observer,
    training::{Supervised, Trainable},
};
use taper_models::{Network, Norm, State};

/// Activations at split points are kept if they fit in this many bytes; otherwise images go through the frozen part in every epoch.
const KEPT_BYTES: usize = 2 << 30;

/// What is trained from an epoch on, and its inputs.
pub(super) struct Phase {
    epoch: u64,
    trained: BTreeSet<String>,
    /// The whole network, or its part above the inputs.
    pub(super) network: Network,
    pub(super) inputs: Arc<dyn Inputs>,
}

/// The phases of a training, in order.
pub(super) struct Phases {
    first: Phase,
    later: Vec<Phase>,
}

impl Phases {
    /// The phases of the options. If images are the same in every epoch, each goes once through
    /// the frozen part of the network.
    pub(super) fn new(options: &TrainingOptions, problem: &Problem, observer: &mut dyn Observer) -> Result<Self> {
        let (view, network) = (problem.view(), problem.network());
        let schedule = options.unfreeze_schedule(problem)?;
        let is_fixed = !view.transform().is_random() && options.mixing() == Mixing::Off && !options.as_published;
        let kept =
            if is_fixed { KeptActivations::new(&schedule, problem, observer)? } else { KeptActivations(Vec::new()) };
        let phase = |UnfreezePhase { epoch, trained }: UnfreezePhase| -> Result<Phase> {
            let (network, inputs) = if is_fixed && is_head_only(network, &trained) {
                (network.clone(), kept.features(problem, observer)?)
            } else if let Some((cut, activations)) = kept.below(network, &trained) {
                (upper_part(problem.network(), problem.state(), cut)?.0, activations.clone() as Arc<dyn Inputs>)
            } else {
                (network.clone(), view.clone() as Arc<dyn Inputs>)
            };
            Ok(Phase { epoch, trained, network, inputs })
        };
        let mut phases = schedule.into_iter().map(phase);
        let Some(first) = phases.next() else {
            return Err(TransferError::Invalid("0 epochs train nothing: use at least 1".into()));
        };
        Ok(Self { first: first?, later: phases.collect::<Result<_>>()? })
    }

    /// The phase of an epoch, counted from 0.
    pub(super) fn at(&self, epoch: u64) -> &Phase {
        self.later.iter().rfind(|phase| phase.epoch <= epoch).unwrap_or(&self.first)
    }

    /// The last phase, whose network has everything that is trained.
    pub(super) fn last(&self) -> &Phase {
        self.later.last().unwrap_or(&self.first)
    }

    /// The part of the problem's state that the last phase's network has.
    pub(super) fn start(&self, problem: &Problem) -> State {
        let names: BTreeSet<String> = self.last().network.param_specs().into_iter().map(|spec| spec.name).collect();
        let State { params, buffers } = problem.state();
        State {
            params: params.filter(|name| names.contains(name)),
            buffers: buffers.filter(|name| names.contains(name)),
        }
    }

    /// The steps that later phases begin with.
    pub(super) fn restarts(&self, steps_per_epoch: u64) -> Vec<u64> {
        self.later.iter().map(|phase| phase.epoch * steps_per_epoch).collect()
    }

    /// Cross-entropy of the trained part, phase by phase.
    pub(super) fn objective(&self, norm: Norm, steps_per_epoch: u64) -> Gradual {
        let one = |phase: &Phase| Supervised::new(phase.network.clone(), Trainable::Named(phase.trained.clone()), norm);
        let later = self.restarts(steps_per_epoch).into_iter().zip(self.later.iter().map(one)).collect();
        Gradual::new(one(&self.first), later)
    }
}

/// Whether only the head is trained.
fn is_head_only(network: &Network, trained: &BTreeSet<String>) -> bool {
    trained.iter().all(|name| network.in_head(name))
}

/// Activations of all images at split points, the highest first.
struct KeptActivations(Vec<(String, Arc<Activations>)>);

impl KeptActivations {
    /// Activations below what is trained, from one pass over the images: at the highest split points if not
    /// all of them fit in memory.
    fn new(schedule: &[UnfreezePhase], problem: &Problem, observer: &mut dyn Observer) -> Result<Self> {
        let (view, network, state) = (problem.view(), problem.network(), problem.state());
        let images = all_images(problem);
        let mut cuts: Vec<String> = Vec::new();
        let mut left = KEPT_BYTES;
        for UnfreezePhase { trained, .. } in schedule.iter().filter(|phase| !is_head_only(network, &phase.trained)) {
            let Some(cut) = lowest_cut(network, trained) else { break };
            let bytes = images.len() * Activations::bytes_per_image(view, network, state, &cut)?;
            if bytes > left {
                observer.note(format!(
                    "activations below {cut} would take {:.1} GiB, so they are computed again in every epoch",
                    bytes as f64 / f64::from(1 << 30)
                ))?;
                break;
            }
            left -= bytes;
            cuts.insert(0, cut);
        }
        let made = Activations::compute(view, &images, network, state, &cuts, |_, _| Ok(()))?;
        Ok(Self(cuts.into_iter().zip(made.into_iter().map(Arc::new)).rev().collect()))
    }

    /// The split point below what is trained, if its activations are kept.
    fn below(&self, network: &Network, trained: &BTreeSet<String>) -> Option<&(String, Arc<Activations>)> {
        let cut = lowest_cut(network, trained)?;
        self.0.iter().find(|(kept, _)| *kept == cut)
    }

    /// Features, from the highest activations or from the images.
    fn features(&self, problem: &Problem, observer: &mut dyn Observer) -> Result<Arc<dyn Inputs>> {
        let images = all_images(problem);
        let Some((cut, activations)) = self.0.first() else {
            return Ok(Arc::new(problem.features(&images, observer)?));
        };
        let (network, state) = upper_part(problem.network(), problem.state(), cut)?;
        Ok(Arc::new(Features::of_activations(activations, &images, &network, &state)?))
    }
}

fn all_images(problem: &Problem) -> Vec<usize> {
    (0..problem.dataset().labels().len()).collect()
}
