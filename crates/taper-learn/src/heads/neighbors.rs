//! k nearest neighbors (Cover and Hart 1967) on features of unit length; k is chosen by
//! leave-one-out inside the labeled images.

use super::embedding::TaskEmbedding;
use super::on_features::FeatureHead;
use super::unit_length::unit_length;
use crate::{
    Adapt, Classifier, Context, Result, TaskNorm, TypedMethod,
    evaluation::likeliest,
    method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::{Device, Tensor};
use taper_data::Batch;
use taper_models::State;

/// k nearest neighbors on the features of an ordinary classifier, in a registry.
pub const NEIGHBORS: Registered<Neighbors> = Registered::new();

method_settings! {
    /// Votes of the nearest labeled images.
    pub struct Neighbors {}
}

impl TypedMethod for Neighbors {
    const INFO: MethodInfo = MethodInfo {
        name: "neighbours",
        title: "pretrained + k neighbors",
        kind: Kind::Transfer,
        paper: "Cover and Hart 1967",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(self.clone(), &state))
    }
}

/// Numbers of neighbors to choose from.
const CHOICES: [usize; 6] = [1, 3, 5, 9, 15, 25];

impl FeatureHead for Neighbors {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let unit = unit_length(features)?;
        let labels = support.labels.to_vec1::<u32>()?;
        let mut similarities = taper_ops::matmul_nt(&unit, &unit)?.to_vec2::<f32>()?;
        similarities.iter_mut().enumerate().for_each(|(row, values)| values[row] = f32::NEG_INFINITY);
        let correct = |k: usize| {
            let hit = |(row, values): (usize, &Vec<f32>)| best(&votes(values, &labels, support.ways, k)) == labels[row];
            similarities.iter().enumerate().filter(|&row| hit(row)).count()
        };
        let offered = CHOICES.into_iter().filter(|&k| k == 1 || k < labels.len());
        // of equal ones the smallest
        let k = offered.rev().max_by_key(|&k| correct(k)).unwrap_or(1);
        Ok(Box::new(Voters { unit, labels, ways: support.ways, k, task }))
    }
}

struct Voters {
    /// `(n, d)`, rows of unit length.
    unit: Tensor,
    labels: Vec<u32>,
    ways: usize,
    k: usize,
    task: TaskEmbedding,
}

impl Classifier for Voters {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let similarities =
            taper_ops::matmul_nt(&unit_length(&self.task.query(inputs)?)?, &self.unit)?.to_vec2::<f32>()?;
        let rows: Vec<f32> =
            similarities.iter().flat_map(|values| votes(values, &self.labels, self.ways, self.k)).collect();
        Ok(Tensor::from_vec(rows, (similarities.len(), self.ways), &Device::Cpu)?)
    }
}

/// Each class's votes among the `k` most similar, with slightly larger votes for nearer ones, so
/// that the nearer class wins a tie.
fn votes(similarities: &[f32], labels: &[u32], ways: usize, k: usize) -> Vec<f32> {
    const TIE: f32 = 1e-3;
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let nearer = |a: &usize, b: &usize| similarities[*b].total_cmp(&similarities[*a]).then(a.cmp(b));
    if k < order.len() {
        order.select_nth_unstable_by(k, nearer);
    }
    let mut votes = vec![0.0; ways];
    order.iter().take(k).for_each(|&row| votes[labels[row] as usize] += 1.0 + TIE * similarities[row].max(-1.0));
    votes
}

fn best(votes: &[f32]) -> u32 {
    likeliest(votes).unwrap_or(0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_wins_and_of_equals_the_nearer() {
        let similarities = [0.9, 0.8, 0.7, 0.1];
        let labels = [0, 1, 1, 0];
        assert_eq!(best(&votes(&similarities, &labels, 3, 1)), 0);
        assert_eq!(best(&votes(&similarities, &labels, 3, 2)), 0);
        assert_eq!(best(&votes(&similarities, &labels, 3, 3)), 1);
        assert_eq!(votes(&similarities, &labels, 3, 4)[2], 0.0);
    }
}
