//! EfficientNet-Lite0 (Tan and Le 2019, in the variant of the TensorFlow authors, 2020: no
//! squeeze-and-excitation, ReLU6 instead of swish): depthwise convolutions between pointwise ones.

use crate::layers::{LayerEpilogue, Pass};
use crate::upper::check;
use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result, Start};
use candle_core::Tensor;
use taper_ops::{Convolution, same_padding};

/// EfficientNet-Lite0 for images of any size, by batch or stored statistics; keys as timm's
/// `tf_efficientnet_lite0`. Features are 1280 wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EfficientNetLite0 {
    input: (usize, usize, usize),
}

/// TensorFlow's ε of batch norm, with which the published weights were trained.
const EPS: f64 = 1e-3;

const STEM: usize = 32;
const FEATURES: usize = 1280;

/// Blocks of one output size (Tan and Le 2019, table 1).
struct Stage {
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    outputs: usize,
}

const STAGES: [Stage; 7] = [
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 1, outputs: 16 },
    Stage { blocks: 2, kernel: 3, stride: 2, expansion: 6, outputs: 24 },
    Stage { blocks: 2, kernel: 5, stride: 2, expansion: 6, outputs: 40 },
    Stage { blocks: 3, kernel: 3, stride: 2, expansion: 6, outputs: 80 },
    Stage { blocks: 3, kernel: 5, stride: 1, expansion: 6, outputs: 112 },
    Stage { blocks: 4, kernel: 5, stride: 2, expansion: 6, outputs: 192 },
    Stage { blocks: 1, kernel: 3, stride: 1, expansion: 6, outputs: 320 },
];

/// A convolution and the batch norm after it.
struct Unit {
    convolution: String,
    norm: String,
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    /// Whether it has one filter per channel.
    depthwise: bool,
    /// Whether ReLU6 follows.
    rectified: bool,
}

/// One block: its stage, its units in order, and whether its input is added to its output.
struct Block {
    /// `blocks.6`.
    stage: String,
    units: Vec<Unit>,
    residual: bool,
}

impl Unit {
    fn pointwise(convolution: String, norm: String, inputs: usize, outputs: usize) -> Self {
        Self { convolution, norm, inputs, outputs, kernel: 1, stride: 1, depthwise: false, rectified: true }
    }

    fn param_specs(&self) -> impl Iterator<Item = ParamSpec> {
        let Self { inputs, outputs, kernel, depthwise, .. } = *self;
        let shape = [outputs, if depthwise { 1 } else { inputs }, kernel, kernel];
        std::iter::once(ParamSpec::weight(&self.convolution, &shape, Start::KaimingNormal))
            .chain(ParamSpec::norm(&self.norm, outputs))
    }

    fn pass(&self, pass: &mut Pass, x: &Tensor) -> Result<Tensor> {
        let groups = if self.depthwise { self.inputs } else { 1 };
        let (_, h, w, _) = x.dims4()?;
        let (around, padding) = same([h, w], self.kernel, self.stride);
        let x = pass.pad(x, around)?;
        let how = Convolution { stride: self.stride, padding, groups };
        let then = if self.rectified { LayerEpilogue::Relu6 } else { LayerEpilogue::Nothing };
        pass.layer((&self.convolution, &self.norm), &x, how, then)
    }
}

impl Block {
    fn pass(&self, pass: &mut Pass, x: &Tensor) -> Result<Tensor> {
        if let Some(y) = self.packed_pass(pass, x)? {
            return Ok(y);
        }
        let mut y = x.clone();
        for unit in &self.units {
            y = unit.pass(pass, &y)?;
        }
        if self.residual { pass.add(&y, x) } else { Ok(y) }
    }

    /// The block as one operation, if its weights are final.
    fn packed_pass(&self, pass: &Pass, x: &Tensor) -> Result<Option<Tensor>> {
        let (expand, [depthwise, project]) = match &self.units[..] {
            [depthwise, project] => (None, [depthwise, project]),
            [expand, depthwise, project] => (Some(expand), [depthwise, project]),
            _ => return Ok(None),
        };
        let units = [expand, Some(depthwise), Some(project)];
        let names = units.map(|unit| unit.map(|unit| (&*unit.convolution, &*unit.norm)));
        pass.packed_block(names, x, (depthwise.stride, self.residual))
    }
}

