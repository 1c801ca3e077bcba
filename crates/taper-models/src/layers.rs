//! The layers of networks by their keys: convolution, batch norm and dropout.

use crate::{BatchStatistics, Buffers, Features, Mode, Norm, PackedWeights, Params, Result};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use std::sync::Arc;
use taper_ops::{
    Convolution, Epilogue, FrozenConvolution, Statistics, Window, add_relu, batch_norm, conv_norm, conv2d,
    fold_batch_norm, max_pool2d, relu, relu6,
};

/// One pass through a network with batch norm: where its tensors come from, and the statistics that it
/// collects.
pub(crate) struct Pass<'a> {
    params: &'a Params,
    buffers: &'a Buffers,
    norm: Norm,
    packed: Option<Arc<PackedWeights>>,
    eps: f64,
    statistics: BatchStatistics,
}

/// What follows a convolution's norm.
#[derive(Clone, Copy)]
pub(crate) enum LayerEpilogue<'a> {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// ReLU, at most 6.
    Relu6,
    /// The sum with a residual branch, then ReLU.
    AddRelu(&'a Tensor),
    /// ReLU, then max pooling.
    ReluPool(Window),
}

impl LayerEpilogue<'_> {
    /// The part of it that needs no other branch.
    fn epilogue(self) -> Epilogue {
        match self {
            Self::Nothing | Self::Relu6 | Self::AddRelu(_) => Epilogue::Nothing,
            Self::Relu => Epilogue::Relu,
            Self::ReluPool(window) => Epilogue::ReluPool(window),
        }
    }
}

impl<'a> Pass<'a> {
    /// A pass with PyTorch's default for batch norm's ε.
    pub(crate) fn new(params: &'a Params, buffers: &'a Buffers, mode: &Mode) -> Self {
        let (norm, packed) = (mode.norm, mode.packed.clone());
        Self { params, buffers, norm, packed, eps: 1e-5, statistics: BatchStatistics::default() }
    }

    /// A convolution without bias, its weight under `convolution.weight`, batch norm, and what follows.
    pub(crate) fn layer(
        &mut self,
        (convolution, norm): (&str, &str),
        x: &Tensor,
        how: Convolution,
        then: LayerEpilogue,
    ) -> Result<Tensor> {
        if let (Some(packed), Norm::Stored) = (self.packed.clone(), self.norm) {
            return self.packed_layer(&packed, (convolution, norm), x, how, then);
        }
        let weight = self.params.get(&format!("{convolution}.weight"))?;
        let (scale, shift) = self.scale_shift(norm)?;
        let y = match self.norm {
            Norm::Batch => {
                let (y, statistics) = conv_norm(x, weight, how, (scale, shift), self.eps, then.epilogue())?;
                let rows = y.dim(0)? * how.output(x.dim(1)?, weight.dim(2)?) * how.output(x.dim(2)?, weight.dim(3)?);
                self.statistics.record(norm, &statistics, rows);
                y
            }
            Norm::Stored => {
                let y = batch_norm(&conv2d(x, weight, how)?, &self.stored(norm)?, scale, shift, self.eps)?;
                match then.epilogue() {
                    Epilogue::Nothing => y,
                    Epilogue::Relu => relu(&y)?,
                    Epilogue::ReluPool(window) => relu(&max_pool2d(&y, window)?)?,
                }
            }
        };
        Ok(match then {
            LayerEpilogue::Relu6 => relu6(&y)?,
            LayerEpilogue::AddRelu(residual) => add_relu(&y, residual)?,
            _ => y,
        })
    }

    /// The same with the norm folded into weights that are packed on first use.
    fn packed_layer(
        &self,
        packed: &PackedWeights,
        (convolution, norm): (&str, &str),
        x: &Tensor,
        how: Convolution,
        then: LayerEpilogue,
    ) -> Result<Tensor> {
        let frozen = packed.get_or_pack(convolution, || {
            let weight = self.params.get(&format!("{convolution}.weight"))?;
            let (scale, shift) = self.scale_shift(norm)?;
            let (folded, bias) = fold_batch_norm(weight, &self.stored(norm)?, scale, shift, self.eps)?;
            Ok(FrozenConvolution::new(x, &folded, &bias, how)?)
        })?;
        Ok(match then {
            LayerEpilogue::Nothing => frozen.forward(x, None, false)?,
            LayerEpilogue::Relu => frozen.forward(x, None, true)?,
            LayerEpilogue::Relu6 => relu6(&frozen.forward(x, None, false)?)?,
            LayerEpilogue::AddRelu(residual) => frozen.forward(x, Some(residual), true)?,
            LayerEpilogue::ReluPool(window) => max_pool2d(&frozen.forward(x, None, true)?, window)?,
        })
    }

