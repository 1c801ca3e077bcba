//! Max and average pooling of `(n, h, w, c)`, at any size, stride and padding, with correct first
//! and second derivatives (candle 0.11's are wrong or missing).

use crate::composed;
use crate::convolution::Convolution;
use crate::element::{Element, by_type, elements, stored, values};
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
    /// Cells on a side.
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
        let how = Convolution { stride: self.stride, padding: self.padding, groups: 1 };
        match (how.side(h, self.kernel), how.side(w, self.kernel)) {
            (Some((_, oh)), Some((_, ow))) if h * w > 0 && self.padding <= self.kernel / 2 => Ok((oh, ow)),
            _ => bail!("{op}: a {self:?} does not fit an image of {h} by {w}"),
        }
    }

    /// The share of each cell in a window's mean.
    fn share(&self) -> f64 {
        let kernel = self.kernel as f64;
        1.0 / (kernel * kernel)
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
/// Padding is never the largest; of equal values the first gets the gradient, as in PyTorch.
///
/// # Errors
/// Returns an error if the window does not fit the images, or if the result would not fit in memory.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use taper_ops::{Window, max_pool2d};
/// let image = Tensor::new(&[1f32, 4.0, 2.0, 3.0], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// let largest = max_pool2d(&image, Window::tiled(2))?;
/// assert_eq!(largest.flatten_all()?.to_vec1::<f32>()?, [4.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn max_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let (oh, ow) = window.output(h, w, "max pooling")?;
    elements("max pooling", &[n, oh, ow, c])?;
    if composed::needed(x) {
        return composed::max_pool2d(x, window);
    }
    x.contiguous()?.apply1(MaxPool { window, indices: Arc::default() })
}

/// The mean under each window: `(n, h, w, c)` to `(n, oh, ow, c)`; padding counts as zeros, as in
/// PyTorch's default.
///
/// # Errors
/// Returns an error if the window does not fit the images, or if the result would not fit in memory.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use taper_ops::{Window, avg_pool2d};
/// let image = Tensor::new(&[1f32, 4.0, 2.0, 3.0], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// let mean = avg_pool2d(&image, Window::tiled(2))?;
/// assert_eq!(mean.flatten_all()?.to_vec1::<f32>()?, [2.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn avg_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    let (oh, ow) = window.output(h, w, "average pooling")?;
    elements("average pooling", &[n, oh, ow, c])?;
    if composed::needed(x) {
        return composed::avg_pool2d(x, window);
    }
    x.contiguous()?.apply1(AvgPool { window })
}

/// The cell that each value comes from, once the forward pass has run.
pub(crate) type PoolIndices = Arc<OnceLock<pool::Indices>>;

struct MaxPool {
    window: Window,
    indices: PoolIndices,
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "max-pool", max_pool_kernel(x, layout, self))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(scatter(gradient, &self.indices, x.shape(), gradient.shape())?))
    }
}

fn max_pool_kernel<T: Element>(x: &CpuStorage, layout: &Layout, op: &MaxPool) -> Result<(CpuStorage, Shape)> {
    let sizes @ (n, h, w, c) = layout.shape().dims4()?;
    let (oh, ow) = op.window.output(h, w, "max-pool")?;
    let x = values::<T>(x, layout, "max-pool")?;
    let (y, indices) = pool::max(InstructionSet::best(), x, sizes, op.window, None)?;
    let _ = op.indices.set(indices);
    Ok(stored::<T>(y, (n, oh, ow, c)))
}

/// Adds each value of `v` to the cell that it comes from.
pub(crate) fn scatter(v: &Tensor, indices: &PoolIndices, larger: &Shape, smaller: &Shape) -> Result<Tensor> {
    let op = Scatter { indices: indices.clone(), larger: larger.clone(), smaller: smaller.clone() };
    v.contiguous()?.apply1(op)
}

/// The value of `v` at each window's largest cell; zero if no cell was positive.
pub(crate) fn gather(v: &Tensor, indices: &PoolIndices, larger: &Shape, smaller: &Shape) -> Result<Tensor> {
    let op = Gather { indices: indices.clone(), larger: larger.clone(), smaller: smaller.clone() };
    v.contiguous()?.apply1(op)
}

/// Adds each value to the cell that it comes from; its adjoint is [`Gather`].
struct Scatter {
    indices: PoolIndices,
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
        Ok(Some(gather(gradient, &self.indices, &self.larger, &self.smaller)?))
    }
}

