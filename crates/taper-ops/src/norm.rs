//! Normalization over all but the last dimension, with its statistics as explicit values.
//!
//! Derivatives of any order are made of three operations, each the others' derivative: scale and shift by
//! channel, statistics by channel, and sums of products by channel.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::channels::{self, RowsPerChunk};
use crate::kernels::simd::InstructionSet;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

/// Mean and variance by channel, `(c)` each; the variance is the biased one (divided by n).
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Mean, `(c)`.
    pub mean: Tensor,
    /// Biased variance, `(c)`.
    pub variance: Tensor,
}

/// Mean and variance of `x (…, c)` over everything but the channel, differentiable.
///
/// # Errors
/// Returns an error if the batch is empty, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32], [3.0]], &Device::Cpu)?;
/// let statistics = taper_ops::batch_statistics(&x)?;
/// assert_eq!(statistics.mean.to_vec1::<f32>()?, [2.0]);
/// assert_eq!(statistics.variance.to_vec1::<f32>()?, [1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn batch_statistics(x: &Tensor) -> Result<Statistics> {
    statistics(x, RowsPerChunk::ByChannels)
}

/// [`batch_statistics`], summed over chunks of this many rows.
pub(crate) fn statistics(x: &Tensor, step: RowsPerChunk) -> Result<Statistics> {
    if x.elem_count() == 0 {
        bail!("batch statistics: an empty batch {:?} has no mean", x.dims());
    }
    if composed::needed(x) {
        return composed::batch_statistics(x);
    }
    let packed = x.contiguous()?.apply1(MeanVariance(step))?;
    Ok(Statistics { mean: packed.get(0)?, variance: packed.get(1)? })
}

/// Batch normalization (Ioffe and Szegedy 2015) of `x (…, c)` by given statistics:
/// `(x − mean) / sqrt(variance + eps) · weight + bias`.
///
/// Gradients flow through the statistics if they are tracked: pass [`batch_statistics`] of the batch
/// for training, stored ones for evaluation.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use taper_ops::{batch_norm, batch_statistics};
/// let x = Tensor::new(&[[1f32], [3.0]], &Device::Cpu)?;
/// let (one, zero) = (Tensor::new(&[1f32], &Device::Cpu)?, Tensor::new(&[0f32], &Device::Cpu)?);
/// let y = batch_norm(&x, &batch_statistics(&x)?, &one, &zero, 0.0)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[-1.0], [1.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn batch_norm(x: &Tensor, statistics: &Statistics, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let inverse = (&statistics.variance + eps)?.sqrt()?.recip()?;
    let scale = (weight * inverse)?;
    let shift = (bias - (&statistics.mean * &scale)?)?;
    scale_shift(x, &scale, &shift)
}

/// `x (…, c) · scale (c) + shift (c)`.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let row = |values: [f32; 2]| Tensor::new(&values, &Device::Cpu);
/// let y = taper_ops::scale_shift(&row([1.0, 2.0])?, &row([10.0, 10.0])?, &row([0.5, 0.0])?)?;
/// assert_eq!(y.to_vec1::<f32>()?, [10.5, 20.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn scale_shift(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let c = last(x.dims(), "scale and shift")?;
    if scale.dims() != [c] || shift.dims() != [c] {
        bail!("scale and shift: {:?} does not fit scale {:?} and shift {:?}", x.dims(), scale.dims(), shift.dims());
    }
    if composed::needed(x) {
        return composed::scale_shift(x, scale, shift);
    }
    x.contiguous()?.apply3(&scale.contiguous()?, &shift.contiguous()?, ScaleShift)
}

fn last(dims: &[usize], op: &str) -> Result<usize> {
    match dims.last() {
        Some(&c) if c > 0 => Ok(c),
        _ => bail!("{op}: {dims:?} has no channels"),
    }
}

/// Σ over rows of `x · y`, by channel: `(c)`, summed over chunks of this many rows.
pub(crate) fn channel_dot(x: &Tensor, y: &Tensor, step: RowsPerChunk) -> Result<Tensor> {
    x.contiguous()?.apply2(&y.contiguous()?, ChannelDot(step))
}

/// Σ over rows of `x`, by channel: `(c)`.
fn channel_sum(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply1(ChannelSum)
}

struct ScaleShift;

impl CustomOp3 for ScaleShift {
    fn name(&self) -> &'static str {
        "scale-shift"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        scale: &CpuStorage,
        ls: &Layout,
        shift: &CpuStorage,
        lh: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "scale-shift", scale_shift_kernel(x, lx, scale, ls, shift, lh))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dx = if x.track_op() { Some(scale_shift(gradient, scale, &scale.zeros_like()?)?) } else { None };
        let dscale = if scale.track_op() { Some(channel_dot(gradient, x, RowsPerChunk::ByChannels)?) } else { None };
        let dshift = if shift.track_op() { Some(channel_sum(gradient)?) } else { None };
        Ok((dx, dscale, dshift))
    }
}

