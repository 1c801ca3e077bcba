//! PT-MAP (Hu, Gripon and Pateux 2021, "Leveraging the Feature Distribution in Transfer-based
//! Few-Shot Learning"): features by a power transform, then class centers and a balanced assignment
//! of queries to them, by turns. It supposes that the classes have equally many queries.

use super::{OnFeatures, TransductiveClassifier};
use candle_core::{D, Device, Tensor};
use taper_learn::heads::{Embedding, squared_distances};
use taper_learn::{Kind, Method, Result, Setting, TaskNorm, Training};
use taper_ops::one_hot;

/// PT-MAP in the registry.
pub const PT_MAP: Method = Method {
    name: "pt-map",
    title: "PT-MAP",
    kind: Kind::Transfer,
    paper: "Hu et al. 2021",
    transductive: true,
    norm: TaskNorm::Stored,
    settings: &[
        Setting { name: "sharpness", default: 10.0, about: "how strictly queries are assigned, λ" },
        Setting { name: "inertia", default: 0.4, about: "how far centers move at each turn, α" },
    ],
    training: Training::Pretraining,
    learner: |setup, state| {
        let way = PtMap { sharpness: setup.settings.get("sharpness")?, inertia: setup.settings.get("inertia")? };
        Ok(Box::new(OnFeatures { embedding: Embedding::of(setup, state), way }))
    },
};

/// λ and α of algorithm 1.
#[derive(Debug, Clone)]
pub(super) struct PtMap {
    sharpness: f64,
    inertia: f64,
}

impl Default for PtMap {
    fn default() -> Self {
        Self { sharpness: 10.0, inertia: 0.4 }
    }
}

const TURNS: usize = 20;
const SINKHORN: usize = 100;

/// Eq. 3 and 4: (f + ε)^β with β = ½, rows of length one. Features are above 0, since they come
/// from a ReLU; what is not is taken as 0.
fn powered(features: &Tensor) -> Result<Tensor> {
    crate::embedded::unit(&(features.relu()? + 1e-6)?.sqrt()?)
}

impl TransductiveClassifier for PtMap {
    fn logits(&self, support: &Tensor, labels: &Tensor, ways: usize, query: &Tensor) -> Result<Tensor> {
        let (support, query) = (powered(support)?, powered(query)?);
        let mean = Tensor::cat(&[&support, &query], 0)?.mean_keepdim(0)?;
        let (support, query) = (
            crate::embedded::unit(&support.broadcast_sub(&mean)?)?,
            crate::embedded::unit(&query.broadcast_sub(&mean)?)?,
        );
        let known = one_hot(labels, ways, support.dtype())?;
        let members = known.t()?.contiguous()?;
        let counts = members.sum_keepdim(1)?;
        let mut centers = members.matmul(&support)?.broadcast_div(&counts)?;
        for _ in 0..TURNS {
            let assigned = self.assign(&query, &centers)?.t()?.contiguous()?;
            // eq. 8 and 9: centers of the support and of what is assigned, approached by α
            let sums = (members.matmul(&support)? + assigned.matmul(&query)?)?;
            let found = sums.broadcast_div(&(&counts + assigned.sum_keepdim(1)?)?)?;
            centers = (&centers + ((found - &centers)? * self.inertia)?)?;
        }
        Ok((self.assign(&query, &centers)? + 1e-12)?.log()?)
    }
}

impl PtMap {
    /// Eq. 6: the optimal transport of queries to classes, `(m, ways)`: rows sum to 1, columns to
    /// m / ways (Sinkhorn and Knopp 1967).
    fn assign(&self, query: &Tensor, centers: &Tensor) -> Result<Tensor> {
        let distances = squared_distances(query, centers)?;
        let nearest = distances.min_keepdim(D::Minus1)?;
        let mut plan = (distances.broadcast_sub(&nearest)? * -self.sharpness)?.exp()?.to_vec2::<f32>()?;
        let (m, ways) = distances.dims2()?;
        let share = m as f32 / ways as f32;
        for _ in 0..SINKHORN {
            for class in 0..ways {
                let sum: f32 = plan.iter().map(|row| row[class]).sum();
                plan.iter_mut().for_each(|row| row[class] *= share / sum.max(1e-12));
            }
            for row in &mut plan {
                let sum: f32 = row.iter().sum();
                row.iter_mut().for_each(|value| *value /= sum.max(1e-12));
            }
        }
        Ok(Tensor::from_vec(plan.concat(), (m, ways), &Device::Cpu)?)
    }
}
