//! Activations that are straight but for one or two bends: ReLU6 and leaky ReLU.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::channels::in_chunks;
use crate::kernels::simd::{InstructionSet, vectorized};
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use std::mem::MaybeUninit;

/// min(max(x, 0), 6), elementwise; NaN stays NaN; the derivative at 0 and at 6 is 0, as in PyTorch.
pub fn relu6(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::relu6(x);
    }
    x.contiguous()?.apply1(PiecewiseLinear { below: 0.0, most: Some(6.0) })
}

/// x where it is positive, else `slope` · x, elementwise (Maas, Hannun and Ng 2013).
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::leaky_relu(x, slope);
    }
    x.contiguous()?.apply1(PiecewiseLinear { below: slope, most: None })
}

/// A line that goes up by 1 from 0 on, to `most` where there is one, and by `below` before.
#[derive(Clone, Copy)]
struct PiecewiseLinear {
    below: f64,
    most: Option<f64>,
}

impl PiecewiseLinear {
    /// What is most where nothing is: no number, which nothing reaches.
    fn most(self) -> f64 {
        self.most.unwrap_or(f64::NAN)
    }
}

impl CustomOp1 for PiecewiseLinear {
    fn name(&self) -> &'static str {
        "bent line"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), bend(x, layout, self))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.contiguous()?.apply2(&gradient.contiguous()?, Slope(*self))?))
    }
}

/// `v` times the bent line's slope at `x`: linear in `v`, flat in `x`.
struct Slope(PiecewiseLinear);

impl CustomOp2 for Slope {
    fn name(&self) -> &'static str {
        "slope of a bent line"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, v: &CpuStorage, lv: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), steepen((x, lx), (v, lv), self))
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

vectorized! {
    fn bend_values<T: Element>(x: &[T], below: T, most: T, y: &mut [MaybeUninit<T>]) {
        for (&x, y) in x.iter().zip(y) {
            let low = if below == T::ZERO { T::ZERO } else { below * x };
            let high = if x >= most { most } else { x };
            y.write(if x <= T::ZERO { low } else { high });
        }
    }

    fn steepen_values<T: Element>(x: &[T], v: &[T], below: T, most: T, y: &mut [MaybeUninit<T>]) {
        for ((&x, &v), y) in x.iter().zip(v).zip(y) {
            let low = if below == T::ZERO { T::ZERO } else { below * v };
            let high = if x >= most { T::ZERO } else { v };
            y.write(if x <= T::ZERO { low } else { high });
        }
    }
}

fn bend<T: Element>(x: &CpuStorage, layout: &Layout, line: &PiecewiseLinear) -> Result<(CpuStorage, Shape)> {
    let x = values::<T>(x, layout, line.name())?;
    let (below, most) = (T::of(line.below), T::of(line.most()));
    let y = in_chunks(x.len(), 1, |at, y| {
        bend_values(InstructionSet::best(), &x[at..at + y.len()], below, most, y);
    });
    Ok(stored::<T>(y, layout.shape().clone()))
}

fn steepen<T: Element>(
    (x, lx): (&CpuStorage, &Layout),
    (v, lv): (&CpuStorage, &Layout),
    slope: &Slope,
) -> Result<(CpuStorage, Shape)> {
    if lx.dims() != lv.dims() {
        bail!("{}: {:?} does not fit {:?}", slope.name(), lx.dims(), lv.dims());
    }
    let (x, v) = (values::<T>(x, lx, slope.name())?, values::<T>(v, lv, slope.name())?);
    let (below, most) = (T::of(slope.0.below), T::of(slope.0.most()));
    let y = in_chunks(x.len(), 1, |at, y| {
        let here = at..at + y.len();
        steepen_values(InstructionSet::best(), &x[here.clone()], &v[here], below, most, y);
    });
    Ok(stored::<T>(y, lx.shape().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};
    use candle_core::{Device, Var};

    #[test]
    fn both_have_right_first_and_second_derivatives() {
        let x = [(random("x", (3, 7)) * 9.0).unwrap()];
        check_gradients(&x, |v| relu6(&v[0])?.sqr()?.mul(&v[0]));
        check_gradients(&x, |v| leaky_relu(&v[0], 0.1)?.sqr()?.mul(&v[0]));
    }

    #[test]
    fn values_and_slopes_at_the_bends_and_beyond_are_pytorchs() {
        let x = Var::new(&[f32::NEG_INFINITY, -2.0, 0.0, 3.0, 6.0, f32::INFINITY, f32::NAN], &Device::Cpu).unwrap();
        let of = |y: Tensor| {
            let slope = y.backward().unwrap().get(&x).unwrap().to_vec1::<f32>().unwrap();
            (y.to_vec1::<f32>().unwrap(), slope)
        };
        let (y, slope) = of(relu6(&x).unwrap());
        assert_eq!((&y[..6], &slope[..6]), (&[0.0, 0.0, 0.0, 3.0, 6.0, 6.0][..], &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0][..]));
        assert!(y[6].is_nan());
        let (y, slope) = of(leaky_relu(&x, 0.5).unwrap());
        assert_eq!(y[..6], [f32::NEG_INFINITY, -1.0, 0.0, 3.0, 6.0, f32::INFINITY]);
        assert_eq!(slope[..6], [0.5, 0.5, 0.5, 1.0, 1.0, 1.0]);
        assert!(y[6].is_nan());
    }
}
