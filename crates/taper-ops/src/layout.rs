//! Channels-last, and operations along the channel.

#![allow(unsafe_code)]

use crate::composed;
use crate::element::{stored, values};
use crate::kernels::buffer::in_parts;
use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

/// Images `(n, c, h, w)` as activations `(n, h, w, c)`: the one conversion, before the first layer.
///
/// # Errors
/// Returns an error if `images` does not have four dimensions.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let images = Tensor::zeros((2, 3, 28, 20), DType::F32, &Device::Cpu)?;
/// assert_eq!(taper_ops::channels_last(&images)?.dims(), [2, 28, 20, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn channels_last(images: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = images.dims4()?;
    if c == 1 {
        return images.contiguous()?.reshape((n, h, w, 1));
    }
    if images.track_op() || images.dtype() != DType::F32 || images.elem_count() == 0 || composed::needed(images) {
        return images.permute((0, 2, 3, 1))?.contiguous();
    }
    images.contiguous()?.apply_op1_no_bwd(&Interleave)
}

/// The conversion itself, row by row on all threads.
struct Interleave;

impl CustomOp1 for Interleave {
    fn name(&self) -> &'static str {
        "channels-last"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        let x = values::<f32>(x, layout, self.name())?;
        let y = in_parts(
            n * h * w * c,
            w * c,
            |start, mut row| {
                let (image, line) = (start / (w * c) / h, start / (w * c) % h);
                // SAFETY: every channel of every pixel of the row is written.
                let (slots, proof) = unsafe { row.slots() };
                for channel in 0..c {
                    let values = &x[((image * c + channel) * h + line) * w..][..w];
                    for (slot, &value) in slots[channel..].iter_mut().step_by(c).zip(values) {
                        slot.write(value);
                    }
                }
                proof
            },
            |_, _| {},
        );
        Ok(stored::<f32>(y, (n, h, w, c)))
    }
}

/// `x (…, c) + bias (c)`.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let y = taper_ops::add_per_channel(&x, &Tensor::new(&[10f32, 20.0], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[11.0, 22.0], [13.0, 24.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn add_per_channel(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let ones = bias.ones_like()?;
    crate::scale_shift(x, &ones, bias)
}

/// `x (…, c) * scale (c)`.
///
/// # Errors
/// Returns an error if the shapes do not fit, or if the type is neither f32 nor f64.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let y = taper_ops::multiply_per_channel(&x, &Tensor::new(&[10f32, 0.5], &Device::Cpu)?)?;
/// assert_eq!(y.to_vec2::<f32>()?, [[10.0, 1.0], [30.0, 2.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn multiply_per_channel(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    crate::scale_shift(x, scale, &scale.zeros_like()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{numbers, surrounded};
    use candle_core::Device;

    #[test]
    fn every_pixel_keeps_its_channels() {
        for (n, c, h, w) in [(2, 3, 5, 7), (1, 20, 4, 3), (3, 1, 2, 2), (0, 3, 4, 4), (2, 3, 0, 4)] {
            let images = Tensor::from_vec(numbers("x", n * c * h * w), (n, c, h, w), &Device::Cpu).unwrap();
            let list = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let right = images.permute((0, 2, 3, 1)).unwrap();
            for images in [&images, &surrounded(&images)] {
                let ours = channels_last(images).unwrap();
                assert_eq!((ours.dims(), list(&ours)), (right.dims(), list(&right)));
            }
        }
    }
}
