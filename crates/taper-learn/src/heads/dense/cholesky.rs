//! The factor L of a positive definite matrix A = LLᵀ, and solutions by it.

use super::{Matrix, dot};
use crate::{LearnError, Result};

/// L of A = LLᵀ, its upper triangle zero.
pub(crate) struct Cholesky(Matrix);

impl Cholesky {
    /// Of a symmetric matrix, whose lower triangle is read.
    ///
    /// Errs when it is not positive definite.
    pub(crate) fn new(matrix: &Matrix) -> Result<Self> {
        let (n, _) = matrix.shape();
        let mut factor = Matrix::zeros(n, n);
        for i in 0..n {
            for j in 0..=i {
                let rest = matrix.row(i)[j] - dot(&factor.row(i)[..j], &factor.row(j)[..j]);
                factor.row_mut(i)[j] = if i > j {
                    rest / factor.row(j)[j]
                } else if rest > 0.0 {
                    rest.sqrt()
                } else {
                    return Err(LearnError::Invalid(
                        "a covariance of the features can't be inverted: use another head".into(),
                    ));
                };
            }
        }
        Ok(Self(factor))
    }

    /// `A⁻¹ · right`.
    pub(crate) fn solve(&self, right: &Matrix) -> Matrix {
        let (n, _) = self.0.shape();
        let upper = self.0.transpose();
        let columns = right.transpose().each_row(|_, x| {
            for i in 0..n {
                x[i] = (x[i] - dot(&self.0.row(i)[..i], &x[..i])) / self.0.row(i)[i];
            }
            for i in (0..n).rev() {
                x[i] = (x[i] - dot(&upper.row(i)[i + 1..], &x[i + 1..])) / upper.row(i)[i];
            }
        });
        columns.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_times_the_matrix_is_the_right_side() {
        let root = Matrix::from_fn(7, 7, |i, j| ((i * 3 + j * j) % 5) as f64 + if i == j { 4.0 } else { 0.0 });
        let matrix = root.times_transposed(&root).unwrap();
        let right = Matrix::from_fn(7, 2, |i, j| i as f64 - j as f64);
        let back = matrix.times(&Cholesky::new(&matrix).unwrap().solve(&right)).unwrap();
        assert!(back.values().iter().zip(right.values()).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(Cholesky::new(&Matrix::from_fn(2, 2, |_, _| 1.0)).is_err());
    }
}
