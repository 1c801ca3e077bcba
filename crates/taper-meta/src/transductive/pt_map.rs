//! PT-MAP (Hu, Gripon and Pateux 2021, "Leveraging the Feature Distribution in Transfer-based
//! Few-Shot Learning"): features by a power transform, then alternating updates of class centers and of a balanced assignment
//! of queries to them. It assumes that the classes have equally many queries.

use super::{AllQueries, TransductiveHead};
use candle_core::{D, Device, Tensor};
use taper_learn::heads::{squared_distances, unit_length};
use taper_learn::{
    Adapt, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use taper_models::State;
use taper_ops::{matmul, one_hot};

/// PT-MAP in a registry.
pub const PT_MAP: Registered<PtMap> = Registered::new();

method_settings! {
    /// Alternates between class centers and a balanced assignment of queries to them.
    pub struct PtMap {
        /// How strictly queries are assigned, λ of algorithm 1.
        pub sharpness: f64 = 10.0;
        /// How far centers move per iteration, α of algorithm 1.
        pub inertia: f64 = 0.4;
    }
}

impl TypedMethod for PtMap {
    const INFO: MethodInfo = MethodInfo {
        name: "pt-map",
        title: "PT-MAP",
        kind: Kind::Transfer,
        paper: "Hu et al. 2021",
        transductive: true,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(AllQueries(self.clone()), &state))
    }
}

const TURNS: usize = 20;
const SINKHORN: usize = 100;

/// Eq. 3 and 4: (f + ε)^β with β = ½, rows of length one. Features come from a ReLU and are
/// at least 0; negative values count as 0.
fn powered(features: &Tensor) -> Result<Tensor> {
    unit_length(&(features.relu()? + 1e-6)?.sqrt()?)
}

impl TransductiveHead for PtMap {
    fn logits(&self, support: &Tensor, labels: &Tensor, ways: usize, query: &Tensor) -> Result<Tensor> {
        let (support, query) = (powered(support)?, powered(query)?);
        let mean = Tensor::cat(&[&support, &query], 0)?.mean_keepdim(0)?;
        let (support, query) =
            (unit_length(&support.broadcast_sub(&mean)?)?, unit_length(&query.broadcast_sub(&mean)?)?);
        let known = one_hot(labels, ways, support.dtype())?;
        let members = known.t()?.contiguous()?;
        let counts = members.sum_keepdim(1)?;
        let mut centers = matmul(&members, &support)?.broadcast_div(&counts)?;
        for _ in 0..TURNS {
            let assigned = self.assign(&query, &centers)?.t()?.contiguous()?;
            // eq. 8 and 9: centers of the support and of the assigned queries, approached by α
            let sums = (matmul(&members, &support)? + matmul(&assigned, &query)?)?;
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
