//! What was meta-trained from pretrained weights: its features, and a kept learner read back.

use super::{Frozen, Made, MetaTrained};
use crate::{CompareError, Result, method};
use std::sync::Arc;
use taper_data::Inputs;
use taper_learn::{
    Context, Model, TaskNorm,
    methods::{is_own, network_part},
};
use taper_models::State;
use taper_transfer::{Features, upper_part};

impl MetaTrained {
    /// Features of the images `images` by the network as it is after meta-training.
    ///
    /// # Errors
    /// Returns an error if computing them fails.
    pub(crate) fn features(&self, made: &Made, images: &[usize]) -> Result<Arc<dyn Inputs>> {
        let Some(activations) = &made.activations else { return Ok(made.features.clone()) };
        let network = &self.configured.context().network;
        Ok(Arc::new(Features::of_activations(activations, images, network, &network_part(&self.state))?))
    }
}

impl Frozen {
    /// A kept learner whose uppermost stage was meta-trained from these weights.
    ///
    /// # Errors
    /// Returns an error if it was not: then the part below differs, or it is of another network.
    pub(crate) fn learned(&self, model: &Model) -> Result<MetaTrained> {
        let other = || CompareError::OtherWeights { method: model.origin.method.clone(), weights: self.name.clone() };
        let stage = self.uppermost_stage()?;
        if model.network.backbone().name() != self.network.backbone().name() {
            return Err(other());
        }
        let (upper, upper_state) = upper_part(&model.network, &model.state, stage)?;
        let (_, pretrained_upper) = upper_part(&self.network, &self.state, stage)?;
        let is_below = |name: &str| {
            !self.network.in_head(name)
                && pretrained_upper.params.get(name).is_err()
                && pretrained_upper.buffers.get(name).is_err()
        };
        if !is_same(&self.below(is_below), &model.state)? {
            return Err(other());
        }
        let params = upper_state.params.merged(&model.state.params.filter(is_own));
        let context = Context { network: upper, norm: TaskNorm::Stored, steps: 1 };
        let method = method(&model.origin.method)?;
        let configured = method.configure(&model.origin.settings, context)?;
        let on = model.origin.on.strip_prefix(&format!("{}, ", self.name)).unwrap_or(&model.origin.on).to_string();
        Ok(MetaTrained { method, configured, state: State { params, buffers: upper_state.buffers }, seconds: 0.0, on })
    }

    fn below(&self, is_below: impl Fn(&str) -> bool) -> State {
        State { params: self.state.params.filter(&is_below), buffers: self.state.buffers.filter(&is_below) }
    }
}

/// Whether `all` holds the same values as `part` for everything in `part`.
fn is_same(part: &State, all: &State) -> taper_learn::Result<bool> {
    let params = part.params.iter().map(|(name, value)| (value, all.params.get(name)));
    let buffers = part.buffers.iter().map(|(name, value)| (value, all.buffers.get(name)));
    for (value, other) in params.chain(buffers) {
        let Ok(other) = other else { return Ok(false) };
        if value.dims() != other.dims()
            || value.flatten_all()?.to_vec1::<f32>()? != other.flatten_all()?.to_vec1::<f32>()?
        {
            return Ok(false);
        }
    }
    Ok(true)
}
