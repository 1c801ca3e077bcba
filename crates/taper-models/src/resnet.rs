//! Residual networks (He et al. 2016): torchvision's for ImageNet and the narrow ones for CIFAR,
//! from one builder.

use crate::layers::{LayerEpilogue, Pass};
use crate::upper::check;
use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result, Start};
use candle_core::Tensor;
use taper_ops::{Convolution, Window};

/// A residual network for images of any size, by batch or stored statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNet {
    depth: ResNetDepth,
    input: (usize, usize, usize),
}

/// Which residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResNetDepth {
    /// `resnet18`: torchvision's, basic blocks.
    R18,
    /// `resnet34`: torchvision's, basic blocks.
    R34,
    /// `resnet50`: torchvision's, bottlenecks with the stride on the 3x3 (v1.5).
    R50,
    /// `resnet101`, likewise.
    R101,
    /// `resnet152`, likewise.
    R152,
    /// `cifar-resnet20`: 16, 32 and 64 channels, shortcuts without weights (the paper's option A).
    Cifar20,
    /// `cifar-resnet32`, likewise.
    Cifar32,
    /// `cifar-resnet44`, likewise.
    Cifar44,
    /// `cifar-resnet56`, likewise.
    Cifar56,
}

use ResNetDepth::*;

impl ResNetDepth {
    /// Every depth.
    pub const ALL: [Self; 9] = [R18, R34, R50, R101, R152, Cifar20, Cifar32, Cifar44, Cifar56];

    /// The name, as it is written and parsed.
    pub fn name(self) -> &'static str {
        match self {
            R18 => "resnet18",
            R34 => "resnet34",
            R50 => "resnet50",
            R101 => "resnet101",
            R152 => "resnet152",
            Cifar20 => "cifar-resnet20",
            Cifar32 => "cifar-resnet32",
            Cifar44 => "cifar-resnet44",
            Cifar56 => "cifar-resnet56",
        }
    }

    /// Whether it is a CIFAR network.
    pub fn is_cifar(self) -> bool {
        matches!(self, Cifar20 | Cifar32 | Cifar44 | Cifar56)
    }

    /// Blocks in each of its layers.
    fn layers(self) -> &'static [usize] {
        match self {
            R18 => &[2, 2, 2, 2],
            R34 | R50 => &[3, 4, 6, 3],
            R101 => &[3, 4, 23, 3],
            R152 => &[3, 8, 36, 3],
            Cifar20 => &[3; 3],
            Cifar32 => &[5; 3],
            Cifar44 => &[7; 3],
            Cifar56 => &[9; 3],
        }
    }

    /// Channels after the stem, and inside the first layer's blocks.
    fn stem(self) -> usize {
        if self.is_cifar() { 16 } else { 64 }
    }

    /// The ratio of a block's output width to its inner width.
    fn expansion(self) -> usize {
        if matches!(self, R50 | R101 | R152) { 4 } else { 1 }
    }
}

/// One residual block.
struct Block {
    name: String,
    inputs: usize,
    inside: usize,
    outputs: usize,
    stride: usize,
}

/// One convolution of a block: its number in the keys, shape `(outputs, inputs, kernel)` and stride.
struct Layer {
    number: usize,
    outputs: usize,
    inputs: usize,
    kernel: usize,
    stride: usize,
}

impl Block {
    /// The stage it belongs to, `layer4`.
    fn stage(&self) -> &str {
        self.name.split('.').next().unwrap_or(&self.name)
    }

    fn layers(&self, bottleneck: bool) -> Vec<Layer> {
        let layer = |number, outputs, inputs, kernel, stride| Layer { number, outputs, inputs, kernel, stride };
        let &Self { inputs, inside, outputs, stride, .. } = self;
        if bottleneck {
            return vec![
                layer(1, inside, inputs, 1, 1),
                layer(2, inside, inside, 3, stride),
                layer(3, outputs, inside, 1, 1),
            ];
        }
        vec![layer(1, inside, inputs, 3, stride), layer(2, outputs, inside, 3, 1)]
    }

