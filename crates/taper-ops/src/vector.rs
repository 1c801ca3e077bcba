//! Sums of whole tensors, in one pass each: the arithmetic of optimizers.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::buffer::{Unwritten, Written, in_chunks};
use crate::kernels::simd::{InstructionSet, vectorized};
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// `a · x + b · y`, of tensors of the same shape.
///
/// # Errors
/// Returns an error if the shapes or types differ, or the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 2.0], &Device::Cpu)?;
/// let y = Tensor::new(&[4f64, 16.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::weighted_sum(2.0, &x, 0.5, &y)?.to_vec1::<f64>()?, [4.0, 12.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn weighted_sum(a: f64, x: &Tensor, b: f64, y: &Tensor) -> Result<Tensor> {
    same_shape("weighted sum", x, y)?;
    if composed::needed(x) {
        return composed::weighted_sum(a, x, b, y);
    }
    x.contiguous()?.apply2(&y.contiguous()?, WeightedSum(a, b))
}

/// `Σ x · y`, of tensors of the same shape: a scalar, summed in f64 on the CPU.
///
/// # Errors
/// Returns an error if the shapes or types differ, or the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 2.0], &Device::Cpu)?;
/// let y = Tensor::new(&[4f64, 16.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::dot(&x, &y)?.to_scalar::<f64>()?, 36.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn dot(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    same_shape("dot product", x, y)?;
    if composed::needed(x) {
        return composed::dot(x, y);
    }
    x.contiguous()?.apply2(&y.contiguous()?, Dot)
}

/// `a · x + b · y²`, of tensors of the same shape: a value without a gradient, for optimizers.
///
/// # Errors
/// Returns an error if the shapes or types differ, or the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 2.0], &Device::Cpu)?;
/// let y = Tensor::new(&[4f64, 16.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::weighted_square(1.0, &x, 0.5, &y)?.to_vec1::<f64>()?, [9.0, 130.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn weighted_square(a: f64, x: &Tensor, b: f64, y: &Tensor) -> Result<Tensor> {
    same_shape("weighted square", x, y)?;
    if composed::needed(x) {
        return composed::weighted_square(a, x, b, y);
    }
    x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &WeightedSquare(a, b))
}

/// `a · x / (√(b · y) + eps)`, of tensors of the same shape: a value without a gradient, for
/// optimizers.
///
/// # Errors
/// Returns an error if the shapes or types differ, or the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[1f64, 2.0], &Device::Cpu)?;
/// let y = Tensor::new(&[4f64, 16.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::over_root(2.0, &x, 1.0, &y, 0.0)?.to_vec1::<f64>()?, [1.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn over_root(a: f64, x: &Tensor, b: f64, y: &Tensor, eps: f64) -> Result<Tensor> {
    same_shape("quotient by a root", x, y)?;
    if composed::needed(x) {
        return composed::over_root(a, x, b, y, eps);
    }
    x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &OverRoot(a, b, eps))
}

fn same_shape(name: &str, x: &Tensor, y: &Tensor) -> Result<()> {
    if x.dims() != y.dims() {
        bail!("{name}: {:?} does not fit {:?}", x.dims(), y.dims());
    }
    Ok(())
}

struct WeightedSum(f64, f64);

impl CustomOp2 for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted-sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, y: &CpuStorage, ly: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), weighted_sum_kernel((x, lx), (y, ly), self))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _result: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let by = |factor: f64, of: &Tensor| match of.track_op() {
            true if factor == 1.0 => Ok(Some(g.clone())),
            true => Ok::<_, candle_core::Error>(Some((g * factor)?)),
            false => Ok(None),
        };
        Ok((by(self.0, x)?, by(self.1, y)?))
    }
}

fn weighted_sum_kernel<T: Element>(x: Operand, y: Operand, op: &WeightedSum) -> Result<(CpuStorage, Shape)> {
    let (a, b) = (T::of(op.0), T::of(op.1));
    elementwise::<T>(op.name(), x, y, |x, y, out| add_weighted(InstructionSet::best(), a, x, b, y, out))
}

type Operand<'a> = (&'a CpuStorage, &'a Layout);

/// `fill` of each chunk of two tensors of the same shape.
fn elementwise<T: Element>(
    name: &str,
    (x, lx): Operand,
    (y, ly): Operand,
    fill: impl Fn(&[T], &[T], Unwritten<'_, T>) -> Written + Sync + Send,
) -> Result<(CpuStorage, Shape)> {
    let (x, y) = (values::<T>(x, lx, name)?, values::<T>(y, ly, name)?);
    let made = in_chunks(x.len(), 1, |at, out| {
        let here = at..at + out.len();
        fill(&x[here.clone()], &y[here], out)
    });
    Ok(stored::<T>(made, lx.shape().clone()))
}

struct WeightedSquare(f64, f64);

impl CustomOp2 for WeightedSquare {
    fn name(&self) -> &'static str {
        "weighted-square"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, y: &CpuStorage, ly: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), weighted_square_kernel((x, lx), (y, ly), self))
    }
}

fn weighted_square_kernel<T: Element>(x: Operand, y: Operand, op: &WeightedSquare) -> Result<(CpuStorage, Shape)> {
    let (a, b) = (T::of(op.0), T::of(op.1));
    elementwise::<T>(op.name(), x, y, |x, y, out| add_square(InstructionSet::best(), a, x, b, y, out))
}

