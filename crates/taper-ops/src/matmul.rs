//! Products of matrices.
//!
//! candle's own splits a large product over the threads of the pool, also inside an item of
//! [`map_in_order`](crate::map_in_order), where the waiting thread then runs other items. These
//! stay on their thread there, and elsewhere split their rows by sizes only, so results have the
//! same bits on any number of threads.

use crate::composed;
use crate::element::{Element, by_type, elements, stored, values};
use crate::kernels::product::{Matrix, product};
use crate::tape::Apply;
use crate::threads::for_each_chunk;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Floating-point operations that one thread does at a time, and the fewest rows.
const OPERATIONS: usize = 4_000_000;
const FEWEST_ROWS: usize = 48;

/// `a (…, m, k) · b (…, k, n)`, of equal leading dimensions, if any: `(…, m, n)`.
///
/// # Errors
/// Returns an error if the shapes do not fit, or the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let a = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let b = Tensor::new(&[[1f32], [10.0]], &Device::Cpu)?;
/// assert_eq!(taper_ops::matmul(&a, &b)?.to_vec2::<f32>()?, [[21.0], [43.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    multiplied(a, b, Product { a_transposed: false, b_transposed: false })
}

/// `a (…, m, k) · bᵀ` for `b (…, n, k)`: `(…, m, n)`, without a transposed copy of `b`.
///
/// # Errors
/// Returns the errors of [`matmul`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let rows = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let gram = taper_ops::matmul_nt(&rows, &rows)?;
/// assert_eq!(gram.to_vec2::<f32>()?, [[5.0, 11.0], [11.0, 25.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn matmul_nt(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    multiplied(a, b, Product { a_transposed: false, b_transposed: true })
}

/// `aᵀ · b` for `a (…, k, m)` and `b (…, k, n)`: `(…, m, n)`, without a transposed copy of `a`.
///
/// # Errors
/// Returns the errors of [`matmul`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// let members = Tensor::new(&[[1f32, 0.0], [1.0, 0.0], [0.0, 1.0]], &Device::Cpu)?;
/// let features = Tensor::new(&[[1f32], [2.0], [4.0]], &Device::Cpu)?;
/// assert_eq!(taper_ops::matmul_tn(&members, &features)?.to_vec2::<f32>()?, [[3.0], [4.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn matmul_tn(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    multiplied(a, b, Product { a_transposed: true, b_transposed: false })
}

fn multiplied(a: &Tensor, b: &Tensor, op: Product) -> Result<Tensor> {
    op.sizes(a.dims(), b.dims())?;
    if composed::needed(a) {
        return composed::matmul(a, b, (op.a_transposed, op.b_transposed));
    }
    a.contiguous()?.apply2(&b.contiguous()?, op)
}

/// The product of two matrices, each transposed or not.
#[derive(Debug, Clone, Copy)]
struct Product {
    a_transposed: bool,
    b_transposed: bool,
}

/// How many products of `(m, k)` and `(k, n)`.
struct Sizes {
    count: usize,
    m: usize,
    k: usize,
    n: usize,
    shape: Shape,
}

impl Product {
    fn sizes(self, a: &[usize], b: &[usize]) -> Result<Sizes> {
        let flip = |rows: usize, columns: usize, transposed| if transposed { (columns, rows) } else { (rows, columns) };
        let fits = match (a, b) {
            (&[ref of_a @ .., r, s], &[ref of_b @ .., t, u]) if of_a == of_b => {
                let ((m, k), (inner, n)) = (flip(r, s, self.a_transposed), flip(t, u, self.b_transposed));
                (k == inner).then_some((of_a, m, k, n))
            }
            _ => None,
        };
        let Some((leading, m, k, n)) = fits else {
            let mark = |transposed| if transposed { " transposed" } else { "" };
            let (of_a, of_b) = (mark(self.a_transposed), mark(self.b_transposed));
            bail!("matrix product: a matrix of shape {a:?}{of_a} does not fit one of shape {b:?}{of_b}");
        };
        let shape: Vec<usize> = leading.iter().copied().chain([m, n]).collect();
        elements("matrix product", &shape)?;
        Ok(Sizes { count: leading.iter().product(), m, k, n, shape: shape.into() })
    }
}

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "matrix product"
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(a, self.name(), kernel(*self, (a, la), (b, lb)))
    }

    /// With A and B as they enter the product, and G the gradient: G Bᵀ and Aᵀ G, transposed where
    /// the matrix is.
    fn bwd(&self, a: &Tensor, b: &Tensor, _result: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Self { a_transposed, b_transposed } = *self;
        let times = |x: &Tensor, y: &Tensor, a_transposed, b_transposed| {
            multiplied(x, y, Product { a_transposed, b_transposed }).map(Some)
        };
        let da = match (a.track_op(), a_transposed) {
            (false, _) => None,
            (true, false) => times(g, b, false, !b_transposed)?,
            (true, true) => times(b, g, b_transposed, true)?,
        };
        let db = match (b.track_op(), b_transposed) {
            (false, _) => None,
            (true, false) => times(a, g, !a_transposed, false)?,
            (true, true) => times(g, a, true, a_transposed)?,
        };
        Ok((da, db))
    }
}

