//! Smooth activations: sigmoid, and swish, which is made of it.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::channels::in_chunks;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// 1 / (1 + e⁻ˣ), elementwise.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::sigmoid(x);
    }
    x.contiguous()?.apply1(Sigmoid)
}

/// x · sigmoid(x), elementwise (Ramachandran, Zoph and Le 2017; PyTorch's SiLU).
pub fn swish(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::swish(x);
    }
    x.contiguous()?.apply1(Swish)
}

struct Sigmoid;

impl CustomOp1 for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), each(x, layout, self.name(), |_, s| s))
    }

    /// s · (1 − s).
    fn bwd(&self, _x: &Tensor, s: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.mul(&(s - s.sqr()?)?)?))
    }
}

struct Swish;

impl CustomOp1 for Swish {
    fn name(&self) -> &'static str {
        "swish"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), each(x, layout, self.name(), |x, s| x * s))
    }

    /// s + y · (1 − s), with y the swish.
    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let s = sigmoid(x)?;
        Ok(Some(gradient.mul(&((&s + y)? - (y * &s)?)?)?))
    }
}

/// `f` of each value and its sigmoid, computed in f64.
fn each<T: Element>(
    x: &CpuStorage,
    layout: &Layout,
    name: &str,
    f: impl Fn(f64, f64) -> f64 + Sync + Send,
) -> Result<(CpuStorage, Shape)> {
    let x = values::<T>(x, layout, name)?;
    let y = in_chunks(x.len(), 1, |at, y| {
        for (x, y) in x[at..at + y.len()].iter().zip(y) {
            let x = x.to_f64();
            y.write(T::of(f(x, 1.0 / (1.0 + (-x).exp()))));
        }
    });
    Ok(stored::<T>(y, layout.shape().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};
    use candle_core::{Device, Var};

    #[test]
    fn both_have_right_first_and_second_derivatives() {
        let x = [(random("x", (3, 7)) * 4.0).unwrap()];
        check_gradients(&x, |v| sigmoid(&v[0])?.powf(2.0));
        check_gradients(&x, |v| swish(&v[0])?.powf(2.0));
    }

    #[test]
    fn far_from_zero_they_are_flat_or_straight_and_nan_stays() {
        let x = Var::new(&[-1e4f32, 0.0, 1e4, f32::NAN], &Device::Cpu).unwrap();
        let (s, y) = (sigmoid(&x).unwrap(), swish(&x).unwrap());
        assert_eq!(s.to_vec1::<f32>().unwrap()[..3], [0.0, 0.5, 1.0]);
        assert_eq!(y.to_vec1::<f32>().unwrap()[..3], [0.0, 0.0, 1e4]);
        assert!(s.to_vec1::<f32>().unwrap()[3].is_nan() && y.to_vec1::<f32>().unwrap()[3].is_nan());
        let slope = y.backward().unwrap().get(&x).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(slope[..3], [0.0, 0.5, 1.0]);
    }
}