struct OverRoot(f64, f64, f64);

impl CustomOp2 for OverRoot {
    fn name(&self) -> &'static str {
        "over-root"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, y: &CpuStorage, ly: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), over_root_kernel((x, lx), (y, ly), self))
    }
}

fn over_root_kernel<T: Element>(x: Operand, y: Operand, op: &OverRoot) -> Result<(CpuStorage, Shape)> {
    let (a, b, eps) = (T::of(op.0), T::of(op.1), T::of(op.2));
    elementwise::<T>(op.name(), x, y, |x, y, out| divide_by_root(InstructionSet::best(), a, x, b, y, eps, out))
}

struct Dot;

impl CustomOp2 for Dot {
    fn name(&self) -> &'static str {
        "dot"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, y: &CpuStorage, ly: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), dot_kernel(x, lx, y, ly))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _result: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = if x.track_op() { Some(y.broadcast_mul(g)?) } else { None };
        let dy = if y.track_op() { Some(x.broadcast_mul(g)?) } else { None };
        Ok((dx, dy))
    }
}

fn dot_kernel<T: Element>(x: &CpuStorage, lx: &Layout, y: &CpuStorage, ly: &Layout) -> Result<(CpuStorage, Shape)> {
    let mut sums = [0.0; LANES];
    add_products(InstructionSet::best(), values::<T>(x, lx, "dot")?, values::<T>(y, ly, "dot")?, &mut sums);
    Ok(stored::<T>(vec![T::of(sums.iter().sum())], ()))
}

/// Parallel sums, so that additions don't wait for each other.
const LANES: usize = 16;

vectorized! {
    fn add_weighted<T: Element>(a: T, x: &[T], b: T, y: &[T], sum: Unwritten<'_, T>) -> Written {
        let (x, y) = (&x[..sum.len()], &y[..sum.len()]);
        sum.fill(|k| a * x[k] + b * y[k])
    }

    fn add_square<T: Element>(a: T, x: &[T], b: T, y: &[T], sum: Unwritten<'_, T>) -> Written {
        let (x, y) = (&x[..sum.len()], &y[..sum.len()]);
        sum.fill(|k| a * x[k] + b * (y[k] * y[k]))
    }

    fn divide_by_root<T: Element>(a: T, x: &[T], b: T, y: &[T], eps: T, quotient: Unwritten<'_, T>) -> Written {
        let (x, y) = (&x[..quotient.len()], &y[..quotient.len()]);
        quotient.fill(|k| a * x[k] / ((b * y[k]).root() + eps))
    }

    fn add_products<T: Element>(x: &[T], y: &[T], sums: &mut [f64; LANES]) {
        let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
        for (sum, (&x, &y)) in sums.iter_mut().zip(xs.remainder().iter().zip(ys.remainder())) {
            *sum += x.to_f64() * y.to_f64();
        }
        for (x, y) in xs.zip(ys) {
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum += x[k].to_f64() * y[k].to_f64();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};

    #[test]
    fn weighted_sums_and_dots_have_right_values_and_derivatives() {
        let inputs = [random("x", (3, 7)), random("y", (3, 7))];
        let right = (&inputs[0] * &inputs[1]).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        assert!((dot(&inputs[0], &inputs[1]).unwrap().to_scalar::<f64>().unwrap() - right).abs() < 1e-12);
        let sum = weighted_sum(2.0, &inputs[0], -0.5, &inputs[1]).unwrap();
        let right = ((&inputs[0] * 2.0).unwrap() - (&inputs[1] * 0.5).unwrap()).unwrap();
        assert_eq!(sum.to_vec2::<f64>().unwrap(), right.to_vec2::<f64>().unwrap());
        check_gradients(&inputs, |v| weighted_sum(2.0, &v[0], -0.5, &v[1])?.powf(3.0));
        check_gradients(&inputs, |v| dot(&v[0].sqr()?, &v[1])?.powf(2.0));
    }

    #[test]
    fn squares_and_quotients_by_roots_are_what_they_say_in_both_precisions() {
        let (x, y) = (random("x", (3, 7)), random("y", (3, 7)).abs().unwrap());
        let list =
            |t: &Tensor| t.flatten_all().unwrap().to_dtype(candle_core::DType::F64).unwrap().to_vec1::<f64>().unwrap();
        let pairs: Vec<(f64, f64)> = list(&x).into_iter().zip(list(&y)).collect();
        let squares: Vec<f64> = pairs.iter().map(|(x, y)| 0.9 * x + 0.1 * y * y).collect();
        let quotients: Vec<f64> = pairs.iter().map(|(x, y)| 2.0 * x / ((3.0 * y).sqrt() + 1e-3)).collect();
        for (dtype, tolerance) in [(candle_core::DType::F64, 1e-14), (candle_core::DType::F32, 1e-6)] {
            let (x, y) = (x.to_dtype(dtype).unwrap(), y.to_dtype(dtype).unwrap());
            crate::test_support::near(&list(&weighted_square(0.9, &x, 0.1, &y).unwrap()), &squares, tolerance);
            crate::test_support::near(&list(&over_root(2.0, &x, 3.0, &y, 1e-3).unwrap()), &quotients, tolerance);
        }
    }

    #[test]
    fn shapes_that_differ_are_an_error_that_names_both() {
        let error = dot(&random("x", (2, 3)), &random("y", (3, 2))).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[3, 2]"), "{error}");
    }
}
