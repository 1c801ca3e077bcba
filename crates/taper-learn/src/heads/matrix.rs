//! A matrix of f64, row after row. Products are candle's, decompositions faer's, on one thread.

use crate::{LearnError, Result};
use candle_core::{DType, Device, Tensor};
use faer::linalg::solvers::Solve;
use faer::{MatRef, Side};

/// A matrix of f64, row after row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// `f(row, column)` everywhere.
    pub(crate) fn from_fn(rows: usize, columns: usize, f: impl Fn(usize, usize) -> f64) -> Self {
        let values = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))).map(|(i, j)| f(i, j)).collect();
        Self { rows, columns, values }
    }

    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    /// A tensor `(n, d)` as a matrix.
    pub(crate) fn from_tensor(tensor: &Tensor) -> Result<Self> {
        let (rows, columns) = tensor.dims2()?;
        Ok(Self { rows, columns, values: tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()? })
    }

    /// The matrix as an f32 tensor `(n, d)`.
    pub(crate) fn to_tensor(&self) -> Result<Tensor> {
        let values: Vec<f32> = self.values.iter().map(|&v| v as f32).collect();
        Ok(Tensor::from_vec(values, (self.rows, self.columns), &Device::Cpu)?)
    }

    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    #[cfg(test)]
    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// The rows in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        (0..self.rows).map(|row| self.row(row))
    }

    /// Each row changed by `f` of its number.
    pub(crate) fn each_row(mut self, f: impl Fn(usize, &mut [f64])) -> Self {
        for row in 0..self.rows {
            f(row, self.row_mut(row));
        }
        self
    }

    /// These rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| self.row(row).iter().copied()).collect();
        Self { rows: rows.len(), columns: self.columns, values }
    }

    pub(crate) fn transpose(&self) -> Self {
        Self::from_fn(self.columns, self.rows, |i, j| self.values[j * self.columns + i])
    }

    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// The mean row.
    pub(crate) fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.columns];
        self.iter().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
        mean.iter_mut().for_each(|sum| *sum /= self.rows as f64);
        mean
    }

    /// The matrix with `row` subtracted from every row.
    pub(crate) fn less(self, row: &[f64]) -> Self {
        self.each_row(|_, values| values.iter_mut().zip(row).for_each(|(value, mean)| *value -= mean))
    }

    /// Sum of all squares.
    pub(crate) fn norm_squared(&self) -> f64 {
        dot(&self.values, &self.values)
    }

    fn faer(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.values, self.rows, self.columns)
    }

    fn tensor(&self) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.values, (self.rows, self.columns), &Device::Cpu)?)
    }

    /// `self · other`.
    pub(crate) fn times(&self, other: &Self) -> Result<Self> {
        Self::from_tensor(&taper_ops::matmul(&self.tensor()?, &other.tensor()?)?)
    }

    /// `selfᵀ · other`.
    pub(crate) fn transposed_times(&self, other: &Self) -> Result<Self> {
        Self::from_tensor(&taper_ops::matmul_tn(&self.tensor()?, &other.tensor()?)?)
    }

    /// `self · otherᵀ`.
    pub(crate) fn times_transposed(&self, other: &Self) -> Result<Self> {
        Self::from_tensor(&taper_ops::matmul_nt(&self.tensor()?, &other.tensor()?)?)
    }
}

/// Eigenvalues with their vectors.
pub(crate) struct Eigen {
    pub(crate) values: Vec<f64>,
    /// One per row, orthonormal.
    pub(crate) vectors: Matrix,
}

