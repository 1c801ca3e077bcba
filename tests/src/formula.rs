//! Numbers that Python and Rust compute identically, so that no weights need to be stored;
//! `golden/formula.py` is the same in Python.

use candle_core::{Device, Result, Tensor};
use taper_models::{Network, State};

/// Values in [-1, 1) of 24 bits: splitmix64 of FNV-1a of the name plus the index.
pub fn uniform(name: &str, shape: &[usize]) -> Result<Tensor> {
    let start = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let value = |index: usize| {
        let z = start.wrapping_add((index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let z = z ^ (z >> 31);
        ((z >> 40) as f64 / f64::from(1u32 << 23) - 1.0) as f32
    };
    Tensor::from_vec((0..shape.iter().product()).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu)
}

/// Weights that keep activations of order one: variances in (0.5, 1.5), the rest near its usual initialization.
fn weights(name: &str, shape: &[usize]) -> Result<Tensor> {
    let values = uniform(name, shape)?;
    if name.ends_with("running_var") {
        return values.affine(0.5, 1.0);
    }
    if name.ends_with("running_mean") || name.ends_with("bias") {
        return values * 0.1;
    }
    if shape.len() == 1 {
        return values.affine(0.25, 1.0);
    }
    let inputs: usize = shape[1..].iter().product();
    values * f64::from((6.0 / inputs as f32).sqrt())
}

/// A state for the network, every tensor by the formula.
pub fn state(network: &Network) -> Result<State> {
    let mut state = State::default();
    for slot in network.param_specs() {
        let named = std::iter::once((slot.name.clone(), weights(&slot.name, &slot.shape)?));
        match slot.buffer {
            true => state.buffers = state.buffers.merged(&named.collect()),
            false => state.params = state.params.merged(&named.collect()),
        }
    }
    Ok(state)
}
