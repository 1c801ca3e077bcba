//! Products of matrices in slices, on one thread, by the `gemm` crate.

#![allow(unsafe_code)]

use crate::element::Element;

/// A matrix in a slice: the distance between neighbors in a column and in a row.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// The matrix whose rows are `row` values apart.
    pub(crate) fn new(values: &'a [T], row: usize) -> Self {
        Self { values, row, column: 1 }
    }

    pub(crate) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// Returns `true` if all values of that many rows and columns lie in the slice.
    fn covers(&self, rows: usize, columns: usize) -> bool {
        let last = (rows - 1).checked_mul(self.row).zip((columns - 1).checked_mul(self.column));
        last.and_then(|(down, right)| down.checked_add(right)).is_some_and(|last| last < self.values.len())
    }
}

/// `out (rows, columns)`, whose rows lie `stride` apart, becomes `a (rows, inner) · b (inner, columns)`,
/// added to what is there with `add`.
///
/// # Panics
/// If a matrix does not lie inside its slice.
pub(crate) fn product<T: Element>(
    out: &mut [T],
    stride: usize,
    [rows, columns, inner]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    add: bool,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(rows == 1 || stride >= columns, "rows of the result overlap");
    assert!(Matrix::new(&*out, stride).covers(rows, columns), "the result does not lie inside its slice");
    if inner == 0 {
        if !add {
            out.chunks_mut(stride.max(columns)).take(rows).for_each(|row| row[..columns].fill(T::ZERO));
        }
        return;
    }
    assert!(a.covers(rows, inner) && b.covers(inner, columns), "a factor does not lie inside its slice");
    if cfg!(miri) {
        // Miri cannot run the instructions that `gemm` chooses from.
        for (i, row) in out.chunks_mut(stride.max(columns)).take(rows).enumerate() {
            for (j, out) in row[..columns].iter_mut().enumerate() {
                let start = if add { *out } else { T::ZERO };
                *out = (0..inner).fold(start, |sum, k| {
                    sum + a.values[i * a.row + k * a.column] * b.values[k * b.row + j * b.column]
                });
            }
        }
        return;
    }
    // SAFETY: each of the three matrices lies inside its slice and the rows of `out` do not overlap,
    // as just checked; `out` is borrowed mutably, so it overlaps neither factor.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            T::of(1.0),
            T::of(1.0),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{near, numbers};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 60 }))]
        #[test]
        fn a_product_equals_its_definition_and_leaves_the_gaps_between_rows_alone(
            rows in 0usize..9, columns in 0usize..20, inner in 0usize..12, gap in 0usize..3, add: bool, turned: bool
        ) {
            let (a, b) = (numbers("a", rows * inner), numbers("b", inner * columns));
            let stride = columns + gap;
            let before = vec![2.5f32; rows * stride];
            let mut out = before.clone();
            let (left, right) = if turned {
                let turn = |m: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                    (0..m.len()).map(|at| m[at % rows * columns + at / rows]).collect()
                };
                (turn(&a, rows, inner), turn(&b, inner, columns))
            } else {
                (a.clone(), b.clone())
            };
            let matrices = if turned {
                (Matrix::new(&left, rows).transposed(), Matrix::new(&right, inner).transposed())
            } else {
                (Matrix::new(&left, inner), Matrix::new(&right, columns))
            };
            product(&mut out, stride, [rows, columns, inner], matrices.0, matrices.1, add);
            let right: Vec<f64> = (0..before.len()).map(|at| {
                let (i, j) = (at / stride, at % stride);
                if j >= columns {
                    return 2.5;
                }
                let sum: f64 = (0..inner).map(|k| f64::from(a[i * inner + k]) * f64::from(b[k * columns + j])).sum();
                if add { sum + 2.5 } else { sum }
            }).collect();
            near(&out, &right, 1e-6);
        }
    }

    #[test]
    #[should_panic(expected = "inside its slice")]
    fn a_factor_that_is_too_short_is_caught() {
        product(&mut [0.0; 4], 2, [2, 2, 2], Matrix::new(&[1.0; 3], 2), Matrix::new(&[1.0; 4], 2), false);
    }
}
