//! GELU (Hendrycks and Gimpel 2016), exact and as in CLIP.

use crate::composed;
use crate::element::{stored, values};
use crate::kernels::buffer::in_chunks;
use crate::kernels::simd::InstructionSet;
use crate::kernels::smooth::{Gelu, gelu_slopes, gelu_values};
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::cpu::erf::erf_f64;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

/// GELU, elementwise: x · Φ(x) or x · sigmoid(1.702 x); NaN stays NaN.
///
/// # Errors
/// Returns an error if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use taper_ops::{Gelu, gelu};
/// let x = Tensor::new(&[-20f32, 0.0, 20.0], &Device::Cpu)?;
/// let y = gelu(&x, Gelu::Exact)?.to_vec1::<f32>()?;
/// assert!(y[0].abs() < 1e-30 && y[1..] == [0.0, 20.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn gelu(x: &Tensor, form: Gelu) -> Result<Tensor> {
    if composed::needed(x) {
        return composed::gelu(x, form);
    }
    x.contiguous()?.apply1(Value(form))
}

struct Value(Gelu);

impl CustomOp1 for Value {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = layout.shape().clone();
        match x.dtype() {
            DType::F32 => {
                let x = values::<f32>(x, layout, self.name())?;
                let set = InstructionSet::best();
                let y = in_chunks(x.len(), 1, |at, y| gelu_values(set, &x[at..at + y.len()], self.0, y));
                Ok(stored::<f32>(y, shape))
            }
            DType::F64 => {
                let x = values::<f64>(x, layout, self.name())?;
                Ok(stored::<f64>(x.iter().map(|&x| x * share(x, self.0)).collect(), shape))
            }
            other => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.contiguous()?.apply2(&gradient.contiguous()?, Slope(self.0))?))
    }
}

/// `v` times the slope at `x`.
struct Slope(Gelu);

impl CustomOp2 for Slope {
    fn name(&self) -> &'static str {
        "gelu-slope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, v: &CpuStorage, lv: &Layout) -> Result<(CpuStorage, Shape)> {
        if lx.dims() != lv.dims() {
            bail!("{}: {:?} does not fit {:?}", self.name(), lx.dims(), lv.dims());
        }
        let shape = lx.shape().clone();
        match x.dtype() {
            DType::F32 => {
                let (x, v) = (values::<f32>(x, lx, self.name())?, values::<f32>(v, lv, self.name())?);
                let y = in_chunks(x.len(), 1, |at, y| {
                    let here = at..at + y.len();
                    gelu_slopes(InstructionSet::best(), &x[here.clone()], &v[here], self.0, y)
                });
                Ok(stored::<f32>(y, shape))
            }
            DType::F64 => {
                let (x, v) = (values::<f64>(x, lx, self.name())?, values::<f64>(v, lv, self.name())?);
                Ok(stored::<f64>(x.iter().zip(v).map(|(&x, v)| slope(x, self.0) * v).collect(), shape))
            }
            other => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        v: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dx = composed::gelu_curvature(x, self.0)?.mul(v)?.mul(gradient)?;
        Ok((Some(dx), Some(x.contiguous()?.apply2(&gradient.contiguous()?, Slope(self.0))?)))
    }
}

/// Φ(x), or the sigmoid in its place.
fn share(x: f64, form: Gelu) -> f64 {
    match form {
        Gelu::Exact => 0.5 * (1.0 + erf_f64(x / std::f64::consts::SQRT_2)),
        Gelu::Quick => 1.0 / (1.0 + (-1.702 * x).exp()),
    }
}

fn slope(x: f64, form: Gelu) -> f64 {
    let share = share(x, form);
    match form {
        Gelu::Exact => share + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt(),
        Gelu::Quick => share + 1.702 * x * share * (1.0 - share),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};

    #[test]
    fn both_forms_have_right_first_and_second_derivatives() {
        let x = [(random("x", (3, 7)) * 4.0).unwrap()];
        for form in [Gelu::Exact, Gelu::Quick] {
            check_gradients(&x, |v| gelu(&v[0], form)?.powf(2.0));
        }
    }
}
