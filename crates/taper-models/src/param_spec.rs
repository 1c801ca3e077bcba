//! The tensors of a network: their keys, shapes and initial values, as a description.

use crate::{Result, State, init};
use candle_core::{Device, Tensor};
use taper_ops::rng;

/// How a tensor is initialized.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    /// PyTorch's default of `Conv2d` and `Linear`: uniform within ±1/√inputs, where `inputs` is
    /// what one output sums over.
    TorchDefault {
        /// The number of summands of one output.
        inputs: usize,
    },
    /// `xavier_uniform_` (Glorot and Bengio 2010, eq. 16).
    XavierUniform,
    /// `kaiming_normal_`, fan out, for rectifiers (He et al. 2015).
    KaimingNormal,
    /// These values, in order.
    Values(&'static [f32]),
    /// Ones.
    Ones,
    /// Zeros.
    Zeros,
}

/// One tensor that a network has.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamSpec {
    /// Its key, as in published weights.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it is initialized.
    pub start: Start,
    /// Whether it is a running statistic rather than a parameter.
    pub buffer: bool,
}

impl ParamSpec {
    /// A parameter of any name.
    pub(crate) fn param(name: String, shape: &[usize], start: Start) -> Self {
        Self { name, shape: shape.to_vec(), start, buffer: false }
    }

    /// `name.weight`, of a convolution or fully connected layer.
    pub(crate) fn weight(name: &str, shape: &[usize], start: Start) -> Self {
        Self::param(format!("{name}.weight"), shape, start)
    }

    /// `name.weight` and `name.bias` as PyTorch initializes them.
    pub(crate) fn torch_default(name: &str, shape: &[usize]) -> [Self; 2] {
        let start = Start::TorchDefault { inputs: init::fan_in(shape) };
        [Self::weight(name, shape, start), Self::param(format!("{name}.bias"), &shape[..1], start)]
    }

    /// Batch norm of `c` channels: weight 1, bias 0, mean 0, variance 1.
    pub(crate) fn norm(name: &str, c: usize) -> [Self; 4] {
        let buffer = |kind: &str, start| Self { buffer: true, ..Self::param(format!("{name}.{kind}"), &[c], start) };
        [
            Self::weight(name, &[c], Start::Ones),
            Self::param(format!("{name}.bias"), &[c], Start::Zeros),
            buffer("running_mean", Start::Zeros),
            buffer("running_var", Start::Ones),
        ]
    }

    /// Layer norm of rows of `d` values: weight 1, bias 0.
    pub(crate) fn layer_norm(name: &str, d: usize) -> [Self; 2] {
        [Self::weight(name, &[d], Start::Ones), Self::param(format!("{name}.bias"), &[d], Start::Zeros)]
    }

    /// The initial tensor, f32; random values depend only on the seed and its name.
    pub(crate) fn draw(&self, seed: u64) -> Result<Tensor> {
        let rng = &mut rng(seed, &self.name, 0);
        Ok(match self.start {
            Start::TorchDefault { inputs } => init::torch_default(rng, &self.shape, inputs),
            Start::XavierUniform => init::xavier_uniform(rng, &self.shape),
            Start::KaimingNormal => init::kaiming_normal_fan_out(rng, &self.shape),
            Start::Values(values) => Tensor::from_slice(values, self.shape.as_slice(), &Device::Cpu),
            Start::Ones => init::ones(&self.shape),
            Start::Zeros => init::zeros(&self.shape),
        }?)
    }
}

/// The initial tensors of all specs.
pub(crate) fn draw(param_specs: &[ParamSpec], seed: u64) -> Result<State> {
    let mut state = State::default();
    for slot in param_specs {
        state.insert(slot, slot.draw(seed)?);
    }
    Ok(state)
}