    /// The same pass with another ε.
    pub(crate) fn with_eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    fn scale_shift(&self, name: &str) -> Result<(&'a Tensor, &'a Tensor)> {
        Ok((self.params.get(&format!("{name}.weight"))?, self.params.get(&format!("{name}.bias"))?))
    }

    fn stored(&self, name: &str) -> Result<Statistics> {
        Ok(Statistics {
            mean: self.buffers.get(&format!("{name}.running_mean"))?.clone(),
            variance: self.buffers.get(&format!("{name}.running_var"))?.clone(),
        })
    }

    /// The output of the pass.
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

/// Which elements are dropped together.
#[derive(Clone, Copy)]
pub(crate) enum Drop {
    /// Single ones.
    Elements,
    /// Whole channels of an image, of `(n, h, w, c)` (Tompson et al. 2015).
    Channels,
}

/// Dropout (Srivastava et al. 2014) with probability `p`, the rest scaled up; does nothing if the
/// mode has no dropout.
pub(crate) fn dropout(x: &Tensor, p: f64, what: Drop, mode: &mut Mode) -> Result<Tensor> {
    let Some(rng) = mode.dropout.as_mut() else { return Ok(x.clone()) };
    let shape = match (what, x.dims()) {
        (Drop::Channels, &[n, _, _, c]) => vec![n, 1, 1, c],
        _ => x.dims().to_vec(),
    };
    let kept = (1.0 / (1.0 - p)) as f32;
    let mask: Vec<f32> =
        (0..shape.iter().product()).map(|_| if rng.random::<f64>() < p { 0.0 } else { kept }).collect();
    let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?.to_dtype(x.dtype())?;
    Ok(x.broadcast_mul(&mask)?)
}

/// DropBlock (Ghiasi, Lin and Le 2018, algorithm 1): squares of `side` of a channel of an image
/// `(n, h, w, c)` are dropped together, a share `p` of everything, the rest scaled up; does nothing if
/// the mode has no dropout.
pub(crate) fn drop_block(x: &Tensor, p: f64, side: usize, mode: &mut Mode) -> Result<Tensor> {
    let Some(rng) = mode.dropout.as_mut() else { return Ok(x.clone()) };
    let (n, h, w, c) = x.dims4()?;
    let side = side.min(h).min(w);
    let (rows, columns) = (h - side + 1, w - side + 1);
    // eq. 1: enough corners to drop a share p
    let gamma = p / (side * side) as f64 * (h * w) as f64 / (rows * columns) as f64;
    let mut mask = vec![1f32; n * h * w * c];
    for image in 0..n {
        for (top, left) in (0..rows).flat_map(|top| (0..columns).map(move |left| (top, left))) {
            for channel in 0..c {
                if rng.random::<f64>() >= gamma {
                    continue;
                }
                for (i, j) in (top..top + side).flat_map(|i| (left..left + side).map(move |j| (i, j))) {
                    mask[((image * h + i) * w + j) * c + channel] = 0.0;
                }
            }
        }
    }
    let kept: f32 = mask.iter().sum();
    let scale = mask.len() as f64 / f64::from(kept.max(1.0));
    let mask = Tensor::from_vec(mask, (n, h, w, c), &Device::Cpu)?.to_dtype(x.dtype())?;
    Ok((x.mul(&mask)? * scale)?)
}

/// `(n, h, w, c)` to `(n, c·h·w)`, PyTorch's order of flattening.
pub(crate) fn flatten(x: &Tensor) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    if h * w == 1 {
        return Ok(x.flatten_from(1)?);
    }
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?)
}
