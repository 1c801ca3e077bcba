//! SmallCnn: the seed recipe's network, two convolutions and a hidden layer.

use crate::layers::{self, Drop, Pass};
use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result};
use candle_core::Tensor;
use taper_ops::{Convolution, Window};

/// conv 32, 3x3; ReLU; conv 64, 3x3; ReLU; max pool 2; channel dropout 0.25; 128 hidden units;
/// ReLU; dropout 0.5. Features are the hidden units; the head is `fc2`.
///
/// 14x14 images give a flat width of 1600; for others it depends on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmallCnn {
    input: (usize, usize, usize),
}

const HIDDEN: usize = 128;

impl SmallCnn {
    /// A network for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for images with sides under 6 pixels.
    pub fn new(input: (usize, usize, usize)) -> Result<Self> {
        let (c, h, w) = input;
        if c == 0 || h < 6 || w < 6 {
            return Err(ModelError::too_small("small-cnn", 6, input));
        }
        Ok(Self { input })
    }

    /// Width of the flattened activations before the hidden layer.
    pub fn flat(&self) -> usize {
        64 * ((self.input.1 - 4) / 2) * ((self.input.2 - 4) / 2)
    }
}

impl Backbone for SmallCnn {
    fn name(&self) -> String {
        "small-cnn".into()
    }

    fn width(&self) -> usize {
        HIDDEN
    }

    fn input(&self) -> (usize, usize, usize) {
        self.input
    }

    fn head_name(&self) -> &str {
        "fc2"
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let layers: [(&str, &[usize]); 3] =
            [("conv1", &[32, self.input.0, 3, 3]), ("conv2", &[64, 32, 3, 3]), ("fc1", &[HIDDEN, self.flat()])];
        layers.into_iter().flat_map(|(name, shape)| ParamSpec::torch_default(name, shape)).collect()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let pass = Pass::new(params, buffers, mode);
        let mut x = pass.channels_last(inputs)?;
        for name in ["conv1", "conv2"] {
            x = pass.relu(&pass.convolution_with_bias(name, &x, Convolution::default())?)?;
        }
        let x = layers::dropout(&pass.max_pool2d(&x, Window::tiled(2))?, 0.25, Drop::Channels, mode)?;
        let x = pass.relu(&pass.linear("fc1", &pass.flatten(&x)?)?)?;
        let features = layers::dropout(&x, 0.5, Drop::Elements, mode)?;
        Ok(pass.into_features(features))
    }

    fn stages(&self) -> Vec<String> {
        ["conv1", "conv2", "fc1"].map(String::from).to_vec()
    }
}