    fn changes_shape(&self) -> bool {
        self.stride != 1 || self.inputs != self.outputs
    }
}

impl ResNet {
    /// A network for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for empty images.
    pub fn new(depth: ResNetDepth, input: (usize, usize, usize)) -> Result<Self> {
        let (c, h, w) = input;
        if c == 0 || h == 0 || w == 0 {
            return Err(ModelError::too_small(depth.name(), 1, input));
        }
        Ok(Self { depth, input })
    }

    fn blocks(&self) -> Vec<Block> {
        let (stem, expansion) = (self.depth.stem(), self.depth.expansion());
        let mut blocks = Vec::new();
        let mut inputs = stem;
        for (layer, &count) in self.depth.layers().iter().enumerate() {
            let inside = stem << layer;
            for index in 0..count {
                let stride = if layer > 0 && index == 0 { 2 } else { 1 };
                let (name, outputs) = (format!("layer{}.{index}", layer + 1), inside * expansion);
                blocks.push(Block { name, inputs, inside, outputs, stride });
                inputs = outputs;
            }
        }
        blocks
    }

    fn bottleneck(&self) -> bool {
        self.depth.expansion() > 1
    }

    fn stem(&self, pass: &mut Pass, images: &Tensor) -> Result<Tensor> {
        let cifar = self.depth.is_cifar();
        let (stride, padding) = if cifar { (1, 1) } else { (2, 3) };
        let pool = Window { kernel: 3, stride: 2, padding: 1 };
        let then = if cifar { LayerEpilogue::Relu } else { LayerEpilogue::ReluPool(pool) };
        let x = pass.channels_last(images)?;
        pass.layer(("conv1", "bn1"), &x, Convolution { stride, padding, groups: 1 }, then)
    }

    /// From `x` through the uppermost `blocks` to the features.
    fn rise(&self, mut pass: Pass, x: Tensor, mut blocks: impl Iterator<Item = Block>) -> Result<Features> {
        let x = blocks.try_fold(x, |x, block| self.block(&mut pass, &block, &x))?;
        let features = pass.global_avg_pool(&x)?;
        Ok(pass.into_features(features))
    }

    fn block(&self, pass: &mut Pass, block: &Block, x: &Tensor) -> Result<Tensor> {
        let layers = block.layers(self.bottleneck());
        let shortcut = self.shortcut(pass, block, x)?;
        let mut y = x.clone();
        for layer in &layers {
            let names = (format!("{}.conv{}", block.name, layer.number), format!("{}.bn{}", block.name, layer.number));
            let how = Convolution { stride: layer.stride, padding: layer.kernel / 2, groups: 1 };
            let then =
                if layer.number < layers.len() { LayerEpilogue::Relu } else { LayerEpilogue::AddRelu(&shortcut) };
            y = pass.layer((&names.0, &names.1), &y, how, then)?;
        }
        Ok(y)
    }

    /// What is added to a block's output: its input, projected to the output's shape if necessary.
    fn shortcut(&self, pass: &mut Pass, block: &Block, x: &Tensor) -> Result<Tensor> {
        if !block.changes_shape() {
            return Ok(x.clone());
        }
        if self.depth.is_cifar() {
            let every_other = pass.every_other(x, block.stride)?;
            let missing = block.outputs - block.inputs;
            return pass.pad(&every_other, [(0, 0), (0, 0), (missing / 2, missing - missing / 2)]);
        }
        let how = Convolution { stride: block.stride, ..Convolution::default() };
        let names = (format!("{}.downsample.0", block.name), format!("{}.downsample.1", block.name));
        pass.layer((&names.0, &names.1), x, how, LayerEpilogue::Nothing)
    }
}

impl Backbone for ResNet {
    fn name(&self) -> String {
        self.depth.name().into()
    }

    fn width(&self) -> usize {
        (self.depth.stem() << (self.depth.layers().len() - 1)) * self.depth.expansion()
    }