impl EfficientNetLite0 {
    /// From `x` through the uppermost `blocks` to the features.
    fn rise(&self, mut pass: Pass, x: Tensor, blocks: impl Iterator<Item = Block>) -> Result<Features> {
        let x = self.top(&mut pass, x, blocks)?;
        let features = pass.global_avg_pool(&x)?;
        Ok(pass.into_features(features))
    }

    /// From `x` through the uppermost `blocks` to the activations whose mean is the features.
    fn top(&self, pass: &mut Pass, x: Tensor, mut blocks: impl Iterator<Item = Block>) -> Result<Tensor> {
        let x = blocks.try_fold(x, |x, block| block.pass(pass, &x))?;
        self.last().pass(pass, &x)
    }

    /// A network for images of `(channels, height, width)`.
    ///
    /// # Errors
    ///
    /// Returns an error for empty images.
    pub fn new(input: (usize, usize, usize)) -> Result<Self> {
        let (c, h, w) = input;
        if c == 0 || h == 0 || w == 0 {
            return Err(ModelError::too_small("efficientnet-lite0", 1, input));
        }
        Ok(Self { input })
    }

    fn stem(&self) -> Unit {
        let pointwise = Unit::pointwise("conv_stem".into(), "bn1".into(), self.input.0, STEM);
        Unit { kernel: 3, stride: 2, ..pointwise }
    }

    fn last(&self) -> Unit {
        Unit::pointwise("conv_head".into(), "bn2".into(), STAGES[STAGES.len() - 1].outputs, FEATURES)
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut inputs = STEM;
        for (number, stage) in STAGES.iter().enumerate() {
            for index in 0..stage.blocks {
                let stride = if index == 0 { stage.stride } else { 1 };
                blocks.push(block(number, index, inputs, stride));
                inputs = stage.outputs;
            }
        }
        blocks
    }

    fn units(&self) -> impl Iterator<Item = Unit> {
        let blocks = self.blocks().into_iter().flat_map(|block| block.units);
        std::iter::once(self.stem()).chain(blocks).chain([self.last()])
    }
}

/// The stage of a block that is counted over all stages, and its place in the stage.
pub(crate) fn place(block: usize) -> Option<(usize, usize)> {
    let mut places =
        STAGES.iter().enumerate().flat_map(|(number, stage)| (0..stage.blocks).map(move |index| (number, index)));
    places.nth(block)
}

/// The block at a place of a stage.
fn block(number: usize, index: usize, inputs: usize, stride: usize) -> Block {
    let stage = &STAGES[number];
    let name = format!("blocks.{number}.{index}");
    let inside = inputs * stage.expansion;
    let depthwise = |norm: &str| {
        let unit = Unit::pointwise(format!("{name}.conv_dw"), format!("{name}.{norm}"), inside, inside);
        Unit { kernel: stage.kernel, stride, depthwise: true, ..unit }
    };
    let pointwise = |convolution: &str, norm: &str, inputs, outputs| {
        Unit::pointwise(format!("{name}.{convolution}"), format!("{name}.{norm}"), inputs, outputs)
    };
    let project = |convolution, norm| Unit { rectified: false, ..pointwise(convolution, norm, inside, stage.outputs) };
    let units = match stage.expansion {
        1 => vec![depthwise("bn1"), project("conv_pw", "bn2")],
        _ => vec![pointwise("conv_pw", "bn1", inputs, inside), depthwise("bn2"), project("conv_pwl", "bn3")],
    };
    Block { stage: format!("blocks.{number}"), units, residual: stride == 1 && inputs == stage.outputs }
}

/// TensorFlow's padding `SAME` of an image of `[h, w]`: as many outputs as strides fit, with an odd row or column of
/// zeros after the image. Returns what a symmetric padding of the convolution can't express (zeros before and after
/// rows, columns and channels), and that symmetric padding.
fn same(sizes: [usize; 2], kernel: usize, stride: usize) -> ([(usize, usize); 3], usize) {
    let [rows, columns] = sizes.map(|size| same_padding(size, kernel, stride));
    let padding = rows.0.min(columns.0);
    let rest = |(before, after): (usize, usize)| (before - padding, after - padding);
    ([rest(rows), rest(columns), (0, 0)], padding)
}

