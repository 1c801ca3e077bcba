//! Methods that classify all queries together: chosen by name only, and labeled so in every table.
//! All work on the features of an ordinary classifier.

mod laplacian_shot;
mod pt_map;
mod tim;

pub use laplacian_shot::LAPLACIAN_SHOT;
pub use pt_map::PT_MAP;
pub use tim::TIM_GD;

use candle_core::Tensor;
use taper_data::Batch;
use taper_learn::heads::{Embedding, TaskEmbedding};
use taper_learn::{Adapt, Classifier, Result};

/// Logits `(m, ways)` of all queries `(m, d)` together, from a labeled support `(n, d)`.
trait TransductiveClassifier: Send + Sync + Clone + 'static {
    fn logits(&self, support: &Tensor, labels: &Tensor, ways: usize, query: &Tensor) -> Result<Tensor>;
}

/// A way to classify queries together, on features.
struct OnFeatures<T> {
    embedding: Embedding,
    way: T,
}

impl<T: TransductiveClassifier> Adapt for OnFeatures<T> {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        Ok(Box::new(Joined { way: self.way.clone(), features, support: support.clone(), task }))
    }

    fn transductive(&self) -> bool {
        true
    }
}

struct Joined<T> {
    way: T,
    features: Tensor,
    support: Batch,
    task: TaskEmbedding,
}

impl<T: TransductiveClassifier> Classifier for Joined<T> {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let query = self.task.query(inputs)?;
        Ok(self.way.logits(&self.features, &self.support.labels, self.support.ways, &query)?.detach())
    }
}

/// Support and queries with the support's mean taken out, rows of length one: how all three begin.
fn centerd(support: &Tensor, query: &Tensor) -> Result<(Tensor, Tensor)> {
    let mean = support.mean_keepdim(0)?;
    Ok((crate::embedded::unit(&support.broadcast_sub(&mean)?)?, crate::embedded::unit(&query.broadcast_sub(&mean)?)?))
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

    fn right(way: &impl TransductiveClassifier) -> f64 {
        let labels: Vec<u32> = (0..30).map(|i| i % 2).collect();
        let (support, query) = clouds(&labels);
        let support_labels = Tensor::new(&[0u32, 1], &candle_core::Device::Cpu).unwrap();
        let logits = way.logits(&support, &support_labels, 2, &query).unwrap();
        assert_eq!(logits.dtype(), DType::F32);
        taper_learn::accuracy(&logits, &Tensor::new(labels, &candle_core::Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn each_finds_two_clouds_from_one_example_each() {
        assert!(right(&tim::Tim::default()) > 0.9);
        assert!(right(&laplacian_shot::LaplacianShot::default()) > 0.9);
        assert!(right(&pt_map::PtMap::default()) > 0.9);
    }
}
