//! LaplacianShot (Ziko, Dolz, Granger and Ben Ayed 2020, "Laplacian Regularized Few-Shot Learning"):
//! queries are assigned to the nearest prototype, while neighboring queries are encouraged to agree.

use super::{AllQueries, TransductiveHead, centered};
use candle_core::{Device, Tensor};
use taper_learn::heads::{class_means, squared_distances};
use taper_learn::{
    Adapt, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use taper_models::State;
use taper_ops::{log_softmax, matmul};

/// LaplacianShot in a registry.
pub const LAPLACIAN_SHOT: Registered<LaplacianShot> = Registered::new();

method_settings! {
    /// Assigns queries to the nearest prototype, and encourages neighbors to agree.
    pub struct LaplacianShot {
        /// Weight λ of agreement among neighbors.
        pub smoothness: f64 = 0.5;
        /// Neighbors that a query should agree with.
        pub neighbors: usize = 3, also "neighbours";
    }
}

impl TypedMethod for LaplacianShot {
    const INFO: MethodInfo = MethodInfo {
        name: "laplacian-shot",
        title: "LaplacianShot",
        kind: Kind::Transfer,
        paper: "Ziko et al. 2020",
        transductive: true,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(AllQueries(self.clone()), &state))
    }
}

/// The most bound updates (algorithm 1), unless nothing changes earlier.
const UPDATES: usize = 20;

impl TransductiveHead for LaplacianShot {
    fn logits(&self, support: &Tensor, labels: &Tensor, ways: usize, query: &Tensor) -> Result<Tensor> {
        let (support, query) = centered(support, query)?;
        // section 2.2: a_q, the distances from the prototypes
        let a = squared_distances(&query, &class_means(&support, labels, ways)?)?;
        let w = self.affinity(&query)?;
        let mut logits = a.neg()?;
        for _ in 0..UPDATES {
            // eq. 7: y ← softmax(−a + λ W y)
            let y = log_softmax(&logits)?.exp()?;
            logits = (a.neg()? + (matmul(&w, &y)? * self.smoothness)?)?;
        }
        Ok(logits)
    }
}

impl LaplacianShot {
    /// `(m, m)`: 1 for each query's nearest neighbors, made symmetric (section 3.3).
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
