//! Max and average pooling of `(n, h, w, c)`, at any size, stride and padding, with right first
//! and second derivatives (candle 0.11's are wrong or missing).

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::pool::{self, NOTHING};
use crate::kernels::simd::InstructionSet;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// A pooling window: a square of `kernel` cells every `stride` cells, over an image padded by
/// `padding` cells on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Cells a side.
    pub kernel: usize,
    /// Cells between windows.
    pub stride: usize,
    /// Cells of padding on each side, at most half the kernel.
    pub padding: usize,
}

impl Window {
    /// Windows side by side: stride = kernel, no padding.
    pub fn tiled(kernel: usize) -> Self {
        Self { kernel, stride: kernel, padding: 0 }
    }

    pub(crate) fn output(&self, h: usize, w: usize, op: &str) -> Result<(usize, usize)> {
        let side = |size: usize| {
            (size + 2 * self.padding)
                .checked_sub(self.kernel)
                .filter(|_| self.stride > 0)
                .map(|free| free / self.stride + 1)
        };
        match (side(h), side(w)) {
            (Some(oh), Some(ow)) if self.kernel > 0 && self.padding * 2 <= self.kernel => Ok((oh, ow)),
            _ => bail!("{op}: a {self:?} does not fit an image of {h} by {w}"),
        }
    }

    /// The image's cells under the window at `(row, column)` of the output: ranges of rows and columns.
    #[inline]
    pub(crate) fn cells(
        &self,
        row: usize,
        column: usize,
        h: usize,
        w: usize,
    ) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let span = |at: usize, size: usize| {
            let start = at * self.stride;
            start.saturating_sub(self.padding)..(start + self.kernel).saturating_sub(self.padding).min(size)
        };
        (span(row, h), span(column, w))
    }
}

/// The largest value under each window, channel by channel: `(n, h, w, c)` to `(n, oh, ow, c)`.
/// Padding never wins; of equal values the first wins, and gets the gradient, as in PyTorch.
pub fn max_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    window.output(h, w, "max pooling")?;
    if composed::needed(x) {
        return composed::max_pool2d(x, window);
    }
    x.contiguous()?.apply1(MaxPool { window, winners: Arc::default() })
}

/// The mean under each window; padding counts as zeros, as in PyTorch's default.
pub fn avg_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    window.output(h, w, "average pooling")?;
    if composed::needed(x) {
        return composed::avg_pool2d(x, window);
    }
    x.contiguous()?.apply1(AvgPool { window })
}

/// The mean over height and width: `(n, h, w, c)` to `(n, c)`.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    if h * w == 0 {
        bail!("global average pooling: an image of {h} by {w} has no mean");
    }
    x.reshape((n, h * w, c))?.mean(1)
}

/// What won, once the forward pass has run.
pub(crate) type Winners = Arc<OnceLock<pool::Winners>>;

struct MaxPool {
    window: Window,
    winners: Winners,
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "max-pool", max_pool_kernel(x, layout, self))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(scatter(gradient, &self.winners, x.shape(), gradient.shape())?))
    }
}

fn max_pool_kernel<T: Element>(x: &CpuStorage, layout: &Layout, op: &MaxPool) -> Result<(CpuStorage, Shape)> {
    let sizes @ (n, h, w, c) = layout.shape().dims4()?;
    let (oh, ow) = op.window.output(h, w, "max-pool")?;
    let x = values::<T>(x, layout, "max-pool")?;
    let (y, winners) = pool::max(InstructionSet::best(), x, sizes, op.window, None)?;
    let _ = op.winners.set(winners);
    Ok(stored::<T>(y, (n, oh, ow, c)))
}

/// Each value of `v` added to the cell that won.
pub(crate) fn scatter(v: &Tensor, winners: &Winners, larger: &Shape, smaller: &Shape) -> Result<Tensor> {
    let op = Scatter { winners: winners.clone(), larger: larger.clone(), smaller: smaller.clone() };
    v.contiguous()?.apply1(op)
}

/// The value of `v` at each window's winning cell; zero where nothing won.
pub(crate) fn gather(v: &Tensor, winners: &Winners, larger: &Shape, smaller: &Shape) -> Result<Tensor> {
    let op = Gather { winners: winners.clone(), larger: larger.clone(), smaller: smaller.clone() };
    v.contiguous()?.apply1(op)
}

/// Adds each value to the cell that won; its adjoint is [`Gather`].
struct Scatter {
    winners: Winners,
    larger: Shape,
    smaller: Shape,
}

impl CustomOp1 for Scatter {
    fn name(&self) -> &'static str {
        "max-pool-scatter"
    }

    fn cpu_fwd(&self, v: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(v, "max-pool-scatter", scatter_kernel(v, layout, self))
    }

    fn bwd(&self, _v: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gather(gradient, &self.winners, &self.larger, &self.smaller)?))
    }
}

fn scatter_kernel<T: Element>(v: &CpuStorage, layout: &Layout, op: &Scatter) -> Result<(CpuStorage, Shape)> {
    let v = values::<T>(v, layout, "max-pool-scatter")?;
    let mut x = vec![T::ZERO; op.larger.elem_count()];
    for (&winner, &value) in won(&op.winners)?.among(x.len())?.iter().zip(v) {
        if winner != NOTHING {
            x[winner as usize] += value;
        }
    }
    Ok(stored::<T>(x, op.larger.clone()))
}

