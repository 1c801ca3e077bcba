//! Channels-last, and operations along the channel.

use candle_core::{Result, Tensor};

/// Images `(n, c, h, w)` as activations `(n, h, w, c)`: the one conversion, at a network's entrance.
pub fn channels_last(images: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = images.dims4()?;
    if c == 1 {
        return images.contiguous()?.reshape((n, h, w, 1));
    }
    images.permute((0, 2, 3, 1))?.contiguous()
}

/// `x (…, c) + bias (c)`.
pub fn add_per_channel(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let ones = bias.ones_like()?;
    crate::scale_shift(x, &ones, bias)
}

/// `x (…, c) * scale (c)`.
pub fn multiply_per_channel(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    crate::scale_shift(x, scale, &scale.zeros_like()?)
}
