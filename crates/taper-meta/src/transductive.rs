//! Methods that classify all queries of a task together, on the features of an ordinary classifier.

mod laplacian_shot;
mod pt_map;
mod tim;

pub use laplacian_shot::{LAPLACIAN_SHOT, LaplacianShot};
pub use pt_map::{PT_MAP, PtMap};
pub use tim::{TIM_GD, TimGd};

use candle_core::Tensor;
use taper_data::Batch;
use taper_learn::heads::{FeatureHead, TaskEmbedding, unit_length};
use taper_learn::{Classifier, Result};

/// A head that classifies all queries together.
trait TransductiveHead: Send + Sync + Clone + 'static {
    /// Logits `(m, ways)` of all queries `(m, d)`, from a labeled support `(n, d)`.
    fn logits(&self, support: &Tensor, labels: &Tensor, ways: usize, query: &Tensor) -> Result<Tensor>;
}

/// A [`TransductiveHead`] as a [`FeatureHead`].
struct AllQueries<T>(T);

impl<T: TransductiveHead> FeatureHead for AllQueries<T> {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        Ok(Box::new(Together { head: self.0.clone(), features: features.clone(), support: support.clone(), task }))
    }

    fn transductive(&self) -> bool {
        true
    }
}

struct Together<T> {
    head: T,
    features: Tensor,
    support: Batch,
    task: TaskEmbedding,
}

impl<T: TransductiveHead> Classifier for Together<T> {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let query = self.task.query(inputs)?;
        Ok(self.head.logits(&self.features, &self.support.labels, self.support.ways, &query)?.detach())
    }
}

/// Support and queries with the support's mean subtracted, as rows of unit length.
fn centered(support: &Tensor, query: &Tensor) -> Result<(Tensor, Tensor)> {
    let mean = support.mean_keepdim(0)?;
    Ok((unit_length(&support.broadcast_sub(&mean)?)?, unit_length(&query.broadcast_sub(&mean)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use taper_ops::{normal, rng};

    /// Two clouds: the support lies at the edge of each, the queries in their middles, in the order
    /// of `labels`.
    fn clouds(labels: &[u32]) -> (Tensor, Tensor) {
        let noise = |stream, n: usize| normal(&mut rng(0, stream, 0), (n, 8), 0.3).unwrap();
        let centers = |labels: &[u32], reach: f32| {
            let rows: Vec<f32> = labels
                .iter()
                .flat_map(|&label| {
                    (0..8).map(move |k| {
                        if k == label as usize {
                            1.0
                        } else if k == 5 {
                            reach
                        } else {
                            0.2
                        }
                    })
                })
                .collect();
            Tensor::from_vec(rows, (labels.len(), 8), &candle_core::Device::Cpu).unwrap()
        };
        let support = centers(&[0, 1], 0.5);
        let query = (centers(labels, 0.0) + noise("query", labels.len())).unwrap();
        (support, query.abs().unwrap())
    }

    fn accuracy(head: &impl TransductiveHead) -> f64 {
        let labels: Vec<u32> = (0..30).map(|i| i % 2).collect();
        let (support, query) = clouds(&labels);
        let support_labels = Tensor::new(&[0u32, 1], &candle_core::Device::Cpu).unwrap();
        let logits = head.logits(&support, &support_labels, 2, &query).unwrap();
        assert_eq!(logits.dtype(), DType::F32);
        taper_learn::evaluation::accuracy(&logits, &Tensor::new(labels, &candle_core::Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn each_finds_two_clouds_from_one_example_each() {
        assert!(accuracy(&TimGd::default()) > 0.9);
        assert!(accuracy(&LaplacianShot::default()) > 0.9);
        assert!(accuracy(&PtMap::default()) > 0.9);
    }
}
