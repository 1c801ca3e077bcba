//! One block of a transformer, with norms before its layers (Dosovitskiy et al. 2021, equations 2 and 3).

use super::kind::{Sizes, VisionTransformerKind};
use super::names::{AttentionNames, BlockNames};
use crate::token_layers::{Layer, TokenPass};
use crate::trace::{LinearRows, Operation};
use crate::{ParamSpec, Result, Start};
use candle_core::Tensor;
use taper_ops::attention;

/// A block by its place.
pub(super) struct Block {
    /// `blocks.6`.
    pub(super) name: String,
    names: BlockNames,
    sizes: Sizes,
}

/// How much wider the perceptron's hidden layer is.
const EXPANSION: usize = 4;

impl Block {
    /// All blocks of a transformer.
    pub(super) fn all(kind: VisionTransformerKind) -> impl Iterator<Item = Self> {
        let (names, sizes) = (kind.names(), kind.sizes());
        let name = move |number| format!("{}.{number}", names.blocks);
        (0..sizes.blocks).map(move |number| Self { name: name(number), names: names.block, sizes })
    }

    fn under(&self, part: &str) -> String {
        format!("{}.{part}", self.name)
    }

    /// The names of its layer norms.
    pub(super) fn norms(&self) -> [String; 2] {
        self.names.norms.map(|norm| self.under(norm))
    }

    pub(super) fn param_specs(&self) -> Vec<ParamSpec> {
        let BlockNames { attention, output, perceptron, scales, .. } = self.names;
        let (d, hidden) = (self.sizes.width, EXPANSION * self.sizes.width);
        let linear = |part: &str, shape: [usize; 2]| ParamSpec::torch_default(&self.under(part), &shape);
        let [before, after] = self.norms();
        let mut specs = ParamSpec::layer_norm(&before, d).to_vec();
        match attention {
            AttentionNames::Together(part) => specs.extend(linear(part, [3 * d, d])),
            AttentionNames::Apart(parts) => specs.extend(parts.iter().flat_map(|part| linear(part, [d, d]))),
        }
        specs.extend(linear(output, [d, d]));
        specs.extend(ParamSpec::layer_norm(&after, d));
        specs.extend(linear(perceptron[0], [hidden, d]));
        specs.extend(linear(perceptron[1], [d, hidden]));
        let scale = |part: &str| ParamSpec::param(self.under(part), &[d], Start::Ones);
        specs.extend(scales.iter().flatten().map(|part| scale(part)));
        specs
    }

    /// The block of tokens `x (n, t, 1, d)`.
    pub(super) fn forward(&self, pass: &TokenPass, x: &Tensor) -> Result<Tensor> {
        self.run(pass, x, x)
    }

    /// The block of tokens `x (n, t, 1, d)`, of which only the first, the class token, is computed: `(n, 1, 1, d)`.
    pub(super) fn forward_class(&self, pass: &TokenPass, x: &Tensor) -> Result<Tensor> {
        let class = pass.record(Operation::ClassToken, &[x], x.narrow(1, 0, 1)?.contiguous()?)?;
        self.run(pass, &class, x)
    }

    /// The block of the tokens `x (n, m, 1, d)`, which attend to `all (n, t, 1, d)`.
    fn run(&self, pass: &TokenPass, x: &Tensor, all: &Tensor) -> Result<Tensor> {
        let BlockNames { output, perceptron, scales, .. } = self.names;
        let [before, after] = self.norms();
        let scale = |place: usize| scales.map(|parts| self.under(parts[place]));
        let q = pass.linear_of_norm(&self.under("queries"), || self.queries(pass), &before, x)?;
        let kv = pass.linear_of_norm(&self.under("keys and values"), || self.keys_values(pass), &before, all)?;
        let Sizes { heads, width, .. } = self.sizes;
        let mixed = pass.record(Operation::Attention { heads, width }, &[&q, &kv], attention(&q, &kv, heads)?)?;
        let x = pass.add_linear(&self.under(output), scale(0).as_deref(), &mixed, x)?;
        let [first, second] = perceptron.map(|part| self.under(part));
        pass.add_perceptron([&first, &second], &after, scale(1).as_deref(), self.sizes.gelu, [&x, &x])
    }

    /// The layer of the queries.
    fn queries(&self, pass: &TokenPass) -> Result<Layer> {
        match self.names.attention {
            AttentionNames::Together(part) => outputs(pass.layer(&self.under(part))?, 0, self.sizes.width),
            AttentionNames::Apart([queries, ..]) => pass.layer(&self.under(queries)),
        }
    }

    /// The layer of the keys and then the values.
    fn keys_values(&self, pass: &TokenPass) -> Result<Layer> {
        let d = self.sizes.width;
        match self.names.attention {
            AttentionNames::Together(part) => outputs(pass.layer(&self.under(part))?, d, 2 * d),
            AttentionNames::Apart([_, keys, values]) => {
                let (keys, values) = (pass.layer(&self.under(keys))?, pass.layer(&self.under(values))?);
                let bias = keys.bias.zip(values.bias);
                let bias = bias.map(|(keys, values)| Tensor::cat(&[keys, values], 0)).transpose()?;
                let weight = Tensor::cat(&[keys.weight, values.weight], 0)?;
                let names = [keys.rows.names, values.rows.names].concat();
                let rows = LinearRows { names, rows: 0..weight.dim(0)?, bias: bias.is_some() };
                Ok(Layer { weight, bias, rows })
            }
        }
    }
}

/// Some outputs of a linear layer.
fn outputs(layer: Layer, first: usize, count: usize) -> Result<Layer> {
    let Layer { weight, bias, rows } = layer;
    Ok(Layer {
        weight: weight.narrow(0, first, count)?,
        bias: bias.map(|bias| bias.narrow(0, first, count)).transpose()?,
        rows: LinearRows { rows: first..first + count, ..rows },
    })
}
