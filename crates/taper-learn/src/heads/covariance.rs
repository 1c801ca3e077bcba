//! A covariance in two parts, of which one is diagonal.

use super::matrix::{Matrix, solve_positive};
use crate::Result;

/// `diag(diagonal) + rowsᵀ · rows`: a sum of shrunk covariances is one, with a row per image.
pub(crate) struct Covariance {
    pub(crate) diagonal: Vec<f64>,
    pub(crate) rows: Matrix,
}

impl Covariance {
    /// `Σ⁻¹ · right`, by the smaller system: `Σ` itself, or Woodbury's identity over the images.
    ///
    /// # Errors
    /// Returns an error if a feature is NaN or infinite.
    pub(crate) fn solve(mut self, right: &Matrix) -> Result<Matrix> {
        let (n, d) = self.rows.shape();
        let trace = self.diagonal.iter().sum::<f64>() + self.rows.norm_squared();
        if trace == 0.0 {
            // one image per class says nothing about the spread: nearest mean
            return Ok(right.clone());
        }
        // prevents division by zero for a feature that never varies inside a class
        let floor = 1e-10 * trace / d as f64;
        self.diagonal.iter_mut().for_each(|value| *value += floor);
        let plus = |square: Matrix, diagonal: &dyn Fn(usize) -> f64| square.each_row(|k, row| row[k] += diagonal(k));
        if d <= n {
            let sigma = plus(self.rows.transposed_times(&self.rows)?, &|k| self.diagonal[k]);
            return solve_positive(&sigma, right);
        }
        let divided = |m: Matrix| m.each_row(|k, row| row.iter_mut().for_each(|v| *v /= self.diagonal[k]));
        let (columns, right) = (divided(self.rows.transpose()), divided(right.clone()));
        let inner = plus(self.rows.times(&columns)?, &|_| 1.0);
        let correction = columns.times(&solve_positive(&inner, &self.rows.times(&right)?)?)?;
        Ok(right.each_row(|k, row| row.iter_mut().zip(correction.row(k)).for_each(|(v, less)| *v -= less)))
    }
}
