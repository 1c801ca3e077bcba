//! Which places of a drawing match those of a labeled one, by dense matching.

use crate::Result;
use candle_core::Tensor;
use taper_data::HeatMap;
use taper_models::{Head, Matching, Network, State};

/// How much each place of an image with `features (1, d)` adds to its likeness to a labeled image with features
/// `labeled (1, d)`. `None` for networks that don't match places.
///
/// # Errors
/// Returns an error if the features have another width.
pub fn matched_places(
    network: &Network,
    state: &State,
    features: &Tensor,
    labeled: &Tensor,
) -> Result<Option<HeatMap>> {
    let Head::Matching { .. } = network.head() else { return Ok(None) };
    let (name, layout) = (network.backbone().head_name(), network.backbone().layout());
    let values = Matching::new(&state.params, name, layout).places(features, labeled)?;
    Ok(values.map(|values| HeatMap { rows: layout.side, columns: layout.side, values }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_models::Architecture;
    use taper_ops::{normal, rng};

    #[test]
    fn a_drawing_matches_itself_better_than_another_in_all_places_together() {
        let backbone = "stroke-net-6".parse::<Architecture>().unwrap().backbone((1, 35, 35)).unwrap();
        let network = Network::new(backbone, Head::Matching { images: 0, outputs: 0 });
        let state = network.init(1).unwrap();
        let images = normal(&mut rng(0, "images", 0), (2, 1, 35, 35), 1.0).unwrap();
        let features = network.logits(&state, &images).unwrap();
        let (one, other) = (features.narrow(0, 0, 1).unwrap(), features.narrow(0, 1, 1).unwrap());
        let total = |labeled: &Tensor| {
            let map = matched_places(&network, &state, &one, labeled).unwrap().unwrap();
            assert_eq!(map.values.len(), map.rows * map.columns);
            map.values.iter().sum::<f32>()
        };
        assert!(total(&one) > total(&other));
    }
}
