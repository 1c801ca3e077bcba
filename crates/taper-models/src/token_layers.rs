//! The layers of transformers, and of networks like them, by their keys: with final weights packed, or with gradients.

use crate::trace::{LinearRows, Operation, Trace, record};
use crate::{Mode, PackedWeights, Params, Result};
use candle_core::Tensor;
use std::sync::Arc;
use taper_ops::{
    Activation, Convolution, FoldedNorm, FrozenConvolution, FrozenLinear, Gelu, add_per_channel, channels_last, conv2d,
    gelu, layer_norm, multiply_per_channel, weighted_sum,
};

/// Where a pass takes its parameters from.
pub(crate) struct TokenPass<'a> {
    params: &'a Params,
    packed: Option<Arc<PackedWeights>>,
    trace: Option<Arc<Trace>>,
    eps: f64,
}

/// A linear layer.
pub(crate) struct Layer {
    /// `(o, d)`.
    pub(crate) weight: Tensor,
    /// `(o)`, if there is one.
    pub(crate) bias: Option<Tensor>,
    /// Where they are from.
    pub(crate) rows: LinearRows,
}

impl<'a> TokenPass<'a> {
    pub(crate) fn new(params: &'a Params, mode: &Mode, eps: f64) -> Self {
        Self { params, packed: mode.packed.clone(), trace: mode.trace.clone(), eps }
    }

    /// `output` of an operation, recorded if the pass is traced.
    pub(crate) fn record(&self, operation: Operation, inputs: &[&Tensor], output: Tensor) -> Result<Tensor> {
        record(&self.trace, operation, inputs, output)
    }

    pub(crate) fn get(&self, name: &str) -> Result<&'a Tensor> {
        self.params.get(name)
    }

    /// `name.weight` and `name.bias`.
    fn weight_bias(&self, name: &str) -> Result<(Tensor, Tensor)> {
        Ok((self.get(&format!("{name}.weight"))?.clone(), self.get(&format!("{name}.bias"))?.clone()))
    }

    /// The linear layer of that name.
    pub(crate) fn layer(&self, name: &str) -> Result<Layer> {
        let (weight, bias) = self.weight_bias(name)?;
        let rows = LinearRows { names: vec![name.to_string()], rows: 0..weight.dim(0)?, bias: true };
        Ok(Layer { weight, bias: Some(bias), rows })
    }

    /// The linear layer of that name, which has no bias.
    pub(crate) fn layer_without_bias(&self, name: &str) -> Result<Layer> {
        let weight = self.get(&format!("{name}.weight"))?.clone();
        let rows = LinearRows { names: vec![name.to_string()], rows: 0..weight.dim(0)?, bias: false };
        Ok(Layer { weight, bias: None, rows })
    }

    pub(crate) fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.weight_bias(name)?;
        let y = layer_norm(x, &weight, &bias, self.eps)?;
        self.record(Operation::LayerNorm { name: name.to_string(), eps: self.eps }, &[x], y)
    }

    /// A linear layer of rows `x (n, t, 1, d)` after the norm `norm`. `key` names its packed weights.
    pub(crate) fn linear_of_norm(
        &self,
        key: &str,
        layer: impl FnOnce() -> Result<Layer>,
        norm: &str,
        x: &Tensor,
    ) -> Result<Tensor> {
        if let Some(packed) = &self.packed {
            return Ok(self.packed_of_norm(packed, key, layer, norm)?.forward(x)?);
        }
        self.linear(layer()?, &self.norm(norm, x)?)
    }

    /// A linear layer of tokens `x (n, t, 1, d)`, as a convolution of images of one column: a tape does not see through
    /// reshaped activations (see `taper_ops::Tape`), and would walk the blocks below again for each.
    fn linear(&self, layer: Layer, x: &Tensor) -> Result<Tensor> {
        let Layer { weight, bias, rows } = layer;
        let bias = bias.map_or_else(|| Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device()), Ok)?;
        let (o, d) = weight.dims2()?;
        let y = add_per_channel(&conv2d(x, &weight.reshape((o, d, 1, 1))?, Convolution::default())?, &bias)?;
        self.record(Operation::TokenLinear(rows), &[x], y)
    }

    fn packed_of_norm(
        &self,
        packed: &PackedWeights,
        key: &str,
        layer: impl FnOnce() -> Result<Layer>,
        norm: &str,
    ) -> Result<Arc<FrozenLinear>> {
        packed.linear(key, || {
            let (Layer { weight, bias, .. }, (scale, shift)) = (layer()?, self.weight_bias(norm)?);
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
    pub(crate) fn add_linear(&self, name: &str, scale: Option<&str>, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        if let Some(packed) = &self.packed {
            return Ok(self.packed_scaled(packed, name, scale)?.forward_add(x, residual)?);
        }
        let mut y = self.linear(self.layer(name)?, x)?;
        if let Some(scale) = scale {
            let scaled = multiply_per_channel(&y, self.get(scale)?)?;
            y = self.record(Operation::LayerScale(scale.to_string()), &[&y], scaled)?;
        }
        self.record(Operation::Add, &[residual, &y], weighted_sum(1.0, residual, 1.0, &y)?)
    }

    /// `residual` plus a perceptron of two linear layers of `x (n, t, 1, d)` with GELU between them, after the norm `norm`;
    /// the perceptron's result is multiplied by LayerScale's factors `scale` if there are any.
    pub(crate) fn add_perceptron(
        &self,
        [first, second]: [&str; 2],
        norm: &str,
        scale: Option<&str>,
        form: Gelu,
        [x, residual]: [&Tensor; 2],
    ) -> Result<Tensor> {
        let layer = || self.layer(first);
        match &self.packed {
            Some(packed) => {
                let before = self.packed_of_norm(packed, first, layer, norm)?;
                Ok(before.perceptron(self.packed_scaled(packed, second, scale)?.as_ref(), form, x, residual)?)
            }
            None => {
                let before = self.linear_of_norm(first, layer, norm, x)?;
                let hidden = self.record(Operation::Gelu(form), &[&before], gelu(&before, form)?)?;
                self.add_linear(second, scale, &hidden, residual)
            }
        }
    }

    /// The convolution `name` of images `(n, c, h, w)` by patches of a side: `(n, places, 1, d)`.
    pub(crate) fn patches(&self, name: &str, side: usize, images: &Tensor) -> Result<Tensor> {
        let how = Convolution { stride: side, ..Convolution::default() };
        let y = self.convolution(name, how, &channels_last(images)?)?;
        let (n, h, w, d) = y.dims4()?;
        let bias = self.get(&format!("{name}.bias")).is_ok();
        let operation = Operation::Patches { name: name.to_string(), bias };
        self.record(operation, &[images], y.reshape((n, h * w, 1, d))?)
    }

    /// The convolution `name` of activations `x (n, h, w, c)`, with its bias if there is one; not recorded.
    pub(crate) fn convolution(&self, name: &str, how: Convolution, x: &Tensor) -> Result<Tensor> {
        let weight = self.get(&format!("{name}.weight"))?;
        let bias = self.get(&format!("{name}.bias")).ok();
        let Some(packed) = &self.packed else {
            let y = conv2d(x, weight, how)?;
            return bias.map_or_else(|| Ok(y.clone()), |bias| Ok(add_per_channel(&y, bias)?));
        };
        let convolution = packed.convolution(name, || {
            let none = || Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device());
            let bias = bias.cloned().map_or_else(none, Ok)?;
            Ok(FrozenConvolution::new(x, weight, &bias, how)?)
        })?;
        Ok(convolution.forward(x, None, Activation::Identity)?)
    }
}