fn scale_shift_kernel<T: Element>(
    x: &CpuStorage,
    lx: &Layout,
    scale: &CpuStorage,
    ls: &Layout,
    shift: &CpuStorage,
    lh: &Layout,
) -> Result<(CpuStorage, Shape)> {
    let op = "scale-shift";
    let (x, scale, shift) = (values::<T>(x, lx, op)?, values::<T>(scale, ls, op)?, values::<T>(shift, lh, op)?);
    Ok(stored::<T>(channels::scale_shift(InstructionSet::best(), x, scale, shift), lx.shape().clone()))
}

struct ChannelDot(RowsPerChunk);

impl CustomOp2 for ChannelDot {
    fn name(&self) -> &'static str {
        "channel-dot"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, y: &CpuStorage, ly: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "channel-dot", channel_dot_kernel(x, lx, y, ly, self.0))
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let zeros = gradient.zeros_like()?;
        let dx = if x.track_op() { Some(scale_shift(y, gradient, &zeros)?) } else { None };
        let dy = if y.track_op() { Some(scale_shift(x, gradient, &zeros)?) } else { None };
        Ok((dx, dy))
    }
}

fn channel_dot_kernel<T: Element>(
    x: &CpuStorage,
    lx: &Layout,
    y: &CpuStorage,
    ly: &Layout,
    step: RowsPerChunk,
) -> Result<(CpuStorage, Shape)> {
    let c = last(lx.dims(), "channel-dot")?;
    let (x, y) = (values::<T>(x, lx, "channel-dot")?, values::<T>(y, ly, "channel-dot")?);
    Ok(stored::<T>(narrow(channels::dot(InstructionSet::best(), x, y, c, step)), c))
}

fn narrow<T: Element>(values: Vec<f64>) -> Vec<T> {
    values.into_iter().map(T::of).collect()
}

struct ChannelSum;

impl CustomOp1 for ChannelSum {
    fn name(&self) -> &'static str {
        "channel-sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "channel-sum", channel_sum_kernel(x, lx))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.broadcast_as(x.shape())?.contiguous()?))
    }
}

fn channel_sum_kernel<T: Element>(x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
    let c = last(lx.dims(), "channel-sum")?;
    let x = values::<T>(x, lx, "channel-sum")?;
    Ok(stored::<T>(narrow(channels::sum(InstructionSet::best(), x, c, RowsPerChunk::ByChannels)), c))
}

/// `x (…, c)` to `(2, c)`: mean, then biased variance.
struct MeanVariance(RowsPerChunk);

impl CustomOp1 for MeanVariance {
    fn name(&self) -> &'static str {
        "mean-variance"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "mean-variance", mean_variance_kernel(x, lx, self.0))
    }

    /// With rows m: ∂mean/∂x = 1/m, ∂variance/∂x = 2 (x − mean)/m.
    fn bwd(&self, x: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let rows = (x.elem_count() / last(x.dims(), "mean-variance")?) as f64;
        let scale = (gradient.get(1)? * (2.0 / rows))?;
        let shift = ((gradient.get(0)? / rows)? - (&scale * result.get(0)?)?)?;
        Ok(Some(scale_shift(x, &scale, &shift)?))
    }
}

fn mean_variance_kernel<T: Element>(x: &CpuStorage, lx: &Layout, step: RowsPerChunk) -> Result<(CpuStorage, Shape)> {
    let c = last(lx.dims(), "mean-variance")?;
    let x = values::<T>(x, lx, "mean-variance")?;
    let (mut packed, variance) = channels::mean_variance(InstructionSet::best(), x, c, step);
    packed.extend(variance);
    Ok(stored::<T>(narrow(packed), (2, c)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};

    #[test]
    fn batch_norm_by_its_own_batch_has_right_derivatives() {
        let inputs = [random("x", (2, 3, 2, 5)), random("weight", 5), random("bias", 5)];
        check_gradients(&inputs, |v| batch_norm(&v[0], &batch_statistics(&v[0])?, &v[1], &v[2], 1e-5)?.powf(3.0));
    }

    #[test]
    fn batch_norm_gives_mean_zero_and_variance_one() {
        let x = (random("x", (4, 5, 5, 3)) * 4.0).unwrap().affine(1.0, 30.0).unwrap();
        let (ones, zeros) = (random("w", 3).ones_like().unwrap(), random("w", 3).zeros_like().unwrap());
        let y = batch_norm(&x, &batch_statistics(&x).unwrap(), &ones, &zeros, 0.0).unwrap();
        let after = batch_statistics(&y).unwrap();
        for (mean, variance) in
            after.mean.to_vec1::<f64>().unwrap().iter().zip(after.variance.to_vec1::<f64>().unwrap())
        {
            assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let error = scale_shift(&random("x", (2, 3)), &random("s", 4), &random("s", 4)).unwrap_err();
        assert!(error.to_string().contains("[2, 3]") && error.to_string().contains("[4]"));
    }
}
