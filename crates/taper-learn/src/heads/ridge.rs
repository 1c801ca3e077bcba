//! Ridge regression of the classes (Hoerl and Kennard 1970), the bias free. One decomposition
//! serves every strength, and the leave-one-out error of each is known in closed form (PRESS, Allen
//! 1974), so the strength is chosen without refitting.

use super::decomposition::{Decomposition, unit_scale};
use super::embedding::TaskEmbedding;
use super::linear_on_features::LinearOnFeatures;
use super::matrix::Matrix;
use super::on_features::FeatureHead;
use crate::{
    Adapt, Classifier, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::State;

/// Ridge regression on the features of an ordinary classifier, in a registry.
pub const RIDGE: Registered<Ridge> = Registered::new();

method_settings! {
    /// Regresses each class's membership (1 or −1) on the features of a frozen network.
    pub struct Ridge {}
}

impl TypedMethod for Ridge {
    const INFO: MethodInfo = MethodInfo {
        name: "ridge",
        title: "pretrained + ridge",
        kind: Kind::Transfer,
        paper: "Hoerl and Kennard 1970",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(self.clone(), &state))
    }
}

/// Strengths to choose from, for features of unit length: six decades in steps of half a decade.
fn strengths() -> Vec<f64> {
    (-8..=4).map(|half| 10f64.powf(f64::from(half) / 2.0)).collect()
}

impl FeatureHead for Ridge {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (rows, scale) = unit_scale(features)?;
        let fitted = Solutions::new(&rows, &support.labels.to_vec1::<u32>()?, support.ways)?;
        let (weight, bias) = fitted.head(fitted.best(&strengths())?)?;
        Ok(Box::new(LinearOnFeatures::new(task, (weight / scale)?, bias)))
    }
}

/// The solutions of every strength α: minimizers of `‖Y − XWᵀ − b‖² + α‖W‖²`.
struct Solutions {
    thin: Decomposition,
    /// Mean target of each class.
    mean: Vec<f64>,
    /// Targets less their means, `(n, ways)`.
    targets: Matrix,
    /// `scoresᵀ · targets`, `(r, ways)`.
    moments: Matrix,
}

impl Solutions {
    fn new(rows: &Matrix, labels: &[u32], ways: usize) -> Result<Self> {
        let thin = Decomposition::new(rows)?;
        let member = |row: usize, class: usize| if labels[row] as usize == class { 1.0 } else { -1.0 };
        let targets = Matrix::from_fn(labels.len(), ways, member);
        let mean = targets.mean();
        let targets = targets.less(&mean);
        let moments = thin.scores.transposed_times(&targets)?;
        Ok(Self { thin, mean, targets, moments })
    }

    /// Weights on the scores, `(r, ways)`.
    fn weights(&self, alpha: f64) -> Matrix {
        let shrunk = |k: usize, row: &mut [f64]| row.iter_mut().for_each(|v| *v /= self.thin.values[k] + alpha);
        self.moments.clone().each_row(shrunk)
    }

    /// Mean squared error of each image's target by the solution without it:
    /// `e_i / (1 − h_ii)`, where `h` is the hat matrix, the bias's `1/n` included.
    fn leave_one_out_error(&self, alpha: f64) -> Result<f64> {
        let (n, ways) = self.targets.shape();
        let fitted = self.thin.scores.times(&self.weights(alpha))?;
        let error = |row: usize| {
            let pairs = self.targets.row(row).iter().zip(fitted.row(row));
            let squared: f64 = pairs.map(|(target, fitted)| (target - fitted).powi(2)).sum();
            let along = self.thin.scores.row(row).iter().zip(&self.thin.values);
            let leverage = 1.0 / n as f64 + along.map(|(score, value)| score * score / (value + alpha)).sum::<f64>();
            squared / (1.0 - leverage).max(1e-12).powi(2)
        };
        Ok((0..n).map(error).sum::<f64>() / (n * ways) as f64)
    }

    /// The strength with the least leave-one-out error; of equal ones the first.
    fn best(&self, strengths: &[f64]) -> Result<f64> {
        let mut best = (f64::INFINITY, 1.0);
        for &alpha in strengths {
            let error = self.leave_one_out_error(alpha)?;
            if error < best.0 {
                best = (error, alpha);
            }
        }
        Ok(best.1)
    }

    /// Weight `(ways, d)` and bias `(ways)`.
    fn head(&self, alpha: f64) -> Result<(Tensor, Tensor)> {
        self.thin.head(&self.weights(alpha).transpose(), &self.mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::golden::{Golden, assert_close, golden};

    #[test]
    fn solutions_leave_one_out_errors_and_the_choice_are_scikit_learns() {
        let Golden { features, labels, ways, ridge, .. } = golden();
        let fitted = Solutions::new(&features, &labels, ways).unwrap();
        for (alpha, error) in ridge.alphas.iter().zip(&ridge.leave_one_out_errors) {
            assert!((fitted.leave_one_out_error(*alpha).unwrap() - error).abs() < 1e-4 * error, "alpha {alpha}");
        }
        assert_eq!(fitted.best(&ridge.alphas).unwrap(), ridge.best);
        let (weight, bias) = fitted.head(ridge.best).unwrap();
        assert_close(&weight, &ridge.weight);
        assert_close(&bias, &ridge.bias);
    }
}
