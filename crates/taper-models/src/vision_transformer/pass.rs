//! The layers of a transformer by their keys, with final weights packed, or with gradients.

use crate::{Mode, PackedWeights, Params, Result};
use candle_core::Tensor;
use std::sync::Arc;
use taper_ops::{
    Activation, Convolution, FoldedNorm, FrozenConvolution, FrozenLinear, Gelu, add_per_channel, channels_last, conv2d,
    gelu, layer_norm, multiply_per_channel, weighted_sum,
};

/// Where a pass takes its parameters from.
pub(super) struct Pass<'a> {
    params: &'a Params,
    packed: Option<Arc<PackedWeights>>,
    eps: f64,
}

/// A linear layer's weight `(o, d)`, and its bias `(o)` if it has one.
pub(super) type Layer = (Tensor, Option<Tensor>);

impl<'a> Pass<'a> {
    pub(super) fn new(params: &'a Params, mode: &Mode, eps: f64) -> Self {
        Self { params, packed: mode.packed.clone(), eps }
    }

    pub(super) fn get(&self, name: &str) -> Result<&'a Tensor> {
        self.params.get(name)
    }

    /// `name.weight` and `name.bias`.
    fn weight_bias(&self, name: &str) -> Result<(Tensor, Tensor)> {
        Ok((self.get(&format!("{name}.weight"))?.clone(), self.get(&format!("{name}.bias"))?.clone()))
    }

    /// The linear layer of that name.
    pub(super) fn layer(&self, name: &str) -> Result<Layer> {
        self.weight_bias(name).map(|(weight, bias)| (weight, Some(bias)))
    }

    pub(super) fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.weight_bias(name)?;
        Ok(layer_norm(x, &weight, &bias, self.eps)?)
    }

    /// A linear layer of rows `x (n, t, 1, d)` after the norm `norm`. `key` names its packed weights.
    pub(super) fn linear_of_norm(
        &self,
        key: &str,
        layer: impl FnOnce() -> Result<Layer>,
        norm: &str,
        x: &Tensor,
    ) -> Result<Tensor> {
        if let Some(packed) = &self.packed {
            return Ok(self.packed_of_norm(packed, key, layer, norm)?.forward(x)?);
        }
        let (weight, bias) = layer()?;
        let bias = bias.map_or_else(|| Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device()), Ok)?;
        linear(&self.norm(norm, x)?, &weight, &bias)
    }

    fn packed_of_norm(
        &self,
        packed: &PackedWeights,
        key: &str,
        layer: impl FnOnce() -> Result<Layer>,
        norm: &str,
    ) -> Result<Arc<FrozenLinear>> {
        packed.linear(key, || {
            let ((weight, bias), (scale, shift)) = (layer()?, self.weight_bias(norm)?);
            let norm = FoldedNorm { weight: &scale, bias: &shift, eps: self.eps };
            Ok(FrozenLinear::new(&weight, bias.as_ref(), Some(norm))?)
        })
    }

    /// A linear layer with LayerScale's factors in its weights.
    fn packed_scaled(&self, packed: &PackedWeights, name: &str, scale: Option<&str>) -> Result<Arc<FrozenLinear>> {
        packed.linear(name, || {
            let (mut weight, mut bias) = self.weight_bias(name)?;
            if let Some(scale) = scale {
                let scale = self.get(scale)?;
                (weight, bias) = (weight.broadcast_mul(&scale.unsqueeze(1)?)?, (bias * scale)?);
            }
            Ok(FrozenLinear::new(&weight, Some(&bias), None)?)
        })
    }

    /// `residual` plus a linear layer of `x (n, t, 1, d)`, times LayerScale's factors `scale (o)` if there are any.
    pub(super) fn add_linear(&self, name: &str, scale: Option<&str>, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        if let Some(packed) = &self.packed {
            return Ok(self.packed_scaled(packed, name, scale)?.forward_add(x, residual)?);
        }
        let (weight, bias) = self.weight_bias(name)?;
        let mut y = linear(x, &weight, &bias)?;
        if let Some(scale) = scale {
            y = multiply_per_channel(&y, self.get(scale)?)?;
        }
        Ok(weighted_sum(1.0, residual, 1.0, &y)?)
    }

    /// `x` plus a perceptron of two linear layers with GELU between them, after the norm `norm`; its result is multiplied
    /// by LayerScale's factors `scale` if there are any.
    pub(super) fn add_perceptron(
        &self,
        [first, second]: [&str; 2],
        norm: &str,
        scale: Option<&str>,
        form: Gelu,
        x: &Tensor,
    ) -> Result<Tensor> {
        let layer = || self.layer(first);
        match &self.packed {
            Some(packed) => {
                let before = self.packed_of_norm(packed, first, layer, norm)?;
                Ok(before.perceptron(self.packed_scaled(packed, second, scale)?.as_ref(), form, x)?)
            }
            None => {
                let hidden = gelu(&self.linear_of_norm(first, layer, norm, x)?, form)?;
                self.add_linear(second, scale, &hidden, x)
            }
        }
    }

    /// The convolution `name` of images `(n, c, h, w)` by patches of a side: `(n, places, 1, d)`.
    pub(super) fn patches(&self, name: &str, side: usize, images: &Tensor) -> Result<Tensor> {
        let x = channels_last(images)?;
        let how = Convolution { stride: side, ..Convolution::default() };
        let weight = self.get(&format!("{name}.weight"))?;
        let bias = self.get(&format!("{name}.bias")).ok();
        let y = match &self.packed {
            Some(packed) => {
                let convolution = packed.convolution(name, || {
                    let none = || Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device());
                    let bias = bias.cloned().map_or_else(none, Ok)?;
                    Ok(FrozenConvolution::new(&x, weight, &bias, how)?)
                })?;
                convolution.forward(&x, None, Activation::Identity)?
            }
            None => {
                let y = conv2d(&x, weight, how)?;
                bias.map_or_else(|| Ok(y.clone()), |bias| add_per_channel(&y, bias))?
            }
        };
        let (n, h, w, d) = y.dims4()?;
        Ok(y.reshape((n, h * w, 1, d))?)
    }
}

/// A linear layer of tokens `x (n, t, 1, d)`, as a convolution of images of one column: a tape does not see through
/// reshaped activations (see `taper_ops::Tape`), and would walk the blocks below again for each.
fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (o, d) = weight.dims2()?;
    Ok(add_per_channel(&conv2d(x, &weight.reshape((o, d, 1, 1))?, Convolution::default())?, bias)?)
}