fn scatter_kernel<T: Element>(v: &CpuStorage, layout: &Layout, op: &Scatter) -> Result<(CpuStorage, Shape)> {
    let v = values::<T>(v, layout, "max-pool-scatter")?;
    let mut x = vec![T::ZERO; op.larger.elem_count()];
    for (&index, &value) in pool_indices(&op.indices)?.among(x.len())?.iter().zip(v) {
        if index != NOTHING {
            x[index as usize] += value;
        }
    }
    Ok(stored::<T>(x, op.larger.clone()))
}

/// Reads each window's largest cell.
struct Gather {
    indices: PoolIndices,
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
        Ok(Some(scatter(gradient, &self.indices, &self.larger, &self.smaller)?))
    }
}

fn gather_kernel<T: Element>(v: &CpuStorage, layout: &Layout, op: &Gather) -> Result<(CpuStorage, Shape)> {
    let v = values::<T>(v, layout, "max-pool-gather")?;
    let value = |&index: &u32| if index == NOTHING { T::ZERO } else { v[index as usize] };
    let y = pool_indices(&op.indices)?.among(v.len())?.iter().map(value).collect();
    Ok(stored::<T>(y, op.smaller.clone()))
}

/// The indices; an error before the forward pass.
pub(crate) fn pool_indices(indices: &PoolIndices) -> Result<&pool::Indices> {
    match indices.get() {
        Some(indices) => Ok(indices),
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
    let share = T::of(window.share());
    let mut y = vec![T::ZERO; n * oh * ow * c];
    if c == 0 {
        return Ok(stored::<T>(y, (n, oh, ow, c)));
    }
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
    let share = T::of(op.window.share());
    let mut x = vec![T::ZERO; op.larger.elem_count()];
    if c == 0 {
        return Ok(stored::<T>(x, op.larger.clone()));
    }
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
    use crate::global_avg_pool;
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
    fn absurd_windows_are_errors_that_name_them() {
        let x = random("x", (1, 3, 3, 1));
        for (kernel, stride, padding) in [
            (1, 1, usize::MAX),
            (usize::MAX, 1, usize::MAX / 2),
            (1 << 40, 1, 1 << 39),
            (2, 0, 0),
            (0, 1, 0),
            (4, 1, 3),
        ] {
            for pool in [max_pool2d, avg_pool2d] {
                let error = pool(&x, Window { kernel, stride, padding }).unwrap_err().to_string();
                assert!(error.contains("pooling: a Window") && error.contains("3 by 3"), "{error}");
            }
        }
    }

    #[test]
    fn a_window_far_larger_than_the_image_takes_all_of_it() {
        let x = random("x", (1, 1, 1, 2));
        let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let window = Window { kernel: 2_000_000, stride: 1, padding: 1_000_000 };
        let run = || (max_pool2d(&x, window).unwrap(), avg_pool2d(&x, window).unwrap());
        for (largest, mean) in [run(), composed::without_kernels(run)] {
            assert_eq!(list(&largest), list(&x).repeat(4));
            let right: Vec<f64> = list(&x).into_iter().map(|v| v / 4e12).collect();
            crate::test_support::near(&list(&mean), &right.repeat(4), 1e-12);
        }
        let far = Window { kernel: 1, stride: usize::MAX, padding: 0 };
        assert_eq!(max_pool2d(&random("x", (1, 5, 5, 1)), far).unwrap().dims(), [1, 1, 1, 1]);
    }

    #[test]
    fn images_without_channels_and_batches_without_images_keep_their_shapes_both_ways() {
        for (n, c) in [(0, 3), (2, 0), (0, 0)] {
            for f in [max_pool2d, avg_pool2d] {
                let x = candle_core::Var::from_tensor(&random("x", (n, 5, 4, c))).unwrap();
                let y = f(&x, Window::tiled(2)).unwrap();
                assert_eq!(y.dims(), [n, 2, 2, c]);
                let gradient = y.sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
                assert_eq!(gradient.dims(), x.dims());
            }
            assert_eq!(global_avg_pool(&random("x", (n, 5, 4, c))).unwrap().dims(), [n, c]);
        }
        for window in [Window::tiled(2), Window { kernel: 2, stride: 1, padding: 1 }] {
            assert!(max_pool2d(&random("x", (2, 0, 4, 1)), window).is_err(), "no cell is the largest of none");
        }
    }

    #[test]
    fn a_window_larger_than_the_image_is_an_error() {
        assert!(max_pool2d(&random("x", (1, 2, 2, 1)), Window::tiled(3)).is_err());
    }
}
