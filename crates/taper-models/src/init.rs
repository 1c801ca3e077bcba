//! PyTorch's initializations, by name, from a seed.

use candle_core::{DType, Device, Result, Tensor};
use taper_ops::{Rng, normal, uniform};

/// The number of summands of one output.
pub(crate) fn fan_in(shape: &[usize]) -> usize {
    shape[1..].iter().product()
}

fn fan_out(shape: &[usize]) -> usize {
    shape[0] * shape[2..].iter().product::<usize>()
}

/// PyTorch's default of `Conv2d` and `Linear` weights and biases: uniform within
/// ±1/√(inputs of one output) (`kaiming_uniform_` with a = √5).
pub(crate) fn torch_default(rng: &mut Rng, shape: &[usize], inputs: usize) -> Result<Tensor> {
    let bound = 1.0 / (inputs as f32).sqrt();
    uniform(rng, shape, -bound, bound)
}

/// `xavier_uniform_` (Glorot and Bengio 2010, eq. 16).
pub(crate) fn xavier_uniform(rng: &mut Rng, shape: &[usize]) -> Result<Tensor> {
    let bound = (6.0 / (fan_in(shape) + fan_out(shape)) as f32).sqrt();
    uniform(rng, shape, -bound, bound)
}

/// `kaiming_normal_`, fan out, for rectifiers (He et al. 2015): torchvision's ResNets.
pub(crate) fn kaiming_normal_fan_out(rng: &mut Rng, shape: &[usize]) -> Result<Tensor> {
    normal(rng, shape, (2.0 / fan_out(shape) as f32).sqrt())
}

pub(crate) fn ones(shape: &[usize]) -> Result<Tensor> {
    Tensor::ones(shape, DType::F32, &Device::Cpu)
}

pub(crate) fn zeros(shape: &[usize]) -> Result<Tensor> {
    Tensor::zeros(shape, DType::F32, &Device::Cpu)
}
