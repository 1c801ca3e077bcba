//! Layer normalization (Ba, Kiros and Hinton 2016), with derivatives of every order.
//!
//! With x̂ the normalized row, r = 1 / √(variance + ε) and c its length, the derivative of x̂ is the symmetric
//! J = r (I - 11ᵀ/c - x̂x̂ᵀ/c), and that of gᵀ J h with respect to x is -r/c (x̂ gᵀJh/r·r + (g·x̂) Jh + (h·x̂) Jg).

use crate::composed;
use crate::element::{Element, by_type, elements, stored, values};
use crate::kernels::buffer::in_chunks;
use crate::kernels::row_norm::{normalized_rows, normalized_rows_gradient};
use crate::kernels::simd::InstructionSet;
use crate::scale_shift;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor, bail};

/// Layer normalization of `x (…, c)` over its last dimension, then `weight (c)` and `bias (c)`.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if there is nothing to normalize.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 3.0]], &Device::Cpu)?;
/// let ones = Tensor::new(&[1f32; 2], &Device::Cpu)?;
/// let y = taper_ops::layer_norm(&x, &ones, &ones.zeros_like()?, 0.0)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[-1.0, 1.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let c = x.dim(D::Minus1)?;
    elements("layer norm", x.dims())?;
    if x.elem_count() == 0 {
        bail!("layer norm: {:?} is empty, there is nothing to normalize", x.dims());
    }
    if weight.dims() != [c] || bias.dims() != [c] {
        bail!("layer norm: rows of {c} values do not fit weight {:?} and bias {:?}", weight.dims(), bias.dims());
    }
    let normal =
        if composed::needed(x) { composed::normalize(x, eps)? } else { x.contiguous()?.apply1(Normalize(eps))? };
    scale_shift(&normal, weight, bias)
}

/// Rows to mean 0 and variance 1.
struct Normalize(f64);

impl CustomOp1 for Normalize {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), normalized(x, layout, self.0))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(slope(x, gradient, self.0)?))
    }
}

/// J v.
fn slope(x: &Tensor, v: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply2(&v.contiguous()?, Slope(eps))
}

/// The derivative's product with `v`, J v: linear in `v`.
struct Slope(f64);

impl CustomOp2 for Slope {
    fn name(&self) -> &'static str {
        "layer norm slope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, v: &CpuStorage, lv: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), sloped((x, lx), (v, lv), self.0))
    }

    fn bwd(&self, x: &Tensor, v: &Tensor, y: &Tensor, h: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let of_h = slope(x, h, self.0)?;
        if !x.track_op() {
            return Ok((None, Some(of_h)));
        }
        let dot = |a: &Tensor, b: &Tensor| a.mul(b)?.sum_keepdim(D::Minus1);
        let normal = x.contiguous()?.apply1(Normalize(self.0))?;
        let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let inverse = (centered.sqr()?.mean_keepdim(D::Minus1)? + self.0)?.sqrt()?.recip()?;
        let sum = (normal.broadcast_mul(&dot(h, y)?)?
            + of_h.broadcast_mul(&dot(v, &normal)?)?
            + y.broadcast_mul(&dot(h, &normal)?)?)?;
        let dx = (sum.broadcast_mul(&inverse)? * (-1.0 / x.dim(D::Minus1)? as f64))?;
        Ok((Some(dx), Some(of_h)))
    }
}

fn normalized<T: Element>(x: &CpuStorage, layout: &Layout, eps: f64) -> Result<(CpuStorage, Shape)> {
    let (x, c) = (values::<T>(x, layout, "layer norm")?, layout.shape().dim(D::Minus1)?);
    let y =
        in_chunks(x.len(), c, |at, y| normalized_rows(InstructionSet::best(), &x[at..at + y.len()], c, T::of(eps), y));
    Ok(stored::<T>(y, layout.shape().clone()))
}

fn sloped<T: Element>(
    (x, lx): (&CpuStorage, &Layout),
    (v, lv): (&CpuStorage, &Layout),
    eps: f64,
) -> Result<(CpuStorage, Shape)> {
    if lx.dims() != lv.dims() {
        bail!("layer norm slope: {:?} does not fit {:?}", lx.dims(), lv.dims());
    }
    let (x, v) = (values::<T>(x, lx, "layer norm slope")?, values::<T>(v, lv, "layer norm slope")?);
    let c = lx.shape().dim(D::Minus1)?;
    let y = in_chunks(x.len(), c, |at, y| {
        let here = at..at + y.len();
        normalized_rows_gradient(InstructionSet::best(), &x[here.clone()], &v[here], c, T::of(eps), y)
    });
    Ok(stored::<T>(y, lx.shape().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, near, random, surrounded};
    use candle_core::DType;
    use proptest::prelude::*;

    fn list(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The definition, row by row.
    fn by_definition(x: &Tensor, weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
        let row = |x: &[f64]| -> Vec<f64> {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let value = |(k, x): (usize, &f64)| (x - mean) / (variance + eps).sqrt() * weight[k] + bias[k];
            x.iter().enumerate().map(value).collect()
        };
        list(x).chunks(weight.len()).flat_map(row).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn layer_norm_is_what_its_definition_says_and_has_right_derivatives(n in 1usize..4, t in 1usize..4, c in 2usize..40) {
            let inputs = [random("x", (n, t, c)), random("weight", c), random("bias", c)];
            let right = by_definition(&inputs[0], &list(&inputs[1]), &list(&inputs[2]), 1e-3);
            let y = layer_norm(&inputs[0], &inputs[1], &inputs[2], 1e-3).unwrap();
            prop_assert_eq!(y.dims(), [n, t, c]);
            near(&list(&y), &right, 1e-12);
            check_gradients(&inputs, |v| layer_norm(&v[0], &v[1], &v[2], 1e-1)?.powf(3.0));
            let narrow = inputs.each_ref().map(|t| t.to_dtype(DType::F32).unwrap());
            near(&list(&layer_norm(&narrow[0], &narrow[1], &narrow[2], 1e-3).unwrap()), &right, 1e-5);
            near(&list(&layer_norm(&surrounded(&narrow[0]), &narrow[1], &narrow[2], 1e-3).unwrap()), &right, 1e-5);
        }
    }

    #[test]
    fn a_row_has_the_same_bits_among_any_others_both_ways() {
        let narrow = |name, shape: &[usize]| random(name, shape).to_dtype(DType::F32).unwrap();
        let (x, weight, bias) = (narrow("x", &[700, 384]), narrow("w", &[384]), narrow("b", &[384]));
        let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let run = |x: &Tensor| {
            let x = candle_core::Var::from_tensor(x).unwrap();
            let y = layer_norm(&x, &weight, &bias, 1e-5).unwrap();
            let gradient = y.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
            (bits(&y), bits(&gradient))
        };
        let all = run(&x);
        for row in [0, 1, 350, 699] {
            let alone = run(&x.narrow(0, row, 1).unwrap());
            let here = row * 384..(row + 1) * 384;
            assert!(alone.0 == all.0[here.clone()] && alone.1 == all.1[here], "row {row}");
        }
    }

    #[test]
    fn rows_that_do_not_fit_and_empty_ones_are_errors_that_name_the_shapes() {
        let row = random("row", 4);
        let error = layer_norm(&random("x", (2, 5)), &row, &row, 1e-5).unwrap_err().to_string();
        assert!(error.contains("rows of 5 values") && error.contains("[4]"), "{error}");
        let error = layer_norm(&random("x", (0, 4)), &row, &row, 1e-5).unwrap_err().to_string();
        assert!(error.contains("[0, 4]"), "{error}");
    }
}