    fn input(&self) -> (usize, usize, usize) {
        self.input
    }

    fn head_name(&self) -> &str {
        if self.depth.is_cifar() { "linear" } else { "fc" }
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        let mut param_specs = Vec::new();
        let mut add = |conv: &str, norm: &str, outputs: usize, inputs: usize, kernel: usize| {
            param_specs.push(ParamSpec::weight(conv, &[outputs, inputs, kernel, kernel], Start::KaimingNormal));
            param_specs.extend(ParamSpec::norm(norm, outputs));
        };
        let kernel = if self.depth.is_cifar() { 3 } else { 7 };
        add("conv1", "bn1", self.depth.stem(), self.input.0, kernel);
        for block in self.blocks() {
            let name = &block.name;
            for Layer { number, outputs, inputs, kernel, .. } in block.layers(self.bottleneck()) {
                add(&format!("{name}.conv{number}"), &format!("{name}.bn{number}"), outputs, inputs, kernel);
            }
            if block.changes_shape() && !self.depth.is_cifar() {
                let (conv, norm) = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
                add(&conv, &norm, block.outputs, block.inputs, 1);
            }
        }
        param_specs
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let mut pass = Pass::new(params, buffers, mode);
        let x = self.stem(&mut pass, inputs)?;
        self.rise(pass, x, self.blocks().into_iter())
    }

