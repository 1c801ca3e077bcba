//! The mini-batches of a training.

use super::phases::Phases;
use super::{Balance, TrainingOptions};
use crate::{Mixing, Problem, Result, balanced_order};
use candle_core::{Device, Tensor};
use taper_data::{Batch, Inputs};
use taper_learn::{
    Draw,
    evaluation::Labeled,
    training::{MiniBatches, Targeted},
};
use taper_ops::rng;

/// The mini-batches of a training: the images of each epoch in a random order, the last batch smaller.
pub(super) struct Batches<'a> {
    problem: &'a Problem,
    training: &'a Labeled,
    phases: &'a Phases,
    batches: MiniBatches,
    balance: Balance,
    class_weights: Option<Tensor>,
    smoothing: f64,
    mixing: Mixing,
}

impl<'a> Batches<'a> {
    /// Batches of `training` with these options.
    pub(super) fn new(
        options: &TrainingOptions,
        problem: &'a Problem,
        training: &'a Labeled,
        phases: &'a Phases,
    ) -> Result<Self> {
        let weights = || class_weights(&training.labels, training.ways);
        Ok(Self {
            problem,
            training,
            phases,
            batches: mini_batches(options, training)?,
            balance: options.balance,
            class_weights: (options.balance == Balance::Loss).then(weights).transpose()?,
            smoothing: options.smoothing,
            mixing: options.mixing(),
        })
    }

    /// The batch of a draw.
    pub(super) fn batch(&self, at: Draw) -> taper_learn::Result<Targeted> {
        let (training, epoch) = (self.training, self.batches.epoch(at.number));
        let places = match self.balance {
            Balance::Sampling => {
                let order = balanced_order(&training.labels, &mut rng(at.seed, "epoch", epoch));
                self.batches.places_of(&order, at.number)
            }
            Balance::Off | Balance::Loss => self.batches.places(at.seed, at.number),
        };
        let chosen: Vec<usize> = places.into_iter().map(|place| training.images[place]).collect();
        let batch = labeled_batch(self.problem, self.phases.at(epoch).inputs.as_ref(), &chosen, Some(at))?;
        let batch = Targeted::of(&batch, self.class_weights.as_ref(), self.smoothing)?;
        Ok(self.mixing.mixed(batch, &mut at.rng("mixing"))?)
    }
}

/// How the training images are split into mini-batches.
fn mini_batches(options: &TrainingOptions, training: &Labeled) -> Result<MiniBatches> {
    Ok(MiniBatches::new(training.images.len(), options.batch_size)?.accumulated(options.accumulate)?)
}

/// Optimizer steps per epoch.
pub(super) fn steps_per_epoch(options: &TrainingOptions, training: &Labeled) -> Result<u64> {
    Ok(mini_batches(options, training)?.steps_per_epoch())
}

/// Images with their labels; transformed randomly if `at` is a draw.
pub(super) fn labeled_batch(
    problem: &Problem,
    inputs: &dyn Inputs,
    images: &[usize],
    at: Option<Draw>,
) -> taper_learn::Result<Batch> {
    let dataset = problem.dataset();
    let labels: Vec<u32> = images.iter().map(|&image| dataset.labels()[image]).collect();
    let mut rng = at.map(|at| at.rng("transform"));
    Ok(Batch::new(inputs.inputs(images, rng.as_mut())?, &labels, dataset.classes().len())?)
}

/// One weight per class that makes classes count the same, `(ways)`, 1 on average over the images.
fn class_weights(labels: &[u32], ways: usize) -> Result<Tensor> {
    let mut counts = vec![0; ways];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let weight = |&count: &usize| labels.len() as f32 / (ways * count.max(1)) as f32;
    Ok(Tensor::from_iter(counts.iter().map(weight), &Device::Cpu)?)
}