/// Reads each window's winning cell.
struct Gather {
    winners: Winners,
    larger: Shape,
    smaller: Shape,
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "max-pool-gather"
    }

    fn cpu_fwd(&self, v: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(v, "max-pool-gather", gather_kernel(v, layout, self))
    }

    fn bwd(&self, _v: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(scatter(gradient, &self.winners, &self.larger, &self.smaller)?))
    }
}

fn gather_kernel<T: Element>(v: &CpuStorage, layout: &Layout, op: &Gather) -> Result<(CpuStorage, Shape)> {
    let v = values::<T>(v, layout, "max-pool-gather")?;
    let value = |&winner: &u32| if winner == NOTHING { T::ZERO } else { v[winner as usize] };
    let y = won(&op.winners)?.among(v.len())?.iter().map(value).collect();
    Ok(stored::<T>(y, op.smaller.clone()))
}

/// The winners, once there are any.
pub(crate) fn won(winners: &Winners) -> Result<&pool::Winners> {
    match winners.get() {
        Some(winners) => Ok(winners),
        None => bail!("max-pool: its backward pass ran before its forward pass"),
    }
}

struct AvgPool {
    window: Window,
}

impl CustomOp1 for AvgPool {
    fn name(&self) -> &'static str {
        "avg-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "avg-pool", avg_pool_kernel(x, layout, self.window))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let spread = Spread { window: self.window, larger: x.shape().clone() };
        Ok(Some(gradient.contiguous()?.apply1(spread)?))
    }
}

fn avg_pool_kernel<T: Element>(x: &CpuStorage, layout: &Layout, window: Window) -> Result<(CpuStorage, Shape)> {
    let (n, h, w, c) = layout.shape().dims4()?;
    let (oh, ow) = window.output(h, w, "avg-pool")?;
    let x = values::<T>(x, layout, "avg-pool")?;
    let share = T::of(1.0 / (window.kernel * window.kernel) as f64);
    let mut y = vec![T::ZERO; n * oh * ow * c];
    for (pixel, y) in y.chunks_exact_mut(c).enumerate() {
        let (image, row, column) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
        let (rows, columns) = window.cells(row, column, h, w);
        for i in rows {
            for j in columns.clone() {
                let start = ((image * h + i) * w + j) * c;
                for (y, &x) in y.iter_mut().zip(&x[start..start + c]) {
                    *y += x * share;
                }
            }
        }
    }
    Ok(stored::<T>(y, (n, oh, ow, c)))
}

/// The adjoint of average pooling: each value spread evenly under its window.
struct Spread {
    window: Window,
    larger: Shape,
}

impl CustomOp1 for Spread {
    fn name(&self) -> &'static str {
        "avg-pool-spread"
    }

    fn cpu_fwd(&self, v: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(v, "avg-pool-spread", spread_kernel(v, layout, self))
    }

    fn bwd(&self, _v: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.contiguous()?.apply1(AvgPool { window: self.window })?))
    }
}

fn spread_kernel<T: Element>(v: &CpuStorage, layout: &Layout, op: &Spread) -> Result<(CpuStorage, Shape)> {
    let (_, h, w, c) = op.larger.dims4()?;
    let (oh, ow) = op.window.output(h, w, "avg-pool-spread")?;
    let v = values::<T>(v, layout, "avg-pool-spread")?;
    let share = T::of(1.0 / (op.window.kernel * op.window.kernel) as f64);
    let mut x = vec![T::ZERO; op.larger.elem_count()];
    for (pixel, v) in v.chunks_exact(c).enumerate() {
        let (image, row, column) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
        let (rows, columns) = op.window.cells(row, column, h, w);
        for i in rows {
            for j in columns.clone() {
                let start = ((image * h + i) * w + j) * c;
                for (x, &v) in x[start..start + c].iter_mut().zip(v) {
                    *x += v * share;
                }
            }
        }
    }
    Ok(stored::<T>(x, op.larger.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, random};
    use proptest::prelude::*;

    fn window() -> impl Strategy<Value = Window> {
        (1usize..4, 1usize..4).prop_flat_map(|(kernel, stride)| {
            (0..=kernel / 2).prop_map(move |padding| Window { kernel, stride, padding })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn pooling_has_right_derivatives_at_every_size(n in 0usize..3, h in 3usize..8, w in 3usize..8, c in 1usize..4, window in window()) {
            prop_assume!(n > 0);
            let x = random("pooled", (n, h, w, c));
            check_gradients(std::slice::from_ref(&x), |v| max_pool2d(&v[0], window)?.powf(3.0));
            check_gradients(&[x], |v| avg_pool2d(&v[0], window)?.powf(3.0));
        }
    }

    #[test]
    fn max_pooling_reads_the_right_cells() {
        let x = Tensor::arange(0f32, 25.0, &candle_core::Device::Cpu).unwrap().reshape((1, 5, 5, 1)).unwrap();
        let y = max_pool2d(&x, Window { kernel: 3, stride: 2, padding: 1 }).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [6., 8., 9., 16., 18., 19., 21., 23., 24.]);
    }

    #[test]
    fn a_window_larger_than_the_image_is_an_error() {
        assert!(max_pool2d(&random("x", (1, 2, 2, 1)), Window::tiled(3)).is_err());
    }
}
