//! ResNet-12, the few-shot one (Lee et al. 2019, "Meta-Learning with Differentiable Convex
//! Optimization", section 4.1; first in Mishra et al. 2018): four blocks of three convolutions with
//! 64, 160, 320 and 640 channels, each halving the image, with DropBlock in the last two.

use crate::layers::{self, Drop, LayerEpilogue, Pass};
use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result, Start};
use candle_core::Tensor;
use taper_ops::{Convolution, Window};

/// 640 features, 12.4 million parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNet12 {
    input: (usize, usize, usize),
}

const CHANNELS: [usize; 4] = [64, 160, 320, 640];
/// The side of the squares that DropBlock drops, if the image is that large.
const DROPPED_SIDE: usize = 5;
/// The share that dropout and DropBlock drop.
const DROPPED: f64 = 0.1;

impl ResNet12 {
    /// A network for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for images with sides under 16 pixels, of which nothing is left after halving four times.
    pub fn new(input: (usize, usize, usize)) -> Result<Self> {
        let (c, h, w) = input;
        if c == 0 || h < 16 || w < 16 {
            return Err(ModelError::too_small("resnet12", 16, input));
        }
        Ok(Self { input })
    }

    fn inputs(&self, block: usize) -> usize {
        if block == 0 { self.input.0 } else { CHANNELS[block - 1] }
    }
}

/// The leaky ReLU's slope below 0.
const SLOPE: f64 = 0.1;

impl Backbone for ResNet12 {
    fn name(&self) -> String {
        "resnet12".into()
    }

    fn width(&self) -> usize {
        CHANNELS[3]
    }

    fn input(&self) -> (usize, usize, usize) {
        self.input
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut param_specs = Vec::new();
        for (block, &outputs) in CHANNELS.iter().enumerate() {
            let name = format!("layer{}.0", block + 1);
            for layer in 1..=3 {
                let inputs = if layer == 1 { self.inputs(block) } else { outputs };
                param_specs.push(ParamSpec::weight(
                    &format!("{name}.conv{layer}"),
                    &[outputs, inputs, 3, 3],
                    Start::KaimingNormal,
                ));
                param_specs.extend(ParamSpec::norm(&format!("{name}.bn{layer}"), outputs));
            }
            let shortcut = [outputs, self.inputs(block), 1, 1];
            param_specs.push(ParamSpec::weight(&format!("{name}.downsample.0"), &shortcut, Start::KaimingNormal));
            param_specs.extend(ParamSpec::norm(&format!("{name}.downsample.1"), outputs));
        }
        param_specs
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let mut pass = Pass::new(params, buffers, mode);
        let mut x = pass.channels_last(inputs)?;
        for block in 0..CHANNELS.len() {
            let name = format!("layer{}.0", block + 1);
            let layer = |pass: &mut Pass, convolution: &str, norm: &str, x: &Tensor, padding| {
                let how = Convolution { padding, ..Convolution::default() };
                let names = (format!("{name}.{convolution}"), format!("{name}.{norm}"));
                pass.layer((&names.0, &names.1), x, how, LayerEpilogue::Nothing)
            };
            let mut y = x.clone();
            for number in 1..=2 {
                y = layer(&mut pass, &format!("conv{number}"), &format!("bn{number}"), &y, 1)?;
                y = pass.leaky_relu(&y, SLOPE)?;
            }
            let y = layer(&mut pass, "conv3", "bn3", &y, 1)?;
            let shortcut = layer(&mut pass, "downsample.0", "downsample.1", &x, 0)?;
            let y = pass.add(&y, &shortcut)?;
            let y = pass.leaky_relu(&y, SLOPE)?;
            x = pass.max_pool2d(&y, Window::tiled(2))?;
            x = match block {
                0 | 1 => layers::dropout(&x, DROPPED, Drop::Elements, mode)?,
                _ => layers::drop_block(&x, DROPPED, DROPPED_SIDE, mode)?,
            };
        }
        let features = pass.global_avg_pool(&x)?;
        Ok(pass.into_features(features))
    }

    fn stages(&self) -> Vec<String> {
        (1..=CHANNELS.len()).map(|block| format!("layer{block}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_ops::{rng, uniform};

    #[test]
    fn it_has_the_published_number_of_parameters() {
        let count: usize = ResNet12::new((3, 84, 84))
            .unwrap()
            .param_specs()
            .iter()
            .filter(|slot| !slot.buffer)
            .map(|slot| slot.shape.iter().product::<usize>())
            .sum();
        assert_eq!(count, 12_424_320);
    }

    #[test]
    fn features_are_640_wide_and_dropout_belongs_to_training() {
        let network = ResNet12::new((1, 16, 16)).unwrap();
        let state = network.init(0).unwrap();
        let images = uniform(&mut rng(0, "images", 0), (2, 1, 16, 16), 0.0, 1.0).unwrap();
        let features = |mode: &mut Mode| {
            let made = network.features(&state.params, &state.buffers, &images, mode).unwrap();
            made.features.to_vec2::<f32>().unwrap()
        };
        let plain = features(&mut Mode::batch_statistics());
        assert_eq!(plain[0].len(), 640);
        assert_eq!(plain, features(&mut Mode::batch_statistics()));
        assert_ne!(plain, features(&mut Mode::train(rng(0, "dropout", 0))));
        assert!(ResNet12::new((3, 12, 12)).is_err());
    }
}
