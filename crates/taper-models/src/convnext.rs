//! ConvNeXt-tiny (Liu et al. 2022): depthwise convolutions of 7 by 7, each followed by a transformer's perceptron of every
//! pixel.

use crate::token_layers::TokenPass;
use crate::trace::{Operation, record};
use crate::{Backbone, BatchStatistics, Buffers, Features, Mode, ModelError, Norm, ParamSpec, Params, Result, Start};
use candle_core::Tensor;
use taper_ops::{Convolution, Gelu, channels_last, global_avg_pool};

/// ConvNeXt-tiny as a frozen backbone for color images of 32 pixels or more; keys as timm's `convnext_tiny`. Features are 768
/// wide: the mean over the last activations, normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvNextTiny {
    input: (usize, usize, usize),
}

/// Is added to the variance by all of its layer norms.
const EPS: f64 = 1e-6;

/// Pixels on the side of an image for which the last activations have one.
const LEAST: usize = 32;

/// The stem's convolution has kernels of this side, as far apart.
const STEM: usize = 4;

/// The sides of the depthwise kernels, and of those between stages, which are as far apart.
const KERNEL: usize = 7;
const BETWEEN: usize = 2;

/// How much wider a perceptron's hidden layer is.
const EXPANSION: usize = 4;

/// Blocks of one output size (Liu et al. 2022, table 9).
struct Stage {
    blocks: usize,
    width: usize,
}

const STAGES: [Stage; 4] = [
    Stage { blocks: 3, width: 96 },
    Stage { blocks: 3, width: 192 },
    Stage { blocks: 9, width: 384 },
    Stage { blocks: 3, width: 768 },
];

const FEATURES: usize = 768;

impl ConvNextTiny {
    /// A network for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for images that are not in color, or smaller than 32x32.
    pub fn new(input: (usize, usize, usize)) -> Result<Self> {
        let (channels, height, width) = input;
        if channels != 3 || height < LEAST || width < LEAST {
            let takes = format!("color images of at least {LEAST}x{LEAST}, best 224x224");
            return Err(ModelError::ImageSize { network: NAME.into(), takes, side: 224, given: input });
        }
        Ok(Self { input })
    }

    /// The features of images `(n, 3, h, w)`.
    fn forward(&self, pass: &TokenPass, images: &Tensor) -> Result<Tensor> {
        let apart = |stride| Convolution { stride, ..Convolution::default() };
        let stem = pass.convolution("stem.0", apart(STEM), &channels_last(images)?)?;
        let mut x = pass.norm("stem.1", &stem)?;
        for (number, stage) in STAGES.iter().enumerate() {
            if number > 0 {
                let [norm, convolution] = downsampling(number);
                x = pass.convolution(&convolution, apart(BETWEEN), &pass.norm(&norm, &x)?)?;
            }
            for block in 0..stage.blocks {
                x = forward_block(pass, &format!("stages.{number}.blocks.{block}"), stage.width, &x)?;
            }
        }
        pass.norm("head.norm", &global_avg_pool(&x)?)
    }
}

const NAME: &str = "convnext-tiny";

/// The names of the norm and the convolution before a stage.
fn downsampling(stage: usize) -> [String; 2] {
    [0, 1].map(|layer| format!("stages.{stage}.downsample.{layer}"))
}

/// A block of `x (n, h, w, c)` (Liu et al. 2022, figure 4).
fn forward_block(pass: &TokenPass, name: &str, c: usize, x: &Tensor) -> Result<Tensor> {
    let how = Convolution { padding: KERNEL / 2, groups: c, ..Convolution::default() };
    let y = pass.convolution(&format!("{name}.conv_dw"), how, x)?;
    let [norm, first, second] = ["norm", "mlp.fc1", "mlp.fc2"].map(|layer| format!("{name}.{layer}"));
    pass.add_perceptron([&first, &second], &norm, Some(&format!("{name}.gamma")), Gelu::Exact, [&y, x])
}

/// What a block has.
fn block_specs(name: &str, c: usize) -> Vec<ParamSpec> {
    let layer = |part: &str, shape: &[usize]| ParamSpec::torch_default(&format!("{name}.{part}"), shape);
    let mut specs = layer("conv_dw", &[c, 1, KERNEL, KERNEL]).to_vec();
    specs.extend(ParamSpec::layer_norm(&format!("{name}.norm"), c));
    specs.extend(layer("mlp.fc1", &[EXPANSION * c, c]));
    specs.extend(layer("mlp.fc2", &[c, EXPANSION * c]));
    specs.push(ParamSpec::param(format!("{name}.gamma"), &[c], Start::Ones));
    specs
}

impl Backbone for ConvNextTiny {
    fn name(&self) -> String {
        NAME.into()
    }

    fn width(&self) -> usize {
        FEATURES
    }

    fn input(&self) -> (usize, usize, usize) {
        self.input
    }

