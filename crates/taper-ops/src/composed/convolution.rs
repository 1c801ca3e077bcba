//! Convolution: for each tap of the kernel a matrix product of the cells under it.

use super::{cells, every, padded, relu, relu6};
use crate::convolution::{Convolution, geometry::Geometry};
use crate::kernels::tile::Activation;
use candle_core::{Result, Tensor};

pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, how: Convolution) -> Result<Tensor> {
    let g = Geometry::new(x.dims(), weight.dims(), how)?;
    let mut y = Tensor::zeros((how.groups, g.n * g.oh * g.ow, g.group_outputs()), x.dtype(), x.device())?;
    if g.n == 0 {
        return y.reshape(g.outputs());
    }
    let x = padded(x, how.padding)?;
    let taps = weight.reshape((how.groups, g.group_outputs(), g.group_inputs(), g.taps()))?.permute((3, 0, 2, 1))?;
    for tap in 0..g.taps() {
        let (rows, columns) = (every(tap / g.kw, how.stride, g.oh), every(tap % g.kw, how.stride, g.ow));
        let under = cells(&x, rows, columns)?.reshape((g.n * g.oh * g.ow, how.groups, g.group_inputs()))?;
        y = (y + under.transpose(0, 1)?.contiguous()?.matmul(&taps.get(tap)?.contiguous()?)?)?;
    }
    y.transpose(0, 1)?.contiguous()?.reshape(g.outputs())
}

/// `conv2d` with `bias (o)`, plus a residual, activated: a value without gradient.
pub(crate) fn frozen_convolution(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    how: Convolution,
    residual: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let mut y = conv2d(&x.detach(), weight, how)?.broadcast_add(bias)?;
    if let Some(residual) = residual {
        y = (y + residual.detach())?;
    }
    match activation {
        Activation::Identity => Ok(y),
        Activation::Relu => relu(&y),
        Activation::Relu6 => relu6(&y),
    }
}
