//! What networks are made of: convolution, batch norm and dropout, by their keys.

use crate::{BatchStatistics, Buffers, Features, Mode, Norm, Params, Result};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use taper_ops::{Convolution, Statistics, batch_norm, batch_norm_by_batch, conv2d};

/// One pass through a network with batch norm: where its tensors come from, and the statistics it
/// gathers on the way.
pub(crate) struct Pass<'a> {
    params: &'a Params,
    buffers: &'a Buffers,
    norm: Norm,
    eps: f64,
    statistics: BatchStatistics,
}

impl<'a> Pass<'a> {
    /// A pass with PyTorch's default for batch norm's ε.
    pub(crate) fn new(params: &'a Params, buffers: &'a Buffers, norm: Norm) -> Self {
        Self { params, buffers, norm, eps: 1e-5, statistics: BatchStatistics::default() }
    }

    /// A convolution without bias, its weight under `name.weight`.
    pub(crate) fn convolution(&self, name: &str, x: &Tensor, how: Convolution) -> Result<Tensor> {
        convolution(self.params, name, x, how)
    }

    /// Batch norm of `x (…, c)`, by the batch's statistics (recorded) or the stored ones.
    pub(crate) fn norm(&mut self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.params.get(&format!("{name}.weight"))?, self.params.get(&format!("{name}.bias"))?);
        match self.norm {
            Norm::Batch => {
                let (y, statistics) = batch_norm_by_batch(x, weight, bias, self.eps)?;
                let rows = x.elem_count() / weight.elem_count();
                self.statistics.record(name, &statistics, rows);
                Ok(y)
            }
            Norm::Stored => {
                let statistics = Statistics {
                    mean: self.buffers.get(&format!("{name}.running_mean"))?.clone(),
                    variance: self.buffers.get(&format!("{name}.running_var"))?.clone(),
                };
                Ok(batch_norm(x, &statistics, weight, bias, self.eps)?)
            }
        }
    }

    /// What the pass has made.
    pub(crate) fn into_features(self, features: Tensor) -> Features {
        Features { features, statistics: self.statistics }
    }
}

/// A convolution without bias, its weight under `name.weight`.
fn convolution(params: &Params, name: &str, x: &Tensor, how: Convolution) -> Result<Tensor> {
    Ok(conv2d(x, params.get(&format!("{name}.weight"))?, how)?)
}

/// A convolution with its bias under `name.bias`.
pub(crate) fn convolution_with_bias(params: &Params, name: &str, x: &Tensor, how: Convolution) -> Result<Tensor> {
    Ok(taper_ops::add_per_channel(&convolution(params, name, x, how)?, params.get(&format!("{name}.bias"))?)?)
}

/// A fully connected layer.
pub(crate) fn linear(params: &Params, name: &str, x: &Tensor) -> Result<Tensor> {
    Ok(taper_ops::linear(x, params.get(&format!("{name}.weight"))?, params.get(&format!("{name}.bias"))?)?)
}

/// Which elements dropout takes together.
#[derive(Clone, Copy)]
pub(crate) enum Drop {
    /// Single ones.
    Elements,
    /// Whole channels of an image, of `(n, h, w, c)` (Tompson et al. 2015).
    Channels,
}

/// Dropout (Srivastava et al. 2014) with probability `p`, the rest scaled up; nothing when the
/// mode has it off.
pub(crate) fn dropout(x: &Tensor, p: f64, what: Drop, mode: &mut Mode) -> Result<Tensor> {
    let Some(chance) = mode.dropout.as_mut() else { return Ok(x.clone()) };
    let shape = match (what, x.dims()) {
        (Drop::Channels, &[n, _, _, c]) => vec![n, 1, 1, c],
        _ => x.dims().to_vec(),
    };
    let kept = (1.0 / (1.0 - p)) as f32;
    let mask: Vec<f32> =
        (0..shape.iter().product()).map(|_| if chance.random::<f64>() < p { 0.0 } else { kept }).collect();
    let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?.to_dtype(x.dtype())?;
    Ok(x.broadcast_mul(&mask)?)
}

/// `(n, h, w, c)` to `(n, c·h·w)`, PyTorch's order of flattening.
pub(crate) fn flatten(x: &Tensor) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    if h * w == 1 {
        return Ok(x.flatten_from(1)?);
    }
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?)
}
