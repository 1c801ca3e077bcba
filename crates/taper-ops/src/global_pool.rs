//! The mean over all pixels of an image.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::simd::{InstructionSet, vectorized};
use crate::tape::Apply;
use crate::threads::for_each_chunk;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

/// The mean over height and width: `(n, h, w, c)` to `(n, c)`.
///
/// # Errors
/// Returns an error if the images have no pixels, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let images = Tensor::ones((2, 7, 7, 3), DType::F32, &Device::Cpu)?;
/// assert_eq!(taper_ops::global_avg_pool(&images)?.dims(), [2, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    if h * w == 0 {
        bail!("global average pooling: an image of {h} by {w} has no mean");
    }
    if n * c == 0 {
        return Tensor::zeros((n, c), x.dtype(), x.device());
    }
    if composed::needed(x) {
        return x.reshape((n, h * w, c))?.mean(1);
    }
    x.contiguous()?.apply1(Mean)
}

vectorized! {
    /// `sums · by`, where `sums` are those of the rows of `x`.
    fn scaled_sums<T: Element>(sums: &mut [T], x: &[T], by: T) {
        let c = sums.len();
        for row in x.chunks_exact(c) {
            for k in 0..c {
                sums[k] += row[k];
            }
        }
        for sum in sums {
            *sum *= by;
        }
    }

    /// Each row of `y` is `row · by`.
    fn repeat_scaled<T: Element>(y: &mut [T], row: &[T], by: T) {
        let c = row.len();
        for y in y.chunks_exact_mut(c) {
            for k in 0..c {
                y[k] = row[k] * by;
            }
        }
    }
}

struct Mean;

impl CustomOp1 for Mean {
    fn name(&self) -> &'static str {
        "global-mean"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, "global-mean", mean(x, layout))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, h, w, _) = x.dims4()?;
        Ok(Some(gradient.contiguous()?.apply1(Spread { h, w })?))
    }
}

fn mean<T: Element>(x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let (n, h, w, c) = layout.shape().dims4()?;
    let x = values::<T>(x, layout, "global-mean")?;
    let mut y = vec![T::ZERO; n * c];
    for_each_chunk(&mut y, c, x.len(), |image, sums| {
        let pixels = &x[image * h * w * c..(image + 1) * h * w * c];
        scaled_sums(InstructionSet::best(), sums, pixels, T::of(1.0 / (h * w) as f64));
    });
    Ok(stored::<T>(y, (n, c)))
}

/// The adjoint of the mean: an equal share for each pixel.
struct Spread {
    h: usize,
    w: usize,
}

impl CustomOp1 for Spread {
    fn name(&self) -> &'static str {
        "global-spread"
    }

    fn cpu_fwd(&self, v: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(v, "global-spread", spread(v, layout, self))
    }

    fn bwd(&self, _v: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.contiguous()?.apply1(Mean)?))
    }
}

fn spread<T: Element>(v: &CpuStorage, layout: &Layout, &Spread { h, w }: &Spread) -> Result<(CpuStorage, Shape)> {
    let (n, c) = layout.shape().dims2()?;
    let v = values::<T>(v, layout, "global-spread")?;
    let mut x = vec![T::ZERO; n * h * w * c];
    let size = x.len();
    for_each_chunk(&mut x, h * w * c, size, |image, pixels| {
        repeat_scaled(InstructionSet::best(), pixels, &v[image * c..(image + 1) * c], T::of(1.0 / (h * w) as f64));
    });
    Ok(stored::<T>(x, (n, h, w, c)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{check_gradients, near, random};

    #[test]
    fn the_mean_over_pixels_has_right_values_and_derivatives() {
        for shape in [(2, 3, 4, 5), (1, 1, 1, 40), (3, 7, 7, 1)] {
            let x = random("x", shape);
            let right = x.mean((1, 2)).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            near(&global_avg_pool(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap(), &right, 1e-12);
            check_gradients(&[x], |v| global_avg_pool(&v[0])?.powf(3.0));
        }
    }
}