    fn places(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Option<Tensor>> {
        let mut pass = Pass::new(params, buffers, mode);
        let x = self.stem(&mut pass, inputs)?;
        self.blocks().into_iter().try_fold(x, |x, block| self.block(&mut pass, &block, &x)).map(Some)
    }

    fn stages(&self) -> Vec<String> {
        ["conv1".to_string(), "bn1".to_string()].into_iter().chain(self.split_points()).collect()
    }

    fn split_points(&self) -> Vec<String> {
        (1..=self.depth.layers().len()).map(|layer| format!("layer{layer}")).collect()
    }

    fn width_below(&self, stage: &str) -> Result<usize> {
        check(self, stage)?;
        let first = self.blocks().into_iter().find(|block| block.stage() == stage);
        Ok(first.map_or(self.width(), |block| block.inputs))
    }

    fn forward_to(
        &self,
        params: &Params,
        buffers: &Buffers,
        inputs: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Tensor> {
        let mut pass = Pass::new(params, buffers, mode);
        let mut x = self.stem(&mut pass, inputs)?;
        for block in self.blocks().into_iter().take_while(|block| block.stage() != stage) {
            x = self.block(&mut pass, &block, &x)?;
        }
        Ok(x)
    }

    fn forward_between(
        &self,
        params: &Params,
        buffers: &Buffers,
        activations: &Tensor,
        mode: &mut Mode,
        [from, to]: [&str; 2],
    ) -> Result<Tensor> {
        let mut pass = Pass::new(params, buffers, mode);
        let blocks = self.blocks().into_iter().skip_while(|block| block.stage() != from);
        let mut blocks = blocks.take_while(|block| block.stage() != to);
        blocks.try_fold(activations.clone(), |x, block| self.block(&mut pass, &block, &x))
    }

    fn forward_from(
        &self,
        params: &Params,
        buffers: &Buffers,
        activations: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Features> {
        let blocks = self.blocks().into_iter().skip_while(|block| block.stage() != stage);
        self.rise(Pass::new(params, buffers, mode), activations.clone(), blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::largest;
    use crate::{Head, Network, State};
    use candle_core::{DType, Device};
    #[cfg(feature = "vision-networks")]
    use candle_nn::VarBuilder;
    #[cfg(feature = "vision-networks")]
    use candle_transformers::models::resnet as theirs;
    use std::sync::Arc;
    use taper_ops::{rng, uniform};

    fn network(depth: ResNetDepth, side: usize) -> Network {
        Network::new(Arc::new(ResNet::new(depth, (3, side, side)).unwrap()), Head::Linear { outputs: 10 })
    }

    /// Weights with running statistics that are not the identity.
    fn weights(network: &Network) -> State {
        let state = network.init(1).unwrap();
        let off = |(name, tensor): (&str, &Tensor)| {
            let noise = uniform(&mut rng(2, name, 0), tensor.shape().clone(), 0.0, 0.5).unwrap();
            (name.to_string(), (tensor + noise).unwrap())
        };
        State { buffers: state.buffers.iter().map(off).collect(), ..state }
    }

    fn images(n: usize, side: usize) -> Tensor {
        uniform(&mut rng(3, "images", 0), (n, 3, side, side), -1.0, 1.0).unwrap()
    }

    #[test]
    #[cfg(feature = "vision-networks")]
    fn logits_equal_those_of_candle_transformers() {
        type Build = fn(usize, VarBuilder) -> candle_core::Result<candle_nn::Func<'_>>;
        for (depth, build) in [(R18, theirs::resnet18 as Build), (R34, theirs::resnet34), (R50, theirs::resnet50)] {
            let (network, images) = (network(depth, 64), images(2, 64));
            let state = weights(&network);
            let ours = network.logits(&state, &images).unwrap();
            let all = state.params.iter().chain(state.buffers.iter());
            let all = all.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
            let other = build(10, VarBuilder::from_tensors(all, DType::F32, &Device::Cpu)).unwrap();
            let other = candle_core::Module::forward(&other, &images).unwrap();
            let error = largest(&(ours - &other).unwrap()) / largest(&other);
            assert!(error < 1e-5, "{}: relative error {error}", depth.name());
        }
    }

    #[test]
    fn cifar_shortcut_takes_every_other_pixel_and_pads_channels() {
        let resnet = ResNet::new(Cifar20, (3, 4, 4)).unwrap();
        let block = resnet.blocks().into_iter().find(Block::changes_shape).unwrap();
        let x = Tensor::arange(0f32, 4.0 * 4.0 * 16.0, &Device::Cpu).unwrap().reshape((1, 4, 4, 16)).unwrap();
        let (params, buffers) = Default::default();
        let y = resnet.shortcut(&mut Pass::new(&params, &buffers, &Mode::evaluate()), &block, &x).unwrap();
        let y = y.get(0).unwrap().to_vec3::<f32>().unwrap();
        assert_eq!((y.len(), y[0].len(), y[0][0].len()), (2, 2, 32));
        assert_eq!(y[1][1][7..9], [0.0, (2.0 * 4.0 + 2.0) * 16.0]);
        assert_eq!(y[0][1][23..25], [2.0 * 16.0 + 15.0, 0.0]);
    }

    #[test]
    fn parameters_are_as_many_as_published() {
        // He et al. 2016, table 6 (CIFAR, rounded there), and torchvision's documentation, 1000 classes.
        let published = [(R18, 11_689_512), (R50, 25_557_032), (R152, 60_192_808), (Cifar20, 269_722 + 990 * 65)];
        for (depth, count) in published {
            let network = network(depth, 32).with_head(Head::Linear { outputs: 1000 });
            let params = network.param_specs().into_iter().filter(|slot| !slot.buffer);
            let found: usize = params.map(|slot| slot.shape.iter().product::<usize>()).sum();
            assert_eq!(found, count, "{}", depth.name());
        }
    }

    #[test]
    fn every_parameter_is_trained() {
        for depth in [R18, R50, Cifar20] {
            let (network, images) = (network(depth, 32), images(2, 32));
            let state = network.init(0).unwrap();
            let leaves = crate::Leaves::new(&state.params).unwrap();
            let forward = network.forward(&leaves.params(), &state.buffers, &images, Mode::batch_statistics()).unwrap();
            let gradient = leaves.gradient(&forward.output.sqr().unwrap().sum_all().unwrap()).unwrap();
            for (name, slope) in gradient.iter() {
                let size = slope.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(size.is_finite(), "{}: gradient of {name}", depth.name());
            }
            assert_eq!(forward.statistics.buffers.len(), state.buffers.len());
        }
    }
}
