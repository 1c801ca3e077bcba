//! Channels-last, and operations along the channel.

use candle_core::{Result, Tensor};

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
    images.permute((0, 2, 3, 1))?.contiguous()
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
