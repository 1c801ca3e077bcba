//! Temperature scaling (Guo et al. 2017, section 4.2): the chosen head's logits are divided by one number, so that its
//! probabilities are as often right as they say. The number is fitted on folds of the training images; no decision
//! changes.

use crate::Result;
use std::sync::Arc;
use taper_data::Inputs;
use taper_learn::heads::stratified_folds;
use taper_learn::{
    Adapt,
    evaluation::{Labeled, held_out_logits},
};
use taper_models::{Head, Network, State};

/// The temperature of a learner's logits on images that it did not learn from, by `folds` folds of the labeled
/// images. It learns from the images through each of `inputs`, and classifies through the first.
///
/// # Errors
/// Returns an error if there are too few images for the folds, or learning fails.
pub fn temperature(
    learner: &dyn Adapt,
    inputs: &[Arc<dyn Inputs>],
    labeled: &Labeled,
    folds: usize,
    seed: u64,
) -> Result<f64> {
    let fold_of = stratified_folds(&labeled.labels, folds, seed)?;
    let made = held_out_logits(learner, inputs, labeled, &fold_of, 0..folds, seed)?;
    let mut rows = Vec::with_capacity(labeled.images.len());
    for (logits, labels) in made {
        let logits = logits.to_dtype(candle_core::DType::F64).and_then(|logits| logits.to_vec2::<f64>());
        rows.extend(logits.map_err(taper_learn::LearnError::from)?.into_iter().zip(labels));
    }
    Ok(fitted(&rows))
}

/// The temperature with the least cross-entropy on logits with labels. The target of the label is (n + 1) / (n + 2)
/// (Platt 1999), or logits that are always right would have no limit.
fn fitted(rows: &[(Vec<f64>, u32)]) -> f64 {
    /// The search goes from 1e-6 to 1e6, in the logarithm.
    const RANGE: f64 = 13.8;
    const STEPS: usize = 80;
    let rest = 1.0 / (rows.len() as f64 + 2.0);
    let loss = |temperature: f64| -> f64 {
        let of = |(logits, label): &(Vec<f64>, u32)| {
            let scaled: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
            let most = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum = most + scaled.iter().map(|logit| (logit - most).exp()).sum::<f64>().ln();
            let others = (scaled.len().max(2) - 1) as f64;
            let target = |at: usize| if at == *label as usize { 1.0 - rest } else { rest / others };
            scaled.iter().enumerate().map(|(at, logit)| target(at) * (sum - logit)).sum::<f64>()
        };
        rows.iter().map(of).sum()
    };
    // the loss is convex in 1 / temperature, so it has one minimum in the logarithm too: golden section finds it
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-RANGE, RANGE);
    for _ in 0..STEPS {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if loss(left.exp()) <= loss(right.exp()) { high = right } else { low = left }
    }
    (0.5 * (low + high)).exp()
}

/// The state with the logits of the network's head divided by a temperature.
///
/// # Errors
/// Returns an error if a parameter can't be scaled.
pub fn cooled(network: &Network, state: State, temperature: f64) -> Result<State> {
    let layer = match network.head() {
        Head::Linear { .. } => network.backbone().head_name().to_string(),
        Head::Mlp { .. } => format!("{}.3", network.backbone().head_name()),
        Head::Identity | Head::Matching { .. } => return Ok(state),
    };
    let own = |name: &str| name.strip_prefix(&layer).is_some_and(|rest| rest == ".weight" || rest == ".bias");
    let scaled = state.params.filter(own).map(|tensor| tensor * (1.0 / temperature))?;
    Ok(State { params: state.params.merged(&scaled), buffers: state.buffers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rand::Rng as _;

    #[test]
    fn the_temperature_of_logits_scaled_by_it_is_found_again() {
        let rng = &mut taper_ops::rng(0, "calibration", 0);
        // labels are drawn from the probabilities of the logits, so the right temperature is 1
        let rows: Vec<(Vec<f64>, u32)> = (0..20_000)
            .map(|_| {
                let logits: Vec<f64> = (0..3).map(|_| rng.random_range(-2.0..2.0)).collect();
                let sum: f64 = logits.iter().map(|logit: &f64| logit.exp()).sum();
                let mut left = rng.random::<f64>() * sum;
                let label = logits.iter().position(|logit| {
                    left -= logit.exp();
                    left <= 0.0
                });
                (logits, label.unwrap_or(2) as u32)
            })
            .collect();
        for scale in [0.01, 1.0, 30.0] {
            let scaled: Vec<_> =
                rows.iter().map(|(row, label)| (row.iter().map(|v| v * scale).collect(), *label)).collect();
            let found = fitted(&scaled) / scale;
            assert!((found - 1.0).abs() < 0.05, "{scale}: {found}");
        }
        let always_right = fitted(&vec![(vec![1.0, 0.0], 0); 10]);
        // 11 / 12 = 1 / (1 + exp(-1 / T))
        assert!((always_right - 1.0 / 11f64.ln()).abs() < 1e-6, "{always_right}");
    }

    #[test]
    fn cooled_logits_are_divided_and_nothing_else_changes() {
        let backbone = "adapter-2".parse::<taper_models::Architecture>().unwrap().backbone((3, 1, 1)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 2 });
        let state = network.init(1).unwrap();
        let inputs = Tensor::new(&[[[[1f32]], [[2.0]], [[-1.0]]]], &Device::Cpu).unwrap();
        let logits = |state: &State| network.logits(state, &inputs).unwrap().to_vec2::<f32>().unwrap().concat();
        let (before, after) = (logits(&state), logits(&cooled(&network, state.clone(), 4.0).unwrap()));
        assert!(before.iter().zip(&after).all(|(before, after)| (before / 4.0 - after).abs() < 1e-6), "{after:?}");
    }
}
