//! Pooling, cell by cell of the window.

use super::cells;
use crate::Window;
use candle_core::{Result, Tensor};

/// Cells are compared in their order. Outside the image the nearest cell is used, which is compared
/// anyway, so it changes nothing.
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
    let taps = taps(window, (h, oh), (w, ow));
    let under = |(row, column): (usize, usize)| cells(x, inside(row, oh, h), inside(column, ow, w));
    let mut most = under(taps[0])?;
    for &tap in &taps[1..] {
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
    // beyond the image, one row and one column of zeros
    let outside = |at: usize, tap: usize, size: usize| {
        (at * window.stride + tap).checked_sub(window.padding).filter(|&cell| cell < size).unwrap_or(size) as u32
    };
    let x = x.pad_with_zeros(1, 0, 1)?.pad_with_zeros(2, 0, 1)?;
    for (row, column) in taps(window, (h, oh), (w, ow)) {
        let rows = (0..oh).map(|at| outside(at, row, h)).collect();
        let columns = (0..ow).map(|at| outside(at, column, w)).collect();
        sum = (sum + cells(&x, rows, columns)?)?;
    }
    let kernel = window.kernel as f64;
    sum.affine(1.0 / (kernel * kernel), 0.0)
}

/// The window's cells, row by row, that lie on the image in at least one place of the window.
fn taps(window: Window, (h, oh): (usize, usize), (w, ow): (usize, usize)) -> Vec<(usize, usize)> {
    let meeting = |size: usize, outputs: usize| {
        let last = outputs.saturating_sub(1) * window.stride.min(size + 2 * window.padding);
        window.padding.saturating_sub(last)..window.kernel.min(window.padding + size)
    };
    let columns = meeting(w, ow);
    meeting(h, oh).flat_map(|row| columns.clone().map(move |column| (row, column))).collect()
}