fn kernel<T: Element>(
    op: Product,
    (a, la): (&CpuStorage, &Layout),
    (b, lb): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let Sizes { count, m, k, n, shape } = op.sizes(la.dims(), lb.dims())?;
    let (a, b) = (values::<T>(a, la, op.name())?, values::<T>(b, lb, op.name())?);
    let mut out = vec![T::ZERO; count * m * n];
    let one = 2usize.saturating_mul(k).saturating_mul(n);
    let rows = (OPERATIONS / one.max(1)).max(FEWEST_ROWS).min(m.max(1));
    for (index, out) in out.chunks_exact_mut((m * n).max(1)).enumerate() {
        let (a, b) = (&a[index * m * k..][..m * k], &b[index * k * n..][..k * n]);
        let right = if op.b_transposed { Matrix::new(b, k).transposed() } else { Matrix::new(b, n) };
        for_each_chunk(out, rows * n, one.saturating_mul(m), |index, out| {
            let first = index * rows;
            let left = if op.a_transposed {
                Matrix::new(&a[first.min(a.len())..], m).transposed()
            } else {
                Matrix::new(&a[first * k..], k)
            };
            product(out, n, [out.len() / n, n, k], left, right, false);
        });
    }
    Ok(stored::<T>(out, shape))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, near, random};
    use candle_core::DType;
    use proptest::prelude::*;

    fn list(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn products_equal_candles_and_have_right_derivatives(
            batch in prop_oneof![Just(None), (0usize..3).prop_map(Some)], m in 0usize..5, k in 0usize..6, n in 0usize..5
        ) {
            let shape = |rows, columns| [batch.as_slice(), &[rows, columns]].concat();
            let (a, b) = (random("a", shape(m, k)), random("b", shape(k, n)));
            let (at, bt) = (random("at", shape(k, m)), random("bt", shape(n, k)));
            let turned = |t: &Tensor| t.transpose(t.rank() - 2, t.rank() - 1).unwrap().contiguous().unwrap();
            let right = |a: &Tensor, b: &Tensor| {
                if a.elem_count() * b.elem_count() == 0 { vec![0.0; batch.unwrap_or(1) * m * n] } else { list(&a.matmul(b).unwrap()) }
            };
            for (ours, right) in [
                (matmul(&a, &b).unwrap(), right(&a, &b)),
                (matmul_nt(&a, &bt).unwrap(), right(&a, &turned(&bt))),
                (matmul_tn(&at, &b).unwrap(), right(&turned(&at), &b)),
            ] {
                prop_assert_eq!(ours.dims(), shape(m, n));
                near(&list(&ours), &right, 1e-12);
            }
            if batch != Some(0) && m * k * n > 0 {
                check_gradients(&[a.clone(), b.clone()], |v| matmul(&v[0], &v[1])?.powf(3.0));
                check_gradients(&[a, bt], |v| matmul_nt(&v[0], &v[1])?.powf(3.0));
                check_gradients(&[at, b], |v| matmul_tn(&v[0], &v[1])?.powf(3.0));
            }
        }
    }

    #[test]
    fn a_large_product_has_the_same_bits_on_any_number_of_threads() {
        let narrow = |name, shape: (usize, usize)| random(name, shape).to_dtype(DType::F32).unwrap();
        let (a, b, bt) = (narrow("a", (301, 517)), narrow("b", (517, 130)), narrow("bt", (130, 517)));
        let at = narrow("at", (517, 301));
        let run = |threads| {
            let all = crate::in_pool(threads, || [matmul(&a, &b), matmul_nt(&a, &bt), matmul_tn(&at, &b)]).unwrap();
            all.map(|y| y.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        let alone = run(1);
        near(&alone[0], &list(&a.matmul(&b).unwrap()), 1e-5);
        near(&alone[2], &list(&at.t().unwrap().matmul(&b).unwrap()), 1e-5);
        for threads in [2, 3, 8] {
            assert_eq!(run(threads), alone, "{threads} threads");
        }
    }

    #[test]
    fn matrices_that_do_not_fit_are_an_error_that_names_both() {
        let error = matmul_nt(&random("a", (2, 3)), &random("b", (3, 2))).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[3, 2] transposed"), "{error}");
    }
}
