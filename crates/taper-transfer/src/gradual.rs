//! Gradual unfreezing (Howard and Ruder 2018, section 3.3): the head is trained first; then the
//! network is unfrozen part by part, from the top, until the whole part is trained.

use crate::Part;
use std::collections::BTreeSet;
use taper_learn::{
    Draw, Result,
    training::{Gradient, Objective, Supervised, Targeted},
};
use taper_models::{Network, State};

/// The parameters trained from an epoch on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfreezePhase {
    /// The first epoch, counted from 0.
    pub epoch: u64,
    /// The names of the parameters.
    pub trained: BTreeSet<String>,
}

impl Part {
    /// The phases of `network` with `state` until all of the part is trained: the head, and with every
    /// epoch the stages between two split points, or a stage if the network can't be split. With fewer `epochs`
    /// than that, several at once, so that all are trained in the last epoch.
    ///
    /// # Errors
    /// As [`Part::of`].
    pub fn unfreeze_schedule(&self, network: &Network, state: &State, epochs: u64) -> Result<Vec<UnfreezePhase>> {
        let trained = self.of(network, state)?;
        let (head, mut rest): (BTreeSet<_>, BTreeSet<_>) = trained.into_iter().partition(|name| network.in_head(name));
        let mut parts = vec![head];
        for stages in stages_by_cut(network).iter().rev() {
            let in_stages = |name: &String| {
                stages.iter().any(|stage| name.strip_prefix(stage.as_str()).is_some_and(|rest| rest.starts_with('.')))
            };
            let (part, others) = rest.into_iter().partition(in_stages);
            rest = others;
            parts.push(part);
        }
        parts.retain(|part| !part.is_empty());
        let count = parts.len() as u64;
        let mut unfreeze_schedule: Vec<UnfreezePhase> = Vec::new();
        for epoch in 0..epochs {
            let open = (epoch + 1).max(((epoch + 1) * count).div_ceil(epochs)).min(count);
            let trained: BTreeSet<String> = parts.iter().take(open as usize).flatten().cloned().collect();
            if unfreeze_schedule.last().is_none_or(|last| last.trained != trained) {
                unfreeze_schedule.push(UnfreezePhase { epoch, trained });
            }
        }
        Ok(unfreeze_schedule)
    }
}

/// The network's stages, from the bottom, grouped between split points.
fn stages_by_cut(network: &Network) -> Vec<Vec<String>> {
    let cuts = network.backbone().split_points();
    let mut parts: Vec<Vec<String>> = Vec::new();
    for stage in network.backbone().stages() {
        match parts.last_mut() {
            Some(part) if !cuts.is_empty() && !cuts.contains(&stage) => part.push(stage),
            _ => parts.push(vec![stage]),
        }
    }
    parts
}

/// A sequence of objectives, each from a step on.
#[derive(Debug, Clone)]
pub struct Gradual {
    first: Supervised,
    later: Vec<(u64, Supervised)>,
}

impl Gradual {
    /// `first`, and `later` ones with the step that each begins with, in order.
    pub fn new(first: Supervised, later: Vec<(u64, Supervised)>) -> Self {
        Self { first, later }
    }
}

impl Objective for Gradual {
    type Item = Targeted;

    fn gradient(&self, state: &State, batch: &Targeted, at: Draw) -> Result<Gradient> {
        let begun = self.later.iter().rfind(|(step, _)| *step <= at.step);
        begun.map_or(&self.first, |(_, later)| later).gradient(state, batch, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_learn::training::Trainable;
    use taper_models::{Architecture, Head, Norm};

    fn network(name: &str) -> (Network, State) {
        let backbone = name.parse::<Architecture>().unwrap().backbone((3, 32, 32)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 2 });
        let state = network.init(0).unwrap();
        (network, state)
    }

    /// First epochs, and the lowest stage that is trained from then on.
    fn lowest(name: &str, part: &Part, epochs: u64) -> Vec<(u64, String)> {
        let (network, state) = network(name);
        let stages: Vec<String> = network.backbone().stages();
        let unfreeze_schedule = part.unfreeze_schedule(&network, &state, epochs).unwrap();
        assert!(unfreeze_schedule.windows(2).all(|pair| pair[0].trained.is_subset(&pair[1].trained)));
        assert_eq!(unfreeze_schedule.last().unwrap().trained, part.of(&network, &state).unwrap());
        let stage = |opening: &UnfreezePhase| {
            let open = |stage: &&String| opening.trained.iter().any(|name| name.starts_with(&format!("{stage}.")));
            stages.iter().find(open).cloned().unwrap_or("head".into())
        };
        unfreeze_schedule.iter().map(|opening| (opening.epoch, stage(opening))).collect()
    }

    #[test]
    fn parts_are_opened_from_the_top_one_an_epoch_and_all_in_the_last() {
        let told = |found: Vec<(u64, String)>| {
            found.into_iter().map(|(epoch, stage)| format!("{epoch} {stage}")).collect::<Vec<_>>()
        };
        let resnet = |part: &Part, epochs| told(lowest("cifar-resnet20", part, epochs));
        assert_eq!(resnet(&Part::All, 10), ["0 head", "1 layer3", "2 layer2", "3 layer1", "4 conv1"]);
        assert_eq!(resnet(&Part::All, 3), ["0 layer3", "1 layer1", "2 conv1"]);
        assert_eq!(resnet(&Part::All, 1), ["0 conv1"]);
        assert_eq!(
            resnet(&Part::Named(vec!["layer2".into(), "layer3.2".into()]), 4),
            ["0 head", "1 layer3", "2 layer2"]
        );
        assert_eq!(resnet(&Part::Head, 4), ["0 head"]);
        let lite = told(lowest("efficientnet-lite0", &Part::Norms, 12));
        assert_eq!((lite.len(), lite[1].as_str(), lite[8].as_str()), (9, "1 blocks.6", "8 bn1"));
        let conv4 = told(lowest("conv4-4", &Part::All, 9));
        assert!(conv4.len() > 4 && conv4[0] == "0 head", "{conv4:?}");
    }

    #[test]
    fn each_objective_holds_from_its_step_on() {
        let (network, state) = network("cifar-resnet20");
        let unfreeze_schedule = Part::All.unfreeze_schedule(&network, &state, 9).unwrap();
        let objective = |place: usize| {
            let trained = unfreeze_schedule[place].trained.clone();
            Supervised::new(network.clone(), Trainable::Named(trained), Norm::Stored)
        };
        let gradual = Gradual::new(objective(0), vec![(2, objective(1)), (3, objective(3))]);
        let images = candle_core::Tensor::zeros((1, 3, 32, 32), candle_core::DType::F32, &candle_core::Device::Cpu);
        let batch = taper_data::Batch::new(images.unwrap(), &[1], 2).unwrap();
        let batch = Targeted::of(&batch, None, 0.0).unwrap();
        for (step, opening) in [(0, 0), (1, 0), (2, 1), (3, 3), (9, 3)] {
            let gradient = gradual.gradient(&state, &batch, Draw { seed: 0, step, number: step }).unwrap();
            let named: BTreeSet<String> = gradient.params.iter().map(|(name, _)| name.to_string()).collect();
            assert_eq!(named, unfreeze_schedule[opening].trained, "step {step}");
        }
    }
}
