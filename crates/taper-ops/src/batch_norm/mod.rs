//! Batch norm by the batch's own statistics (Ioffe and Szegedy 2015). There are kernels up to the
//! second derivative; higher ones are composed of them.
//!
//! With m rows, x̂ = (x − mean)/σ and P the projection P g = g − mean(g) − x̂ · mean(g x̂):
//! - the gradient of `⟨g, x̂ w + b⟩` with respect to x is `w/σ · P g` (`first::Gradient`), with respect to w and b
//!   Σ g x̂ and Σ g (`first::Sums`);
//! - the gradient of `⟨v, 1/σ · P g⟩` with respect to x is
//!   `−1/(m σ²) · (x̂ ⟨v, P g⟩ + ⟨g, x̂⟩ P v + ⟨v, x̂⟩ P g)` (`second::SecondGradient`).
//!
//! Where a selection follows the norm ([`Select`]), g has the size of what was selected, and its gradients are computed there
//! only (`selected`). All statistics are functions of x here.

mod first;
mod second;
mod selected;
mod shell;

pub(crate) use first::{Derivatives, derivatives};

use crate::composed;
use crate::element::Element;
use crate::kernels::channels::RowsPerChunk;
use crate::norm::{Statistics, batch_statistics, statistics};
use crate::select::{Epilogue, Select};
use crate::tape::Apply;
use candle_core::{DType, Result, Shape, Tensor, bail};
use shell::{Shell, Ternary};
use std::sync::Arc;

/// Batch normalization of `x (…, c)` by the statistics of `x` itself, with `weight (c)` and
/// `bias (c)`; also returns those statistics. Gradients of any order flow through both.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the batch is empty.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32], [3.0]], &Device::Cpu)?;
/// let (one, zero) = (Tensor::new(&[1f32], &Device::Cpu)?, Tensor::new(&[0f32], &Device::Cpu)?);
/// let (y, statistics) = taper_ops::batch_norm_by_batch(&x, &one, &zero, 0.0)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[-1.0], [1.0]]);
/// assert_eq!(statistics.mean.to_vec1::<f32>()?, [2.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn batch_norm_by_batch(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, Statistics)> {
    by_chunks_of(RowsPerChunk::ByChannels, x, weight, bias, eps)
}

