//! The thin decomposition of features that every penalty strength of a linear head shares.

use super::matrix::{Eigen, Matrix, dot, symmetric_eigen};
use crate::{LearnError, Result};
use candle_core::{Device, Tensor};

/// `X − mean = scores · axes` with orthogonal columns of `scores` and orthonormal rows of `axes`,
/// from the eigenvectors of the smaller of the two Gram matrices, f64.
///
/// An L2-penalized linear head with a free bias has its weights in the span of `axes`, so it can be
/// fitted on `scores`, which have at most as many columns as there are images.
#[derive(Debug, Clone)]
pub(crate) struct Decomposition {
    mean: Vec<f64>,
    /// `(n, r)`.
    pub(crate) scores: Matrix,
    /// `(r, d)`.
    axes: Matrix,
    /// Squared lengths of the columns of `scores`, `(r)`.
    pub(crate) values: Vec<f64>,
}

/// Directions with a smaller share of the largest direction's variance are rounding errors.
const NEGLIGIBLE: f64 = 1e-12;

impl Decomposition {
    /// The decomposition of `features (n, d)`.
    ///
    /// # Errors
    /// Returns an error if there are none.
    pub(crate) fn new(features: &Matrix) -> Result<Self> {
        let (n, d) = features.shape();
        if n == 0 || d == 0 {
            return Err(LearnError::Invalid("a linear head needs at least one labeled image".into()));
        }
        let mean = features.mean();
        let centered = features.clone().less(&mean);
        let gram = if n <= d { centered.times_transposed(&centered)? } else { centered.transposed_times(&centered)? };
        let Eigen { values, vectors } = symmetric_eigen(&gram)?;
        let largest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let kept: Vec<usize> = (0..values.len()).filter(|&k| values[k] > NEGLIGIBLE * largest).collect();
        let vectors = vectors.select(&kept);
        let values: Vec<f64> = kept.iter().map(|&k| values[k]).collect();
        let stretched = |matrix: Matrix, power: f64| {
            matrix.each_row(|k, row| row.iter_mut().for_each(|value| *value *= values[k].powf(power)))
        };
        let (scores, axes) = if n <= d {
            let axes = stretched(vectors.times(&centered)?, -0.5);
            (stretched(vectors, 0.5).transpose(), axes)
        } else {
            (centered.times_transposed(&vectors)?, vectors)
        };
        Ok(Self { mean, scores, axes, values })
    }

    /// A head of `weight (ways, r)` and `bias` on the scores, as one on the features themselves:
    /// weight `(ways, d)` and bias `(ways)`, f32.
    pub(crate) fn head(&self, weight: &Matrix, bias: &[f64]) -> Result<(Tensor, Tensor)> {
        let weight = weight.times(&self.axes)?;
        let bias = weight.iter().zip(bias).map(|(row, bias)| (bias - dot(row, &self.mean)) as f32);
        Ok((weight.to_tensor()?, Tensor::from_iter(bias, &Device::Cpu)?))
    }
}

/// The features divided by the root of their mean squared length, and that root. Penalty strengths
/// then mean the same for every network.
pub(crate) fn unit_scale(features: &Tensor) -> Result<(Matrix, f64)> {
    let rows = Matrix::from_tensor(features)?;
    let scale = (rows.norm_squared() / rows.shape().0.max(1) as f64).sqrt().max(1e-12);
    Ok((rows.scaled(1.0 / scale), scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_times_axes_are_the_centered_features_for_few_images_and_for_many() {
        for (n, d) in [(4, 9), (9, 4)] {
            let features = Matrix::from_fn(n, d, |i, j| ((3 * i + 5 * j + i * j) % 7) as f64);
            let thin = Decomposition::new(&features).unwrap();
            let back = thin.scores.times(&thin.axes).unwrap();
            let centered = features.clone().less(&features.mean());
            assert!(back.values().iter().zip(centered.values()).all(|(a, b)| (a - b).abs() < 1e-9));
            let gram = thin.scores.transposed_times(&thin.scores).unwrap();
            let diagonal = |i: usize, j: usize| if i == j { thin.values[i] } else { 0.0 };
            let (r, _) = gram.shape();
            assert!((0..r * r).all(|k| (gram.values()[k] - diagonal(k / r, k % r)).abs() < 1e-8));
        }
    }

    #[test]
    fn equal_images_have_no_axis() {
        let thin = Decomposition::new(&Matrix::from_fn(3, 5, |_, _| 2.0)).unwrap();
        let (weight, bias) = thin.head(&Matrix::zeros(2, thin.values.len()), &[1.0, 2.0]).unwrap();
        assert_eq!((weight.dims(), bias.to_vec1::<f32>().unwrap()), (&[2, 5][..], vec![1.0, 2.0]));
    }
}
