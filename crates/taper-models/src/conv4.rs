//! Conv4: four blocks of convolution, batch norm, ReLU and max pooling (Vinyals et al. 2016,
//! section 4.1.1), the standard small network of few-shot learning.

use crate::layers::{LayerEpilogue, Pass};
use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result, Start};
use candle_core::Tensor;
use taper_ops::{Convolution, Window};

/// Four blocks of `width` channels. 28x28 images give features of `width`, 84x84 of 25 · `width`.
///
/// Convolutions have no bias, because batch norm would remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv4 {
    width: usize,
    input: (usize, usize, usize),
}

const BLOCKS: usize = 4;

impl Conv4 {
    /// A network of `width` channels for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for images with sides under 16 pixels, of which nothing is left after halving four times.
    pub fn new(width: usize, input: (usize, usize, usize)) -> Result<Self> {
        let (c, h, w) = input;
        if width == 0 || c == 0 || h < 16 || w < 16 {
            return Err(ModelError::too_small("conv4", 16, input));
        }
        Ok(Self { width, input })
    }
}

impl Backbone for Conv4 {
    fn name(&self) -> String {
        format!("conv4-{}", self.width)
    }

    fn width(&self) -> usize {
        let (_, h, w) = self.input;
        self.width * (h >> BLOCKS) * (w >> BLOCKS)
    }

    fn input(&self) -> (usize, usize, usize) {
        self.input
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut param_specs = Vec::new();
        for block in 0..BLOCKS {
            let inputs = if block == 0 { self.input.0 } else { self.width };
            let shape = [self.width, inputs, 3, 3];
            param_specs.push(ParamSpec::weight(&format!("block{block}.conv"), &shape, Start::XavierUniform));
            param_specs.extend(ParamSpec::norm(&format!("block{block}.norm"), self.width));
        }
        param_specs
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let mut pass = Pass::new(params, buffers, mode);
        let mut x = pass.channels_last(inputs)?;
        for block in 0..BLOCKS {
            let how = Convolution { padding: 1, ..Convolution::default() };
            let names = (format!("block{block}.conv"), format!("block{block}.norm"));
            x = pass.layer((&names.0, &names.1), &x, how, LayerEpilogue::ReluPool(Window::tiled(2)))?;
        }
        let features = pass.flatten(&x)?;
        Ok(pass.into_features(features))
    }

    fn stages(&self) -> Vec<String> {
        (0..BLOCKS).map(|block| format!("block{block}")).collect()
    }
}