/// [`batch_norm_by_batch`], whose sums run over chunks of this many rows.
pub(crate) fn by_chunks_of(
    step: RowsPerChunk,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<(Tensor, Statistics)> {
    if composed::needed(x) {
        let statistics = batch_statistics(x)?;
        fits(x, &statistics, weight, bias)?;
        return Ok((composed::batch_norm_by_batch(x, &statistics, weight, bias, eps)?, statistics));
    }
    let x = x.contiguous()?;
    let (known, statistics) = Known::by_chunks_of(step, &x, weight, bias, eps)?;
    let operation = Shell(Normalize(known, Select::new(Epilogue::Nothing, x.shape())?));
    Ok((x.apply3(&weight.contiguous()?, &bias.contiguous()?, operation)?, statistics))
}

fn fits(x: &Tensor, statistics: &Statistics, weight: &Tensor, bias: &Tensor) -> Result<()> {
    if weight.dims() != statistics.mean.dims() || bias.dims() != weight.dims() {
        bail!("batch norm: {:?} does not fit weight {:?} and bias {:?}", x.dims(), weight.dims(), bias.dims());
    }
    Ok(())
}

/// The values of the statistics, computed once.
pub(crate) struct Known {
    pub(crate) mean: Vec<f64>,
    /// 1/σ.
    inverse: Vec<f64>,
    eps: f64,
    step: RowsPerChunk,
}

impl Known {
    /// The statistics of `x (…, c)` as values, and as tensors, which depend on x.
    ///
    /// Fails if weight and bias do not fit, or if the batch is empty.
    pub(crate) fn of(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Arc<Self>, Statistics)> {
        Self::by_chunks_of(RowsPerChunk::ByChannels, x, weight, bias, eps)
    }

    fn by_chunks_of(
        step: RowsPerChunk,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        eps: f64,
    ) -> Result<(Arc<Self>, Statistics)> {
        let statistics = statistics(x, step)?;
        fits(x, &statistics, weight, bias)?;
        let list = |t: &Tensor| t.detach().to_dtype(DType::F64)?.to_vec1::<f64>();
        let inverse = list(&statistics.variance)?.into_iter().map(|variance| 1.0 / (variance + eps).sqrt()).collect();
        Ok((Arc::new(Self { mean: list(&statistics.mean)?, inverse, eps, step }), statistics))
    }

    /// The values that `select` selects of x̂ · w + b.
    pub(crate) fn normalize<T: Element>(&self, select: &Select, x: &[T], w: &[T], b: &[T]) -> Result<Vec<T>> {
        let scale: Vec<f64> = w.iter().zip(&self.inverse).map(|(w, inverse)| w.to_f64() * inverse).collect();
        select.apply(x, &self.mean, &scale, b)
    }
}

/// The selected values of x̂ · w + b.
struct Normalize(Arc<Known>, Select);

impl Ternary for Normalize {
    const NAME: &'static str = "batch-norm";

    fn forward<T: Element>(&self, [x, w, b]: [&[T]; 3], [sx, ..]: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        Ok((self.0.normalize(&self.1, x, w, b)?, self.1.shape(sx)))
    }

    fn backward(&self, [x, weight, bias]: [&Tensor; 3], g: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let norm = weight.track_op() || bias.track_op();
        let Derivatives { x, norm } = derivatives(x, g, weight, &self.0, &self.1, (x.track_op(), norm))?;
        let (dw, db) = match norm {
            Some(sums) => (Some(sums.get(1)?), Some(sums.get(0)?)),
            None => (None, None),
        };
        Ok([x, dw, db])
    }
}

#[cfg(test)]
mod tests {
    use super::first::{Moments, Sums, gradient};
    use super::second::{Pairs, Projected, SecondGradient};
    use super::*;
    use crate::batch_norm;
    use crate::test_support::{check_derivatives, check_gradients, near, random};
    use proptest::prelude::*;

    fn known(x: &Tensor) -> Arc<Known> {
        let statistics = batch_statistics(x).unwrap();
        let inverse = statistics.variance.to_vec1::<f64>().unwrap().iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
        Arc::new(Known { mean: statistics.mean.to_vec1().unwrap(), inverse, eps: 1e-5, step: RowsPerChunk::ByChannels })
    }

    fn list(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn batch_norm_and_its_statistics_have_right_derivatives(n in 1usize..4, h in 1usize..4, c in 1usize..6) {
            let inputs = [random("x", (n + 1, h, 2, c)), random("weight", c), random("bias", c)];
            check_gradients(&inputs, |v| {
                let (y, statistics) = batch_norm_by_batch(&v[0], &v[1], &v[2], 1e-5)?;
                y.powf(3.0)?.broadcast_mul(&statistics.mean)?.broadcast_add(&statistics.variance)
            });
        }

        #[test]
        fn the_fused_norm_equals_the_composed_one(n in 1usize..4, h in 1usize..9, c in 1usize..40) {
            let (x, weight, bias) = (random("x", (n, h, h, c)), random("weight", c), random("bias", c));
            let right = batch_norm(&x, &batch_statistics(&x).unwrap(), &weight, &bias, 1e-3).unwrap();
            let (y, _) = batch_norm_by_batch(&x, &weight, &bias, 1e-3).unwrap();
            near(&list(&y), &list(&right), 1e-12);
            let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
            let (y, _) = batch_norm_by_batch(&narrow(&x), &narrow(&weight), &narrow(&bias), 1e-3).unwrap();
            near(&list(&y), &list(&right), 1e-5);
        }
    }

    #[test]
    fn its_gradient_is_differentiable_twice_more() {
        let inputs = [random("x", (3, 2, 2, 3)), random("g", (3, 2, 2, 3)), random("v", (3, 2, 2, 3)), random("w", 3)];
        check_derivatives(&inputs, |v| gradient(&v[0], &v[1], &v[3], &known(&v[0]))?.powf(2.0));
        check_derivatives(&inputs, |v| {
            v[0].apply2(&v[1], Sums(known(&v[0]), Select::All, Moments::default()))?.powf(2.0)
        });
        let pairs = |v: &[Tensor]| Pairs::of(&v[0], &v[1], &v[2], (&known(&v[0]), &Select::All), &Moments::default());
        check_derivatives(&inputs, |v| v[0].apply3(&v[1], &v[2], Shell(Projected(pairs(v)?)))?.powf(2.0));
        check_derivatives(&inputs, |v| v[0].apply3(&v[1], &v[2], Shell(SecondGradient(pairs(v)?)))?.powf(2.0));
    }

    #[test]
    fn channels_without_variance_give_the_bias_and_nan_spreads_in_its_channel_only() {
        let x = Tensor::new(&[[3f32, 1.0], [3.0, f32::NAN]], &candle_core::Device::Cpu).unwrap();
        let (ones, halves) = (x.ones_like().unwrap().get(0).unwrap(), Tensor::new(&[0.5f32, 0.5], x.device()).unwrap());
        let (y, _) = batch_norm_by_batch(&x, &ones, &halves, 1e-5).unwrap();
        let y = y.to_vec2::<f32>().unwrap();
        assert_eq!([y[0][0], y[1][0]], [0.5, 0.5]);
        assert!(y[0][1].is_nan() && y[1][1].is_nan());
    }

    #[test]
    fn weights_that_do_not_fit_are_an_error_that_names_both() {
        let error = batch_norm_by_batch(&random("x", (2, 3)), &random("w", 4), &random("b", 4), 1e-5).unwrap_err();
        assert!(error.to_string().contains("[2, 3]") && error.to_string().contains("[4]"), "{error}");
    }
}
