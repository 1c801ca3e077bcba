//! Smooth activations: sigmoid, and those based on it.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::buffer::in_chunks;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// 1 / (1 + e⁻ˣ), elementwise; neither it nor its derivatives overflow.
///
/// # Errors
/// Returns an error if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[-1000f32, 0.0, 1000.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::sigmoid(&x)?.to_vec1::<f32>()?, [0.0, 0.5, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::sigmoid(x);
    }
    x.contiguous()?.apply1(Sigmoid)
}

/// x · sigmoid(x), elementwise (Ramachandran, Zoph and Le 2017; PyTorch's SiLU).
///
/// # Errors
/// Returns an error if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[0f32, 1000.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::swish(&x)?.to_vec1::<f32>()?, [0.0, 1000.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn swish(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::swish(x);
    }
    x.contiguous()?.apply1(Swish)
}

/// log(1 + eˣ), elementwise; it does not overflow, and its derivative is [`sigmoid`].
///
/// # Errors
/// Returns an error if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[-1000f32, 1000.0], &Device::Cpu)?;
/// assert_eq!(taper_ops::softplus(&x)?.to_vec1::<f32>()?, [0.0, 1000.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::softplus(x);
    }
    x.contiguous()?.apply1(Softplus)
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

struct Softplus;

impl CustomOp1 for Softplus {
    fn name(&self) -> &'static str {
        "softplus"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), each(x, layout, self.name(), |x, _| x.max(0.0) + (-x.abs()).exp().ln_1p()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.mul(&sigmoid(x)?)?))
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
        let x = &x[at..at + y.len()];
        y.fill(|k| {
            let x = x[k].to_f64();
            T::of(f(x, 1.0 / (1.0 + (-x).exp())))
        })
    });
    Ok(stored::<T>(y, layout.shape().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};
    use candle_core::{Device, Var};

    #[test]
    fn all_have_right_first_and_second_derivatives() {
        let x = [(random("x", (3, 7)) * 4.0).unwrap()];
        check_gradients(&x, |v| softplus(&v[0])?.powf(2.0));
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
        let z = softplus(&x).unwrap();
        assert_eq!(z.to_vec1::<f32>().unwrap()[..3], [0.0, std::f32::consts::LN_2, 1e4]);
        assert!(z.to_vec1::<f32>().unwrap()[3].is_nan());
        for (name, y, right) in [("sigmoid", &s, [0.0, 0.25, 0.0]), ("softplus", &z, [0.0, 0.5, 1.0])] {
            let slope = y.backward().unwrap().get(&x).unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(slope[..3], right, "{name}");
        }
        let slope = y.backward().unwrap().get(&x).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(slope[..3], [0.0, 0.5, 1.0]);
    }
}
