//! The inverse of a small symmetric positive definite matrix, differentiable to any order.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::tape::Apply;
use crate::{matmul_nt, matmul_tn};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// The inverse of a symmetric positive definite `a (n, n)`, by Cholesky factors in f64 on the CPU,
/// on whichever device `a` is.
///
/// # Errors
/// Returns an error if the matrix is not square or not positive definite.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let a = Tensor::new(&[[2f64, 0.0], [0.0, 4.0]], &Device::Cpu)?;
/// let inverse = taper_ops::inverse(&a)?.to_vec2::<f64>()?;
/// assert!((inverse[0][0] - 0.5).abs() < 1e-12 && (inverse[1][1] - 0.25).abs() < 1e-12);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn inverse(a: &Tensor) -> Result<Tensor> {
    if composed::needed(a) {
        return composed::by_cpu(a, inverse);
    }
    a.contiguous()?.apply1(Inverse)
}

struct Inverse;

impl CustomOp1 for Inverse {
    fn name(&self) -> &'static str {
        "inverse"
    }

    fn cpu_fwd(&self, a: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(a, "inverse", inverse_kernel(a, layout))
    }

    /// d(A⁻¹) = −A⁻¹ dA A⁻¹, so the gradient with respect to A is −A⁻ᵀ G A⁻ᵀ.
    fn bwd(&self, _a: &Tensor, inverse: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(matmul_nt(&matmul_tn(inverse, gradient)?, inverse)?.neg()?))
    }
}

fn inverse_kernel<T: Element + Into<f64>>(a: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let n = match *layout.dims() {
        [rows, columns] if rows == columns => rows,
        ref other => bail!("inverse: {other:?} is not the shape of a square matrix"),
    };
    let a: Vec<f64> = values::<T>(a, layout, "inverse")?.iter().map(|&v| v.into()).collect();
    let Some(inverse) = inverted(&a, n) else {
        bail!("inverse: the matrix is not positive definite: add a multiple of the identity");
    };
    Ok(stored::<T>(inverse.into_iter().map(T::of).collect(), (n, n)))
}

/// L Lᵀ = A row by row, then A⁻¹ = L⁻ᵀ L⁻¹.
fn inverted(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut lower = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| lower[i * n + k] * lower[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            if i != j {
                lower[i * n + j] = rest / lower[j * n + j];
            } else if rest > 0.0 {
                lower[i * n + i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    let mut root = vec![0.0; n * n]; // L⁻¹, lower triangular
    for j in 0..n {
        for i in j..n {
            let dot: f64 = (j..i).map(|k| lower[i * n + k] * root[k * n + j]).sum();
            root[i * n + j] = (f64::from(u8::from(i == j)) - dot) / lower[i * n + i];
        }
    }
    let entry = |i: usize, j: usize| (i.max(j)..n).map(|k| root[k * n + i] * root[k * n + j]).sum();
    Some((0..n * n).map(|place| entry(place / n, place % n)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};

    /// X Xᵀ + 1, positive definite.
    fn gram(x: &Tensor) -> Result<Tensor> {
        x.matmul(&x.t()?)? + Tensor::eye(x.dim(0)?, x.dtype(), x.device())?
    }

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let a = gram(&random("x", (6, 4))).unwrap();
        let product = a.matmul(&inverse(&a).unwrap()).unwrap().to_vec2::<f64>().unwrap();
        for (i, row) in product.iter().enumerate() {
            for (j, value) in row.iter().enumerate() {
                assert!((value - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn the_inverse_has_right_derivatives() {
        check_gradients(&[random("x", (4, 3))], |v| inverse(&gram(&v[0])?)?.powf(2.0));
    }

    #[test]
    fn an_indefinite_matrix_is_refused() {
        let a = random("x", (3, 3)).zeros_like().unwrap();
        assert!(inverse(&a).unwrap_err().to_string().contains("positive definite"));
        assert!(inverse(&random("x", (3, 2))).unwrap_err().to_string().contains("square"));
    }
}
