//! What tests of networks share.

use crate::{Backbone, Mode, State};
use candle_core::Tensor;
use taper_ops::{rng, uniform};

/// Fresh values with noise, which keeps activations alive where values are 0 or small at the start.
pub(crate) fn noisy_state(network: &dyn Backbone) -> State {
    let mut state = State::default();
    for spec in network.param_specs() {
        let noise = uniform(&mut rng(1, &spec.name, 0), spec.shape.clone(), -0.1, 0.1).unwrap();
        state.insert(&spec, (spec.draw(0).unwrap() + noise).unwrap());
    }
    state
}

/// Random images `(count, 3, side, side)`.
pub(crate) fn images(count: usize, side: usize) -> Tensor {
    uniform(&mut rng(2, "images", 0), (count, 3, side, side), -1.0, 1.0).unwrap()
}

/// The features of images, tracked.
pub(crate) fn features(network: &dyn Backbone, state: &State, images: &Tensor) -> Tensor {
    network.features(&state.params, &state.buffers, images, &mut Mode::evaluate()).unwrap().features
}

pub(crate) fn largest(t: &Tensor) -> f32 {
    t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
}
