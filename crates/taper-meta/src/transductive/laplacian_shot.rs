//! LaplacianShot (Ziko, Dolz, Granger and Ben Ayed 2020, "Laplacian Regularized Few-Shot Learning"):
//! queries go to the nearest prototype, while near neighbors among them are drawn to the same.

use super::{OnFeatures, TransductiveClassifier, centerd};
use candle_core::{Device, Tensor};
use taper_learn::heads::{Embedding, class_means, squared_distances};
use taper_learn::{Kind, Method, Result, Setting, TaskNorm, Training};
use taper_ops::log_softmax;

/// LaplacianShot in the registry.
pub const LAPLACIAN_SHOT: Method = Method {
    name: "laplacian-shot",
    title: "LaplacianShot",
    kind: Kind::Transfer,
    paper: "Ziko et al. 2020",
    transductive: true,
    norm: TaskNorm::Stored,
    settings: &[
        Setting { name: "smoothness", default: 0.5, about: "weight λ of agreement among neighbours" },
        Setting { name: "neighbours", default: 3.0, about: "neighbors a query agrees with" },
    ],
    training: Training::Pretraining,
    learner: |setup, state| {
        let settings = &setup.settings;
        let way = LaplacianShot { smoothness: settings.get("smoothness")?, neighbors: settings.count("neighbours")? };
        Ok(Box::new(OnFeatures { embedding: Embedding::of(setup, state), way }))
    },
};

/// Weight of agreement, and among how many.
#[derive(Debug, Clone)]
pub(super) struct LaplacianShot {
    smoothness: f64,
    neighbors: usize,
}

impl Default for LaplacianShot {
    fn default() -> Self {
        Self { smoothness: 0.5, neighbors: 3 }
    }
}

/// Bound updates (algorithm 1) go on until nothing moves, or this often.
const UPDATES: usize = 20;

impl TransductiveClassifier for LaplacianShot {
    fn logits(&self, support: &Tensor, labels: &Tensor, ways: usize, query: &Tensor) -> Result<Tensor> {
        let (support, query) = centerd(support, query)?;
        // section 2.2: a_q, the distances from the prototypes
        let a = squared_distances(&query, &class_means(&support, labels, ways)?)?;
        let w = self.affinity(&query)?;
        let mut logits = a.neg()?;
        for _ in 0..UPDATES {
            // eq. 7: y ← softmax(−a + λ W y)
            let y = log_softmax(&logits)?.exp()?;
            logits = (a.neg()? + (w.matmul(&y)? * self.smoothness)?)?;
        }
        Ok(logits)
    }
}

impl LaplacianShot {
    /// `(m, m)`: 1 for each query's nearest neighbours, made symmetric (section 3.3).
    fn affinity(&self, query: &Tensor) -> Result<Tensor> {
        let distances = squared_distances(query, query)?.to_vec2::<f32>()?;
        let m = distances.len();
        let mut w = vec![0f32; m * m];
        for (i, row) in distances.iter().enumerate() {
            let mut order: Vec<usize> = (0..m).filter(|&j| j != i).collect();
            order.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
            for &j in order.iter().take(self.neighbors) {
                w[i * m + j] = 1.0;
                w[j * m + i] = 1.0;
            }
        }
        Ok(Tensor::from_vec(w, (m, m), &Device::Cpu)?)
    }
}