    fn head_name(&self) -> &str {
        "head.fc"
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut inputs = STAGES[0].width;
        let mut specs = ParamSpec::torch_default("stem.0", &[inputs, 3, STEM, STEM]).to_vec();
        specs.extend(ParamSpec::layer_norm("stem.1", inputs));
        for (number, &Stage { blocks, width }) in STAGES.iter().enumerate() {
            if number > 0 {
                let [norm, convolution] = downsampling(number);
                specs.extend(ParamSpec::layer_norm(&norm, inputs));
                specs.extend(ParamSpec::torch_default(&convolution, &[width, inputs, BETWEEN, BETWEEN]));
            }
            specs.extend((0..blocks).flat_map(|block| block_specs(&format!("stages.{number}.blocks.{block}"), width)));
            inputs = width;
        }
        specs.extend(ParamSpec::layer_norm("head.norm", FEATURES));
        specs
    }

    fn features(&self, params: &Params, _: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        if mode.norm == Norm::Batch {
            return Err(ModelError::never_trained(NAME));
        }
        // recorded as a whole
        let pass = TokenPass::new(params, &Mode { trace: None, ..mode.clone() }, EPS);
        let features = self.forward(&pass, inputs)?;
        let features = record(&mode.trace, Operation::Published(self.name()), &[inputs], features)?;
        Ok(Features { features, statistics: BatchStatistics::default() })
    }

    fn stages(&self) -> Vec<String> {
        let stages = (0..STAGES.len()).map(|stage| format!("stages.{stage}"));
        std::iter::once("stem".into()).chain(stages).chain(["head.norm".into()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{features, images, largest, noisy_state};
    use crate::{Frozen, State};
    use candle_core::{DType, Device};
    use std::sync::Arc;
    use taper_ops::in_pool;

    /// A network for square images, and numbers that keep activations alive.
    fn network(side: usize) -> (ConvNextTiny, State) {
        let network = ConvNextTiny::new((3, side, side)).unwrap();
        let state = noisy_state(&network);
        (network, state)
    }

    #[cfg(feature = "vision-networks")]
    #[test]
    fn features_equal_candles() {
        use candle_core::Module;
        use candle_transformers::models::convnext;
        for side in [32, 75, 96] {
            let (network, state) = network(side);
            let tensors = state.params.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
            let vb = candle_nn::VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
            let body = convnext::convnext_no_final_layer(&convnext::Config::tiny(), vb.clone()).unwrap();
            let norm = candle_nn::layer_norm(FEATURES, EPS, vb.pp("head.norm")).unwrap();
            let images = images(2, side);
            let theirs = norm.forward(&body.forward(&images).unwrap()).unwrap();
            let frozen = Frozen::new(Arc::new(network), state.clone()).features(&images).unwrap();
            for (way, ours) in [("with gradients", features(&network, &state, &images)), ("frozen", frozen)] {
                assert_eq!(ours.dims(), [2, FEATURES]);
                let error = largest(&(ours - &theirs).unwrap()) / largest(&theirs);
                assert!(largest(&theirs) > 1e-3 && error < 1e-5, "{side} pixels, {way}: relative error {error}");
            }
        }
    }

    #[test]
    fn an_image_has_the_same_features_to_the_last_bit_in_a_batch_of_any_size_on_any_number_of_threads() {
        let (network, state) = network(64);
        let all = images(5, 64);
        let run = |threads, images: &Tensor| {
            let frozen = Frozen::new(Arc::new(network), state.clone());
            in_pool(threads, || frozen.features(images).unwrap().to_vec2::<f32>().unwrap()).unwrap()
        };
        let together = run(1, &all);
        for (threads, first, count) in [(2, 0, 5), (3, 0, 1), (8, 4, 1), (2, 1, 3)] {
            let part = run(threads, &all.narrow(0, first, count).unwrap());
            assert!(part == together[first..first + count], "{count} from image {first}");
        }
    }

    #[test]
    fn parameters_are_as_many_as_published_and_belong_to_stages() {
        let network = ConvNextTiny::new((3, 224, 224)).unwrap();
        let (specs, stages) = (network.param_specs(), network.stages());
        // the published file has 28,589,128 values, with a head of 1000 classes
        let count: usize = specs.iter().map(|spec| spec.shape.iter().product::<usize>()).sum();
        assert_eq!(count + 1000 * (FEATURES + 1), 28_589_128);
        for spec in specs {
            let inside =
                |stage: &String| spec.name.strip_prefix(stage.as_str()).is_some_and(|rest| rest.starts_with('.'));
            assert_eq!(stages.iter().filter(|stage| inside(stage)).count(), 1, "{}", spec.name);
        }
    }

    #[test]
    fn it_refuses_to_be_trained_and_images_that_it_cannot_take() {
        let (network, state) = network(32);
        let mut mode = Mode::batch_statistics();
        let error = network.features(&state.params, &state.buffers, &images(1, 32), &mut mode).unwrap_err().to_string();
        assert!(error.contains("convnext-tiny can't be trained"), "{error}");
        for input in [(1, 64, 64), (3, 31, 64), (3, 64, 31)] {
            let error = ConvNextTiny::new(input).unwrap_err();
            assert!(matches!(error, ModelError::ImageSize { side: 224, .. }), "{error}");
            assert!(error.to_string().contains(&format!("{}x{}", input.1, input.2)), "{error}");
        }
    }
}