/// The eigenvalues of a symmetric matrix, ascending.
///
/// # Errors
/// Returns an error if the matrix holds values that are not finite.
pub(crate) fn symmetric_eigen(matrix: &Matrix) -> Result<Eigen> {
    let failed = || LearnError::Invalid("features are NaN or infinite: check the images".into());
    if !matrix.values.iter().all(|value| value.is_finite()) {
        return Err(failed());
    }
    let found = matrix.faer().self_adjoint_eigen(Side::Lower).map_err(|_| failed())?;
    let values = found.S().column_vector().iter().copied().collect();
    let vectors = found.U();
    Ok(Eigen { values, vectors: Matrix::from_fn(matrix.rows, matrix.rows, |i, j| vectors[(j, i)]) })
}

/// `A⁻¹ · right` for a symmetric positive definite `A`, by its Cholesky factor.
///
/// # Errors
/// Returns an error if `A` is not positive definite.
pub(crate) fn solve_positive(matrix: &Matrix, right: &Matrix) -> Result<Matrix> {
    let factor = matrix.faer().llt(Side::Lower).map_err(|_| {
        LearnError::Invalid(
            "a covariance of the features can't be inverted: check that the weights are undamaged, or use another head"
                .into(),
        )
    })?;
    let solution = factor.solve(right.faer());
    Ok(Matrix::from_fn(right.rows, right.columns, |i, j| solution[(i, j)]))
}

/// Inner product, summed in eight parts so that it fits vector registers.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_transposes_are_products() {
        let a = Matrix::from_fn(3, 11, |i, j| (i * 5 + j * 3 % 7) as f64);
        let b = Matrix::from_fn(11, 2, |i, j| i as f64 - 4.0 * j as f64);
        let product = Matrix::from_fn(3, 2, |i, j| dot(a.row(i), b.transpose().row(j)));
        assert_eq!(a.times(&b).unwrap(), product);
        assert_eq!(a.transpose().transposed_times(&b).unwrap(), product);
        assert_eq!(a.times_transposed(&b.transpose()).unwrap(), product);
    }

    #[test]
    fn the_solution_times_the_matrix_is_the_right_side() {
        let root = Matrix::from_fn(7, 7, |i, j| ((i * 3 + j * j) % 5) as f64 + if i == j { 4.0 } else { 0.0 });
        let matrix = root.times_transposed(&root).unwrap();
        let right = Matrix::from_fn(7, 2, |i, j| i as f64 - j as f64);
        let back = matrix.times(&solve_positive(&matrix, &right).unwrap()).unwrap();
        assert!(back.values().iter().zip(right.values()).all(|(a, b)| (a - b).abs() < 1e-9));
        assert!(solve_positive(&Matrix::from_fn(2, 2, |_, _| -1.0), &Matrix::zeros(2, 1)).is_err());
    }

    fn check(matrix: &Matrix) {
        let Eigen { values, vectors } = symmetric_eigen(matrix).unwrap();
        let (n, _) = matrix.shape();
        let scale = matrix.norm_squared().sqrt().max(1.0);
        let product = vectors.times(matrix).unwrap();
        for (i, value) in values.iter().enumerate() {
            for j in 0..n {
                let along = value * vectors.row(i)[j];
                assert!((product.row(i)[j] - along).abs() < 1e-10 * scale, "vector {i} of {n}");
                let unit = f64::from(u8::from(i == j));
                assert!((dot(vectors.row(i), vectors.row(j)) - unit).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn vectors_are_orthonormal_and_only_stretched() {
        for n in [1, 2, 3, 40] {
            let root = Matrix::from_fn(n, n, |i, j| ((i * 7 + j * 13 + i * j) % 11) as f64 - 5.0);
            check(&root.times_transposed(&root).unwrap());
        }
    }

    #[test]
    fn equal_and_vanishing_values_are_found() {
        check(&Matrix::zeros(4, 4));
        check(&Matrix::from_fn(5, 5, |_, _| 2.0));
        check(&Matrix::from_fn(6, 6, |i, j| f64::from(u8::from(i == j))));
        let thin = Matrix::from_fn(20, 3, |i, j| ((i + 1) * (j + 2) % 7) as f64);
        check(&thin.times_transposed(&thin).unwrap());
    }
}
