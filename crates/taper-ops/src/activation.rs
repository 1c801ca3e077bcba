//! Rectifiers: ReLU, ReLU6 and leaky ReLU are one piecewise linear function.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::buffer::{Unwritten, Written, in_chunks};
use crate::kernels::simd::{InstructionSet, vectorized};
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// max(x, 0), elementwise; NaN stays NaN; the derivative at 0 is 0, as in PyTorch.
///
/// # Errors
/// Returns an error if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[-1f32, 2.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::relu(&x)?.to_vec1::<f32>()?, [0.0, 2.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::relu(x);
    }
    x.contiguous()?.apply1(PiecewiseLinear::RELU)
}

/// min(max(x, 0), 6), elementwise; NaN stays NaN; the derivative at 0 and at 6 is 0, as in PyTorch.
///
/// # Errors
/// Returns an error if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[-1f32, 2.0, 9.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::relu6(&x)?.to_vec1::<f32>()?, [0.0, 2.0, 6.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn relu6(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::relu6(x);
    }
    x.contiguous()?.apply1(PiecewiseLinear { largest: Some(6.0), ..PiecewiseLinear::RELU })
}

/// x if it is positive, otherwise `slope` · x, elementwise (Maas, Hannun and Ng 2013).
///
/// # Errors
/// Returns an error if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[-1f32, 2.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::leaky_relu(&x, 0.5)?.to_vec1::<f32>()?, [-0.5, 2.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::leaky_relu(x, slope);
    }
    x.contiguous()?.apply1(PiecewiseLinear { slope_below: slope, ..PiecewiseLinear::RELU })
}

/// max(a + b, 0), elementwise, of tensors of the same shape: the end of a residual block.
///
/// # Errors
/// Returns an error if the shapes or types differ, or the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let (a, b) = (Tensor::new(&[1f32, -3.0], &Device::Cpu)?, Tensor::new(&[1f32, 2.0], &Device::Cpu)?);
/// assert_eq!(taper_ops::add_relu(&a, &b)?.to_vec1::<f32>()?, [2.0, 0.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() {
        bail!("sum and relu: {:?} does not fit {:?}", a.dims(), b.dims());
    }
    if composed::needed(a) {
        return composed::add_relu(a, b);
    }
    a.contiguous()?.apply2(&b.contiguous()?, AddRelu)
}

/// A function with slope `slope_below` up to 0 and slope 1 above, constant from `largest` on.
#[derive(Clone, Copy)]
struct PiecewiseLinear {
    slope_below: f64,
    largest: Option<f64>,
}

impl PiecewiseLinear {
    const RELU: Self = Self { slope_below: 0.0, largest: None };

    /// The slope below 0, and the largest value; NaN, which no value reaches, if there is none.
    fn of<T: Element>(self) -> (T, T) {
        (T::of(self.slope_below), T::of(self.largest.unwrap_or(f64::NAN)))
    }
}

impl CustomOp1 for PiecewiseLinear {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), piecewise_linear(x, layout, *self))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.contiguous()?.apply2(&gradient.contiguous()?, Slope(*self))?))
    }
}

/// `v` times the slope at `x`: linear in `v`, constant in `x`.
struct Slope(PiecewiseLinear);

impl CustomOp2 for Slope {
    fn name(&self) -> &'static str {
        "relu-slope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, v: &CpuStorage, lv: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), times_slope((x, lx), (v, lv), self))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _v: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((None, Some(x.contiguous()?.apply2(&gradient.contiguous()?, Slope(self.0))?)))
    }
}

struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add-relu"
    }

    fn cpu_fwd(&self, a: &CpuStorage, la: &Layout, b: &CpuStorage, lb: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(a, self.name(), add_rectify((a, la), (b, lb)))
    }

    fn bwd(
        &self,
        _a: &Tensor,
        _b: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let slope = result.detach().apply2(&gradient.contiguous()?, Slope(PiecewiseLinear::RELU))?;
        Ok((Some(slope.clone()), Some(slope)))
    }
}

vectorized! {
    fn rectified_values<T: Element>(x: &[T], y: Unwritten<'_, T>) -> Written {
        let x = &x[..y.len()];
        y.fill(|k| if x[k] <= T::ZERO { T::ZERO } else { x[k] })
    }

    fn piecewise_values<T: Element>(x: &[T], slope_below: T, largest: T, y: Unwritten<'_, T>) -> Written {
        let x = &x[..y.len()];
        y.fill(|k| {
            let low = if slope_below == T::ZERO { T::ZERO } else { slope_below * x[k] };
            let high = if x[k] >= largest { largest } else { x[k] };
            if x[k] <= T::ZERO { low } else { high }
        })
    }

    fn times_slope_values<T: Element>(x: &[T], v: &[T], slope_below: T, largest: T, y: Unwritten<'_, T>) -> Written {
        let (x, v) = (&x[..y.len()], &v[..y.len()]);
        y.fill(|k| {
            let low = if slope_below == T::ZERO { T::ZERO } else { slope_below * v[k] };
            let high = if x[k] >= largest { T::ZERO } else { v[k] };
            if x[k] <= T::ZERO { low } else { high }
        })
    }

    fn add_rectified_values<T: Element>(a: &[T], b: &[T], y: Unwritten<'_, T>) -> Written {
        let (a, b) = (&a[..y.len()], &b[..y.len()]);
        y.fill(|k| {
            let sum = a[k] + b[k];
            if sum <= T::ZERO { T::ZERO } else { sum }
        })
    }
}

