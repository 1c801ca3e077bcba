//! Normalization by channel, and what the kernels fuse with it.

use super::{max_pool2d, relu};
use crate::norm::Statistics;
use crate::select::Epilogue;
use candle_core::{D, Result, Tensor};

pub(crate) fn batch_statistics(x: &Tensor) -> Result<Statistics> {
    let c = x.dim(D::Minus1)?;
    let rows = x.reshape((x.elem_count() / c, c))?;
    let mean = rows.mean(0)?;
    let variance = rows.broadcast_sub(&mean)?.sqr()?.mean(0)?;
    Ok(Statistics { mean, variance })
}

pub(crate) fn scale_shift(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    x.broadcast_mul(scale)?.broadcast_add(shift)
}

pub(crate) fn batch_norm_by_batch(
    x: &Tensor,
    statistics: &Statistics,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let inverse = (&statistics.variance + eps)?.sqrt()?.recip()?;
    scale_shift(&x.broadcast_sub(&statistics.mean)?, &(weight * inverse)?, bias)
}

/// `conv_norm` of the convolution's result.
pub(crate) fn conv_norm(
    hidden: &Tensor,
    (scale, shift): (&Tensor, &Tensor),
    eps: f64,
    epilogue: Epilogue,
) -> Result<(Tensor, Statistics)> {
    let (y, statistics) = crate::batch_norm_by_batch(hidden, scale, shift, eps)?;
    let y = match epilogue {
        Epilogue::Nothing => y,
        Epilogue::Relu => relu(&y)?,
        Epilogue::ReluPool(window) => max_pool2d(&relu(&y)?, window)?,
    };
    Ok((y, statistics))
}
