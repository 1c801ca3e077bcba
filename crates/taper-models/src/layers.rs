//! The layers of networks by their keys: each runs, and is recorded if the pass is traced.

use crate::trace::{Operation, Shift, Then, Trace, record, same_value};
use crate::{BatchStatistics, Buffers, Features, Mode, Norm, PackedWeights, Params, Result};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use std::sync::Arc;
use taper_ops::{
    Activation, Convolution, Epilogue, FrozenConvolution, InvertedResidual, Statistics, Window, add_relu, avg_pool2d,
    batch_norm, channels_last, conv_norm, conv2d, fold_batch_norm, global_avg_pool, leaky_relu, max_pool2d, pad_images,
    relu, relu6,
};

/// One pass through a network: where its tensors come from, the statistics that it collects, and what it records.
pub(crate) struct Pass<'a> {
    params: &'a Params,
    buffers: &'a Buffers,
    norm: Norm,
    packed: Option<Arc<PackedWeights>>,
    eps: f64,
    statistics: BatchStatistics,
    trace: Option<Arc<Trace>>,
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

impl<'a> LayerEpilogue<'a> {
    /// For a trace: what it is, and the residual branch.
    fn described(self) -> (Then, Option<&'a Tensor>) {
        match self {
            Self::Nothing => (Then::Nothing, None),
            Self::Relu => (Then::Relu, None),
            Self::Relu6 => (Then::Relu6, None),
            Self::AddRelu(residual) => (Then::AddRelu, Some(residual)),
            Self::ReluPool(window) => (Then::ReluPool(window), None),
        }
    }

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
        let (norm, packed, trace) = (mode.norm, mode.packed.clone(), mode.trace.clone());
        Self { params, buffers, norm, packed, eps: 1e-5, statistics: BatchStatistics::default(), trace }
    }

    /// A convolution without bias, its weight under `convolution.weight`, batch norm, and what follows.
    pub(crate) fn layer(
        &mut self,
        (convolution, norm): (&str, &str),
        x: &Tensor,
        how: Convolution,
        then: LayerEpilogue,
    ) -> Result<Tensor> {
        let y = self.run_layer((convolution, norm), x, how, then)?;
        let shift = Shift::Norm { name: norm.to_string(), eps: self.eps };
        let (then, residual) = then.described();
        let operation = Operation::Convolution { name: convolution.to_string(), how, shift, then };
        record(&self.trace, operation, &[Some(x), residual].into_iter().flatten().collect::<Vec<_>>(), y)
    }

    fn run_layer(
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
        let frozen = packed.convolution(convolution, || {
            let (folded, bias) = self.folded((convolution, norm))?;
            Ok(FrozenConvolution::new(x, &folded, &bias, how)?)
        })?;
        Ok(match then {
            LayerEpilogue::Nothing => frozen.forward(x, None, Activation::Identity)?,
            LayerEpilogue::Relu => frozen.forward(x, None, Activation::Relu)?,
            LayerEpilogue::Relu6 => frozen.forward(x, None, Activation::Relu6)?,
            LayerEpilogue::AddRelu(residual) => frozen.forward(x, Some(residual), Activation::Relu)?,
            LayerEpilogue::ReluPool(window) => max_pool2d(&frozen.forward(x, None, Activation::Relu)?, window)?,
        })
    }

    /// An inverted residual block, if its weights are final: its convolutions with their norms, the expanding one,
    /// if there is one, the depthwise one and the projecting one.
    pub(crate) fn packed_block(
        &self,
        [expand, depthwise, project]: [Option<(&str, &str)>; 3],
        x: &Tensor,
        (stride, residual): (usize, bool),
    ) -> Result<Option<Tensor>> {
        let (Some(packed), Norm::Stored, Some(depthwise), Some(project), None) =
            (&self.packed, self.norm, depthwise, project, &self.trace)
        else {
            return Ok(None);
        };
        let block = packed.block(depthwise.0, || {
            let expand = expand.map(|names| self.folded(names)).transpose()?;
            let (depthwise, project) = (self.folded(depthwise)?, self.folded(project)?);
            let expand = expand.as_ref().map(|(weight, bias)| (weight, bias));
            let (depthwise, project) = ((&depthwise.0, &depthwise.1), (&project.0, &project.1));
            Ok(InvertedResidual::new(expand, depthwise, project, stride, residual)?)
        })?;
        Ok(Some(block.forward(x)?))
    }

    /// A convolution's weights with its norm folded in, and the bias that follows.
    fn folded(&self, (convolution, norm): (&str, &str)) -> Result<(Tensor, Tensor)> {
        let weight = self.params.get(&format!("{convolution}.weight"))?;
        let (scale, shift) = self.scale_shift(norm)?;
        Ok(fold_batch_norm(weight, &self.stored(norm)?, scale, shift, self.eps)?)
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

    /// Images `(n, c, h, w)` as activations `(n, h, w, c)`.
    pub(crate) fn channels_last(&self, images: &Tensor) -> Result<Tensor> {
        same_value(&self.trace, images, channels_last(images)?)
    }

    /// A convolution with its bias under `name.bias`.
    pub(crate) fn convolution_with_bias(&self, name: &str, x: &Tensor, how: Convolution) -> Result<Tensor> {
        let y = conv2d(x, self.params.get(&format!("{name}.weight"))?, how)?;
        let y = taper_ops::add_per_channel(&y, self.params.get(&format!("{name}.bias"))?)?;
        let operation = Operation::Convolution { name: name.into(), how, shift: Shift::Bias, then: Then::Nothing };
        record(&self.trace, operation, &[x], y)
    }

    /// A fully connected layer.
    pub(crate) fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.scale_shift(name)?;
        let y = taper_ops::linear(x, weight, bias)?;
        record(&self.trace, Operation::Linear { name: name.to_string() }, &[x], y)
    }

    /// ReLU.
    pub(crate) fn relu(&self, x: &Tensor) -> Result<Tensor> {
        record(&self.trace, Operation::Relu, &[x], relu(x)?)
    }

    /// ReLU with a slope below 0.
    pub(crate) fn leaky_relu(&self, x: &Tensor, slope: f64) -> Result<Tensor> {
        record(&self.trace, Operation::LeakyRelu(slope), &[x], leaky_relu(x, slope)?)
    }

    /// The sum.
    pub(crate) fn add(&self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        record(&self.trace, Operation::Add, &[x, y], (x + y)?)
    }

    /// Max pooling.
    pub(crate) fn max_pool2d(&self, x: &Tensor, window: Window) -> Result<Tensor> {
        record(&self.trace, Operation::MaxPool(window), &[x], max_pool2d(x, window)?)
    }

    /// The mean over rows and columns: `(n, c)`.
    pub(crate) fn global_avg_pool(&self, x: &Tensor) -> Result<Tensor> {
        record(&self.trace, Operation::GlobalAveragePool, &[x], global_avg_pool(x)?)
    }

    /// Every pixel whose row and column are multiples of `stride`.
    pub(crate) fn every_other(&self, x: &Tensor, stride: usize) -> Result<Tensor> {
        let y = avg_pool2d(x, Window { kernel: 1, stride, padding: 0 })?;
        record(&self.trace, Operation::EveryOther(stride), &[x], y)
    }

    /// Zeros before and after rows, columns and channels.
    pub(crate) fn pad(&self, x: &Tensor, around: [(usize, usize); 3]) -> Result<Tensor> {
        if around == [(0, 0); 3] {
            return Ok(x.clone());
        }
        let [rows, columns, channels] = around;
        let mut y = pad_images(x, rows, columns)?;
        if channels != (0, 0) {
            y = y.pad_with_zeros(3, channels.0, channels.1)?;
        }
        record(&self.trace, Operation::Pad(around), &[x], y)
    }

    /// `(n, h, w, c)` to `(n, c·h·w)`, PyTorch's order of flattening.
    pub(crate) fn flatten(&self, x: &Tensor) -> Result<Tensor> {
        record(&self.trace, Operation::Flatten, &[x], flatten(x)?)
    }

    /// `(n, h, w, c)` to `(n, h·w·c)`.
    pub(crate) fn flatten_by_pixel(&self, x: &Tensor) -> Result<Tensor> {
        record(&self.trace, Operation::FlattenByPixel, &[x], x.flatten_from(1)?)
    }

    /// Features `(n, …)`, one after the other.
    pub(crate) fn concatenate(&self, parts: &[&Tensor]) -> Result<Tensor> {
        record(&self.trace, Operation::Concatenate, parts, Tensor::cat(parts, 1)?)
    }

    /// The output of the pass.
    pub(crate) fn into_features(self, features: Tensor) -> Features {
        Features { features, statistics: self.statistics }
    }
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
/// `(n, h, w, c)` are dropped together, a share `p` of everything, the rest of the image scaled up; does nothing if
/// the mode has no dropout.
pub(crate) fn drop_block(x: &Tensor, p: f64, side: usize, mode: &mut Mode) -> Result<Tensor> {
    let Some(rng) = mode.dropout.as_mut() else { return Ok(x.clone()) };
    let (n, h, w, c) = x.dims4()?;
    let side = side.min(h).min(w);
    let (rows, columns) = (h - side + 1, w - side + 1);
    // eq. 1: enough corners to drop a share p
    let gamma = p / (side * side) as f64 * (h * w) as f64 / (rows * columns) as f64;
    let mut mask = vec![1f32; n * h * w * c];
    for image in mask.chunks_exact_mut(h * w * c) {
        for (top, left) in (0..rows).flat_map(|top| (0..columns).map(move |left| (top, left))) {
            for channel in 0..c {
                if rng.random::<f64>() >= gamma {
                    continue;
                }
                for (i, j) in (top..top + side).flat_map(|i| (left..left + side).map(move |j| (i, j))) {
                    image[(i * w + j) * c + channel] = 0.0;
                }
            }
        }
        let kept: f32 = image.iter().sum();
        let scale = image.len() as f32 / kept.max(1.0);
        image.iter_mut().for_each(|value| *value *= scale);
    }
    let mask = Tensor::from_vec(mask, (n, h, w, c), &Device::Cpu)?.to_dtype(x.dtype())?;
    Ok(x.mul(&mask)?)
}

/// `(n, h, w, c)` to `(n, c·h·w)`, PyTorch's order of flattening.
fn flatten(x: &Tensor) -> Result<Tensor> {
    let (_, h, w, _) = x.dims4()?;
    if h * w == 1 {
        return Ok(x.flatten_from(1)?);
    }
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1)?)
}
