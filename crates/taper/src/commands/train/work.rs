//! What is trained in which epochs, and what of it can be computed once because it stays as it is.

use super::candidates::upper;
use super::features::features;
use super::setting::Setting;
use crate::args::Train;
use crate::output::Output;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use taper_data::Inputs;
use taper_models::{Network, Norm, State};
use taper_transfer::{Activations, Features, FineTuning, Gradual, Mixing, UnfreezePhase, lowest_cut};

/// Activations at several cuts are kept while they fit into this.
const KEPT_BYTES: usize = 2 << 30;

/// What is trained from an epoch on, and on what.
pub(super) struct Work {
    epoch: u64,
    trained: BTreeSet<String>,
    /// The whole network, or its part above what the inputs are.
    pub(super) network: Network,
    pub(super) inputs: Arc<dyn Inputs>,
}

/// All that is trained, one after the other.
pub(super) struct Works {
    first: Work,
    later: Vec<Work>,
}

impl Works {
    /// As the options say. Where images are the same in every epoch, each goes once through what lies
    /// below what is trained.
    pub(super) fn new(options: &Train, setting: &Setting, output: &Output) -> Result<Self> {
        let Setting { view, network, state, .. } = setting;
        let unfreeze_schedule = options.unfreeze_schedule(network, state)?;
        let fixed = !view.transform().is_random() && options.mixing() == Mixing::Off && !options.as_published;
        let kept = if fixed { Kept::new(&unfreeze_schedule, setting)? } else { Kept(Vec::new()) };
        let work = |UnfreezePhase { epoch, trained }: UnfreezePhase| -> Result<Work> {
            let (network, inputs) = if fixed && alone(network, &trained) {
                (network.clone(), kept.features(options, setting, output)?)
            } else if let Some((cut, activations)) = kept.below(network, &trained) {
                (upper(cut, setting)?.0, activations.clone() as Arc<dyn Inputs>)
            } else {
                (network.clone(), view.clone() as Arc<dyn Inputs>)
            };
            Ok(Work { epoch, trained, network, inputs })
        };
        let mut works = unfreeze_schedule.into_iter().map(work);
        let first = works.next().context("no epoch trains nothing, use --epochs 1 or more")??;
        Ok(Self { first, later: works.collect::<Result<_>>()? })
    }

    /// That of an epoch, counted from 0.
    pub(super) fn at(&self, epoch: u64) -> &Work {
        self.later.iter().rfind(|work| work.epoch <= epoch).unwrap_or(&self.first)
    }

    /// That of the last epoch, whose network has all that is trained.
    pub(super) fn last(&self) -> &Work {
        self.later.last().unwrap_or(&self.first)
    }

    /// Of the setting's state, what the last network has.
    pub(super) fn start(&self, setting: &Setting) -> State {
        let param_specs: BTreeSet<String> =
            self.last().network.param_specs().into_iter().map(|slot| slot.name).collect();
        let State { params, buffers } = &setting.state;
        State {
            params: params.filter(|name| param_specs.contains(name)),
            buffers: buffers.filter(|name| param_specs.contains(name)),
        }
    }

    /// The steps that later ones begin with.
    pub(super) fn restarts(&self, steps_per_epoch: u64) -> Vec<u64> {
        self.later.iter().map(|work| work.epoch * steps_per_epoch).collect()
    }

    /// Cross-entropy of what is trained, one after the other.
    pub(super) fn objective(&self, start: &State, norm: Norm, steps_per_epoch: u64) -> Gradual {
        let one = |work: &Work| FineTuning::new(work.network.clone(), start, work.trained.clone(), 0.0).with_norm(norm);
        let later = self.restarts(steps_per_epoch).into_iter().zip(self.later.iter().map(one)).collect();
        Gradual::new(one(&self.first), later)
    }
}

/// Is the head all that is trained?
fn alone(network: &Network, trained: &BTreeSet<String>) -> bool {
    trained.iter().all(|name| network.in_head(name))
}

/// Activations of all images at cuts, the highest first.
struct Kept(Vec<(String, Arc<Activations>)>);

impl Kept {
    /// At the cuts below what is trained, from one pass over the images: the highest where several
    /// don't fit.
    fn new(unfreeze_schedule: &[UnfreezePhase], setting: &Setting) -> Result<Self> {
        let Setting { view, network, state, .. } = setting;
        let images: Vec<usize> = (0..view.dataset().labels().len()).collect();
        let mut cuts: Vec<String> = Vec::new();
        let mut left = KEPT_BYTES;
        for UnfreezePhase { trained, .. } in
            unfreeze_schedule.iter().filter(|opening| !alone(network, &opening.trained))
        {
            let Some(cut) = lowest_cut(network, trained) else { break };
            if unfreeze_schedule.len() > 1 {
                let bytes = images.len() * Activations::bytes_per_image(view, network, state, &cut)?;
                if bytes > left {
                    break;
                }
                left -= bytes;
            }
            cuts.insert(0, cut);
        }
        let made = Activations::compute(view, &images, network, state, &cuts)?;
        Ok(Self(cuts.into_iter().zip(made.into_iter().map(Arc::new)).rev().collect()))
    }

    /// The cut below what is trained, if its activations are kept.
    fn below(&self, network: &Network, trained: &BTreeSet<String>) -> Option<&(String, Arc<Activations>)> {
        let cut = lowest_cut(network, trained)?;
        self.0.iter().find(|(kept, _)| *kept == cut)
    }

    /// Features: of the highest activations, or of the images.
    fn features(&self, options: &Train, setting: &Setting, output: &Output) -> Result<Arc<dyn Inputs>> {
        let images: Vec<usize> = (0..setting.view.dataset().labels().len()).collect();
        let Some((cut, activations)) = self.0.first() else {
            return Ok(Arc::new(features(options.cache.as_deref(), setting, &setting.view, &images, output)?));
        };
        let (network, state) = upper(cut, setting)?;
        Ok(Arc::new(Features::of_activations(activations, &images, &network, &state)?))
    }
}
