//! StrokeNet: a small residual network for line drawings, which gives both features of places and
//! one embedding of the whole, for dense matching (see [`Matching`](crate::Matching)).

use crate::layers::{LayerEpilogue, Pass};
use crate::{Backbone, Buffers, Features, Layout, Mode, ModelError, ParamSpec, Params, Result, Start};
use candle_core::Tensor;
use taper_ops::{Convolution, Window};

/// The side of the images it takes.
const SIDE: usize = 35;
/// Its features: 9 by 9 places of 64 values, and an embedding of 256.
const LAYOUT: Layout = Layout { views: 1, side: 9, local: 64, global: 256 };

/// A network for drawings of 35x35 pixels, one channel, light on dark.
///
/// A stem of three convolutions (width/2, 2·width/3 and width channels, halved twice, to 9x9
/// places) and one residual block; from there the places' features, their attention, and, over
/// two more convolutions, the embedding. With a width of 96 it has 1.04 million parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrokeNet {
    width: usize,
}

impl StrokeNet {
    /// A network of `width` channels for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for other images, and for widths that can't be divided by 6.
    pub fn new(width: usize, input: (usize, usize, usize)) -> Result<Self> {
        if input != (1, SIDE, SIDE) {
            let (c, h, w) = input;
            return Err(ModelError::Invalid(format!(
                "stroke-net takes drawings of {SIDE}x{SIDE} with 1 channel, not {w}x{h} with {c}: \
                 end the transform in gray and resize({SIDE})"
            )));
        }
        if width == 0 || !width.is_multiple_of(6) {
            return Err(ModelError::Invalid(format!("stroke-net's width is {width}: use a multiple of 6, such as 96")));
        }
        Ok(Self { width })
    }

    /// Its convolutions with batch norm: name, outputs, inputs and kernel.
    fn blocks(&self) -> [(&'static str, usize, usize, usize); 7] {
        let wide = self.width;
        let (narrow, middle) = (wide / 2, 2 * wide / 3);
        [
            ("stem.0", narrow, 1, 5),
            ("stem.1", middle, narrow, 3),
            ("stem.2", wide, middle, 3),
            ("residual.0", wide, wide, 3),
            ("residual.1", wide, wide, 3),
            ("whole.0", wide, wide, 3),
            ("whole.1", wide, wide, 3),
        ]
    }

    /// Its layers with bias: name and shape of the weight.
    fn layers(&self) -> [(&'static str, Vec<usize>); 3] {
        let halved = LAYOUT.side.div_ceil(2);
        [
            ("local", vec![LAYOUT.local, self.width, 1, 1]),
            ("attention", vec![1, self.width, 1, 1]),
            ("embedding", vec![LAYOUT.global, self.width * halved * halved]),
        ]
    }
}

impl Backbone for StrokeNet {
    fn name(&self) -> String {
        format!("stroke-net-{}", self.width)
    }

    fn width(&self) -> usize {
        LAYOUT.width()
    }

    fn input(&self) -> (usize, usize, usize) {
        (1, SIDE, SIDE)
    }

    fn layout(&self) -> Layout {
        LAYOUT
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut param_specs = Vec::new();
        for (name, outputs, inputs, kernel) in self.blocks() {
            let shape = [outputs, inputs, kernel, kernel];
            param_specs.push(ParamSpec::weight(&format!("{name}.conv"), &shape, Start::KaimingNormal));
            param_specs.extend(ParamSpec::norm(&format!("{name}.norm"), outputs));
        }
        param_specs.extend(self.layers().into_iter().flat_map(|(name, shape)| ParamSpec::torch_default(name, &shape)));
        param_specs
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let mut pass = Pass::new(params, buffers, mode);
        let x = pass.channels_last(inputs)?;
        let mut layer = |name: &str, x: &Tensor, then: LayerEpilogue| {
            let (stride, padding) = if name == "stem.0" { (2, 2) } else { (1, 1) };
            let how = Convolution { stride, padding, ..Convolution::default() };
            pass.layer((&format!("{name}.conv"), &format!("{name}.norm")), x, how, then)
        };
        let x = layer("stem.0", &x, LayerEpilogue::Relu)?;
        let x = layer("stem.1", &x, LayerEpilogue::ReluPool(Window::tiled(2)))?;
        let x = layer("stem.2", &x, LayerEpilogue::Relu)?;
        let inner = layer("residual.0", &x, LayerEpilogue::Relu)?;
        let places = layer("residual.1", &inner, LayerEpilogue::AddRelu(&x))?;
        let whole = layer("whole.0", &places, LayerEpilogue::ReluPool(Window { kernel: 3, stride: 2, padding: 1 }))?;
        let whole = layer("whole.1", &whole, LayerEpilogue::Relu)?;
        let embedding = pass.linear("embedding", &pass.flatten_by_pixel(&whole)?)?;
        let of_places =
            |name: &str| pass.flatten_by_pixel(&pass.convolution_with_bias(name, &places, Convolution::default())?);
        let (local, attention) = (of_places("local")?, of_places("attention")?);
        let features = pass.concatenate(&[&local, &attention, &embedding])?;
        Ok(pass.into_features(features))
    }

    fn stages(&self) -> Vec<String> {
        ["stem", "residual", "whole", "local", "attention", "embedding"].map(String::from).to_vec()
    }
}
