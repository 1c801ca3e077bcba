//! Class activation maps (Zhou et al. 2016, "Learning deep features for discriminative localization"): how much each
//! place of an image speaks for a class.

use crate::Result;
use candle_core::Tensor;
use taper_data::HeatMap;
use taper_models::{Head, Mode, Network, State};
use taper_ops::matmul_nt;

/// The share of each place of `input (1, c, h, w)` in the logit of `class`: with features that are the mean over places
/// and a linear head, the logit is the mean of these (eq. 2), up to the bias. With features made from that mean, each
/// place counts by the logit's slope (Grad-CAM, Selvaraju et al. 2017). `None` for other networks and heads.
///
/// # Errors
/// Returns an error if the image does not fit the network.
pub fn class_activation(network: &Network, state: &State, input: &Tensor, class: usize) -> Result<Option<HeatMap>> {
    let Head::Linear { .. } = network.head() else { return Ok(None) };
    let places = network.backbone().places(&state.params, &state.buffers, input, &mut Mode::evaluate())?;
    let Some(places) = places else { return Ok(None) };
    let (_, rows, columns, width) = places.dims4()?;
    let weight = state.params.get(&format!("{}.weight", network.backbone().head_name()))?.narrow(0, class, 1)?;
    let slope = network.backbone().slope(&places, &weight)?;
    let map = matmul_nt(&places.reshape((rows * columns, width))?, &slope)?;
    Ok(Some(HeatMap { rows, columns, values: map.flatten_all()?.detach().to_vec1()? }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_models::Architecture;

    #[test]
    fn the_mean_of_the_map_and_the_bias_are_the_logit() {
        for name in ["efficientnet-lite0", "resnet18"] {
            let backbone = name.parse::<Architecture>().unwrap().backbone((3, 64, 64)).unwrap();
            let network = Network::new(backbone, Head::Linear { outputs: 3 });
            let state = network.init(1).unwrap();
            let input = taper_ops::uniform(&mut taper_ops::rng(0, "x", 0), (1, 3, 64, 64), 0.0, 1.0).unwrap();
            let map = class_activation(&network, &state, &input, 2).unwrap().unwrap();
            assert_eq!((map.rows, map.columns), (2, 2));
            let bias = state.params.get(&format!("{}.bias", network.backbone().head_name())).unwrap();
            let bias = bias.to_vec1::<f32>().unwrap()[2];
            let logit = network.logits(&state, &input).unwrap().to_vec2::<f32>().unwrap()[0][2];
            let mean = map.values.iter().sum::<f32>() / 4.0;
            assert!((mean + bias - logit).abs() < 1e-3 * logit.abs().max(1.0), "{name}: {mean} {bias} {logit}");
        }
    }
}
