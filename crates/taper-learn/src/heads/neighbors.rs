//! k nearest neighbors (Cover and Hart 1967) on features of unit length; k is chosen by
//! leave-one-out inside the labeled images.

use super::embedding::{Embedding, TaskEmbedding};
use crate::{Adapt, Classifier, Kind, Method, Result, TaskNorm, Training};
use candle_core::{Device, Tensor};
use taper_data::Batch;

/// k nearest neighbors on the features of an ordinary classifier.
pub const NEIGHBORS: Method = Method {
    name: "neighbours",
    title: "pretrained + k neighbours",
    kind: Kind::Transfer,
    paper: "Cover and Hart 1967",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: &[],
    training: Training::Pretraining,
    learner: |setup, state| Ok(Box::new(Neighbors::new(Embedding::of(setup, state)))),
};

/// Numbers of neighbors to choose from.
const CHOICES: [usize; 6] = [1, 3, 5, 9, 15, 25];

/// Votes of the nearest labeled images.
#[derive(Debug, Clone)]
pub struct Neighbors {
    embedding: Embedding,
}

impl Neighbors {
    /// On the features of `embedding`.
    pub fn new(embedding: Embedding) -> Self {
        Self { embedding }
    }
}

impl Adapt for Neighbors {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let unit = unit(&features)?;
        let labels = support.labels.to_vec1::<u32>()?;
        let mut similarities = unit.matmul(&unit.t()?)?.to_vec2::<f32>()?;
        similarities.iter_mut().enumerate().for_each(|(row, values)| values[row] = f32::NEG_INFINITY);
        let right = |k: usize| {
            let hit = |(row, values): (usize, &Vec<f32>)| best(&votes(values, &labels, support.ways, k)) == labels[row];
            similarities.iter().enumerate().filter(|&row| hit(row)).count()
        };
        let offered = CHOICES.into_iter().filter(|&k| k == 1 || k < labels.len());
        // of equal ones the fewest
        let k = offered.rev().max_by_key(|&k| right(k)).unwrap_or(1);
        Ok(Box::new(Voters { unit, labels, ways: support.ways, k, task }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
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
        let similarities = unit(&self.task.query(inputs)?)?.matmul(&self.unit.t()?)?.to_vec2::<f32>()?;
        let rows: Vec<f32> =
            similarities.iter().flat_map(|values| votes(values, &self.labels, self.ways, self.k)).collect();
        Ok(Tensor::from_vec(rows, (similarities.len(), self.ways), &Device::Cpu)?)
    }
}

/// Each class's votes among the `k` most similar, each counting a little more the nearer it is, so
/// that of equal numbers the nearer wins.
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
    (0..votes.len()).rev().max_by(|&a, &b| votes[a].total_cmp(&votes[b])).unwrap_or(0) as u32
}

/// `features (n, d)`, each of unit length.
fn unit(features: &Tensor) -> Result<Tensor> {
    let lengths = features.sqr()?.sum_keepdim(1)?.sqrt()?.maximum(1e-12)?;
    Ok(features.broadcast_div(&lengths)?)
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
