//! Pooling, cell by cell of the window.

use super::{cells, every, padded};
use crate::Window;
use candle_core::{Result, Tensor};

/// Cells are compared in their order; beyond the image the nearest one stands in, which is there to
/// be compared already and wins nothing.
pub(crate) fn max_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let (oh, ow) = window.output(h, w, "max pooling")?;
    if x.elem_count() == 0 {
        return Tensor::zeros((n, oh, ow, c), x.dtype(), x.device());
    }
    let inside = |tap: usize, count: usize, size: usize| -> Vec<u32> {
        let cell = |at: usize| (at * window.stride + tap).saturating_sub(window.padding).min(size - 1);
        (0..count).map(|at| cell(at) as u32).collect()
    };
    let under = |tap: usize| cells(x, inside(tap / window.kernel, oh, h), inside(tap % window.kernel, ow, w));
    let mut most = under(0)?;
    for tap in 1..window.kernel * window.kernel {
        let other = under(tap)?;
        let value = other.detach();
        let larger = value.gt(&most.detach())?;
        most = larger.where_cond(&other, &most)?;
        most = value.ne(&value)?.where_cond(&other, &most)?; // NaN
    }
    Ok(most)
}

pub(crate) fn avg_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let (oh, ow) = window.output(h, w, "average pooling")?;
    let mut sum = Tensor::zeros((n, oh, ow, c), x.dtype(), x.device())?;
    if x.elem_count() == 0 {
        return Ok(sum);
    }
    let (x, taps) = (padded(x, window.padding)?, window.kernel * window.kernel);
    for tap in 0..taps {
        let rows = every(tap / window.kernel, window.stride, oh);
        sum = (sum + cells(&x, rows, every(tap % window.kernel, window.stride, ow))?)?;
    }
    sum.affine(1.0 / taps as f64, 0.0)
}