impl Backbone for EfficientNetLite0 {
    fn name(&self) -> String {
        "efficientnet-lite0".into()
    }

    fn width(&self) -> usize {
        FEATURES
    }

    fn input(&self) -> (usize, usize, usize) {
        self.input
    }

    fn head_name(&self) -> &str {
        "classifier"
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        self.units().flat_map(|unit| unit.param_specs().collect::<Vec<_>>()).collect()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let mut pass = Pass::new(params, buffers, mode).with_eps(EPS);
        let x = pass.channels_last(inputs)?;
        let x = self.stem().pass(&mut pass, &x)?;
        self.rise(pass, x, self.blocks().into_iter())
    }

    fn places(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Option<Tensor>> {
        let mut pass = Pass::new(params, buffers, mode).with_eps(EPS);
        let x = pass.channels_last(inputs)?;
        let x = self.stem().pass(&mut pass, &x)?;
        self.top(&mut pass, x, self.blocks().into_iter()).map(Some)
    }

    fn stages(&self) -> Vec<String> {
        let ends = |names: [&str; 2]| names.map(String::from);
        ends(["conv_stem", "bn1"]).into_iter().chain(self.split_points()).chain(ends(["conv_head", "bn2"])).collect()
    }

    fn split_points(&self) -> Vec<String> {
        (0..STAGES.len()).map(|stage| format!("blocks.{stage}")).collect()
    }

    fn width_below(&self, stage: &str) -> Result<usize> {
        check(self, stage)?;
        let below = self.blocks().into_iter().take_while(|block| block.stage != stage).last();
        Ok(below.and_then(|block| block.units.last().map(|unit| unit.outputs)).unwrap_or(STEM))
    }

    fn forward_to(
        &self,
        params: &Params,
        buffers: &Buffers,
        inputs: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Tensor> {
        let mut pass = Pass::new(params, buffers, mode).with_eps(EPS);
        let x = pass.channels_last(inputs)?;
        let mut x = self.stem().pass(&mut pass, &x)?;
        for block in self.blocks().into_iter().take_while(|block| block.stage != stage) {
            x = block.pass(&mut pass, &x)?;
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
        let mut pass = Pass::new(params, buffers, mode).with_eps(EPS);
        let blocks = self.blocks().into_iter().skip_while(|block| block.stage != from);
        let mut blocks = blocks.take_while(|block| block.stage != to);
        blocks.try_fold(activations.clone(), |x, block| block.pass(&mut pass, &x))
    }

    fn forward_from(
        &self,
        params: &Params,
        buffers: &Buffers,
        activations: &Tensor,
        mode: &mut Mode,
        stage: &str,
    ) -> Result<Features> {
        let pass = Pass::new(params, buffers, mode).with_eps(EPS);
        let blocks = self.blocks().into_iter().skip_while(|block| block.stage != stage);
        self.rise(pass, activations.clone(), blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Head, Network};
    use std::sync::Arc;

    #[test]
    fn parameters_are_as_many_as_published() {
        let network =
            Network::new(Arc::new(EfficientNetLite0::new((3, 224, 224)).unwrap()), Head::Linear { outputs: 1000 });
        let param_specs = network.param_specs();
        let count = |buffer: bool| -> usize {
            param_specs
                .iter()
                .filter(|slot| slot.buffer == buffer)
                .map(|slot| slot.shape.iter().product::<usize>())
                .sum()
        };
        assert_eq!(count(false), 4_652_008);
        // the published file has 4,694,073 values, one of them a count in each of 49 norms
        assert_eq!(count(false) + count(true) + 49, 4_694_073);
    }

    #[test]
    fn same_padding_puts_the_odd_zero_after_the_image() {
        let of = |kernel, stride| same([6, 7], kernel, stride);
        assert_eq!(of(3, 1), ([(0, 0), (0, 0), (0, 0)], 1));
        assert_eq!(of(1, 1), ([(0, 0), (0, 0), (0, 0)], 0));
        // even rows: none before, one after; odd columns: one on either side
        assert_eq!(of(3, 2), ([(0, 1), (1, 1), (0, 0)], 0));
        // rows: one before, two after; columns: two on either side
        assert_eq!(of(5, 2), ([(0, 1), (1, 1), (0, 0)], 1));
    }
}
