//! Temperature scaling (Guo et al. 2017, section 4.2): the chosen head's logits are divided by one number, so that answers
//! given 80% are right 80% of the time. The number is fitted on folds of the training images; no decision
//! changes.

use crate::Result;
use taper_learn::support::HeldOut;
use taper_models::{Network, State};

/// The state with the logits of the network's head divided by a temperature.
///
/// # Errors
/// Returns an error if a parameter can't be scaled.
pub(crate) fn cooled(network: &Network, state: State, temperature: f64) -> Result<State> {
    let Some(layer) = network.output_layer() else { return Ok(state) };
    let own = |name: &str| name.strip_prefix(&layer).is_some_and(|rest| rest == ".weight" || rest == ".bias");
    let scaled = state.params.filter(own).map(|tensor| tensor * (1.0 / temperature))?;
    Ok(State { params: state.params.merged(&scaled), buffers: state.buffers })
}

/// Scores of images that were held out, and the state, with the temperature of the scores taken into both; as they are if
/// the network has no last layer to divide, as dense matching has none.
///
/// # Errors
/// Returns an error if a parameter can't be scaled.
pub fn calibrated_by(network: &Network, state: State, held_out: HeldOut) -> Result<(HeldOut, State)> {
    if network.output_layer().is_none() {
        return Ok((held_out, state));
    }
    let state = cooled(network, state, held_out.temperature())?;
    Ok((held_out.cooled(), state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use taper_models::Head;

    #[test]
    fn cooled_logits_are_divided_and_nothing_else_changes() {
        let backbone = "adapter-2".parse::<taper_models::Architecture>().unwrap().backbone((3, 1, 1)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 2 });
        let state = network.init(1).unwrap();
        let inputs = Tensor::new(&[[[[1f32]], [[2.0]], [[-1.0]]]], &Device::Cpu).unwrap();
        let logits = |state: &State| network.logits(state, &inputs).unwrap().to_vec2::<f32>().unwrap().concat();
        let (before, after) = (logits(&state), logits(&cooled(&network, state.clone(), 4.0).unwrap()));
        assert!(before.iter().zip(&after).all(|(before, after)| (before / 4.0 - after).abs() < 1e-6), "{after:?}");
    }
}