fn piecewise_linear<T: Element>(x: &CpuStorage, layout: &Layout, line: PiecewiseLinear) -> Result<(CpuStorage, Shape)> {
    let x = values::<T>(x, layout, line.name())?;
    let (slope_below, largest) = line.of::<T>();
    let plain = line.slope_below == 0.0 && line.largest.is_none();
    let y = in_chunks(x.len(), 1, |at, y| {
        let x = &x[at..at + y.len()];
        if plain {
            rectified_values(InstructionSet::best(), x, y)
        } else {
            piecewise_values(InstructionSet::best(), x, slope_below, largest, y)
        }
    });
    Ok(stored::<T>(y, layout.shape().clone()))
}

fn times_slope<T: Element>(
    (x, lx): (&CpuStorage, &Layout),
    (v, lv): (&CpuStorage, &Layout),
    slope: &Slope,
) -> Result<(CpuStorage, Shape)> {
    if lx.dims() != lv.dims() {
        bail!("{}: {:?} does not fit {:?}", slope.name(), lx.dims(), lv.dims());
    }
    let (x, v) = (values::<T>(x, lx, slope.name())?, values::<T>(v, lv, slope.name())?);
    let (slope_below, largest) = slope.0.of::<T>();
    let y = in_chunks(x.len(), 1, |at, y| {
        let here = at..at + y.len();
        times_slope_values(InstructionSet::best(), &x[here.clone()], &v[here], slope_below, largest, y)
    });
    Ok(stored::<T>(y, lx.shape().clone()))
}

fn add_rectify<T: Element>(
    (a, la): (&CpuStorage, &Layout),
    (b, lb): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let (a, b) = (values::<T>(a, la, "add-relu")?, values::<T>(b, lb, "add-relu")?);
    let y = in_chunks(a.len(), 1, |at, y| {
        let here = at..at + y.len();
        add_rectified_values(InstructionSet::best(), &a[here.clone()], &b[here], y)
    });
    Ok(stored::<T>(y, la.shape().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};
    use candle_core::{Device, Var};

    #[test]
    fn all_have_right_first_and_second_derivatives() {
        let x = [(random("x", (3, 7)) * 9.0).unwrap()];
        check_gradients(&x, |v| relu(&v[0])?.sqr()?.mul(&v[0]));
        check_gradients(&x, |v| relu6(&v[0])?.sqr()?.mul(&v[0]));
        check_gradients(&x, |v| leaky_relu(&v[0], 0.1)?.sqr()?.mul(&v[0]));
    }

    #[test]
    fn the_rectified_sum_has_right_first_and_second_derivatives() {
        let inputs = [random("a", (3, 4)), random("b", (3, 4))];
        check_gradients(&inputs, |v| add_relu(&v[0], &v[1])?.sqr()?.mul(&v[0]));
        let error = add_relu(&inputs[0], &random("c", (4, 3))).unwrap_err().to_string();
        assert!(error.contains("[3, 4]") && error.contains("[4, 3]"), "{error}");
    }

    #[test]
    fn values_and_slopes_at_the_bends_and_beyond_are_pytorchs() {
        let x = Var::new(&[f32::NEG_INFINITY, -2.0, 0.0, 3.0, 6.0, f32::INFINITY, f32::NAN], &Device::Cpu).unwrap();
        let of = |y: Tensor| {
            let slope = y.backward().unwrap().get(&x).unwrap().to_vec1::<f32>().unwrap();
            let y = y.to_vec1::<f32>().unwrap();
            assert!(y[6].is_nan());
            (y[..6].to_vec(), slope)
        };
        let inf = f32::INFINITY;
        let right = (vec![0.0, 0.0, 0.0, 3.0, 6.0, inf], vec![0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(of(relu(&x).unwrap()), right);
        assert_eq!(of(add_relu(&x, &x.zeros_like().unwrap()).unwrap()), right);
        let (y, slope) = of(relu6(&x).unwrap());
        assert_eq!((&y[..], &slope[..6]), (&[0.0, 0.0, 0.0, 3.0, 6.0, 6.0][..], &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0][..]));
        let (y, slope) = of(leaky_relu(&x, 0.5).unwrap());
        assert_eq!((&y[..], &slope[..6]), (&[-inf, -1.0, 0.0, 3.0, 6.0, inf][..], &[0.5, 0.5, 0.5, 1.0, 1.0, 1.0][..]));
    }
}
