//! How similar images are to labeled ones, under a classifier's network.

use crate::{Result, heads::unit_length};
use candle_core::Tensor;
use taper_models::{Head, Matching, Network, Params, State};
use taper_ops::matmul_nt;

/// How similar images are to the labeled ones.
///
/// Similarity is the cosine of the features (as in Sun et al. 2022, "Out-of-distribution detection with deep nearest
/// neighbors", whose distance between features of unit length is a function of it); for dense matching it is the
/// strength of the match as a share of the image's match with itself.
#[derive(Debug, Clone)]
pub struct Similarity {
    measure: Measure,
}

#[derive(Debug, Clone)]
enum Measure {
    Cosine {
        /// `(n, d)`, rows of unit length.
        unit: Tensor,
        /// `(1, d)`: their mean.
        mean: Tensor,
        /// `(n, d)`: the same without the mean, again of unit length.
        centered: Tensor,
    },
    Matching {
        network: Network,
        params: Params,
        /// `(n, d)`.
        features: Tensor,
    },
}

/// What cosines to labeled images are taken of.
#[derive(Debug, Clone, Copy)]
pub struct Directions<'a> {
    /// The features of the labeled images, `(n, d)`, rows of unit length.
    pub unit: &'a Tensor,
    /// Their mean, `(1, d)`.
    pub mean: &'a Tensor,
}

/// Images per comparison by dense matching, which bounds memory.
const MATCHED_AT_ONCE: usize = 40;

impl Similarity {
    /// Similarity to labeled images of `features (n, d)`.
    ///
    /// # Errors
    /// Returns an error if the features are not a matrix.
    pub fn new(network: &Network, state: &State, features: &Tensor) -> Result<Self> {
        let measure = match network.head() {
            Head::Matching { .. } => {
                let params = state.params.filter(|name| network.in_head(name));
                Measure::Matching { network: network.clone(), params, features: features.clone() }
            }
            _ => {
                let unit = unit_length(features)?;
                let mean = unit.mean_keepdim(0)?;
                let centered = unit_length(&unit.broadcast_sub(&mean)?)?;
                Measure::Cosine { unit, mean, centered }
            }
        };
        Ok(Self { measure })
    }

    /// What cosines are taken of; `None` for dense matching, which has none.
    pub fn directions(&self) -> Option<Directions<'_>> {
        match &self.measure {
            Measure::Cosine { unit, mean, .. } => Some(Directions { unit, mean }),
            Measure::Matching { .. } => None,
        }
    }

    /// The similarity of each of `queries (m, d)` to each labeled image, `(m, n)`: at most 1, higher for more similar.
    ///
    /// # Errors
    /// Returns an error if the features have another width.
    pub fn of(&self, queries: &Tensor) -> Result<Vec<Vec<f64>>> {
        match &self.measure {
            Measure::Cosine { unit, .. } => rows(&matmul_nt(&unit_length(queries)?, unit)?),
            Measure::Matching { network, params, features } => {
                let matching = Matching::new(params, network.backbone().head_name(), network.backbone().layout());
                let mut all = Vec::new();
                for query in 0..queries.dim(0)? {
                    let query = queries.narrow(0, query, 1)?;
                    let itself = rows(&matching.likeness(&query, &query)?.both)?[0][0];
                    let mut row = Vec::new();
                    for first in (0..features.dim(0)?).step_by(MATCHED_AT_ONCE) {
                        let some = features.narrow(0, first, MATCHED_AT_ONCE.min(features.dim(0)? - first))?;
                        row.extend(rows(&matching.likeness(&query, &some)?.both)?.concat());
                    }
                    all.push(row.into_iter().map(|value| value / itself.max(1e-6)).collect());
                }
                Ok(all)
            }
        }
    }

    /// Two signs for each of `queries (m, d)` that it is unlike the labeled images, each higher for more foreign ones:
    /// the distance to the most similar image between features of unit length, and the negative cosine to the most
    /// similar one about the labeled images' mean, which sees what differs beside what all of them share. For dense
    /// matching both are the negative strength of the best match.
    ///
    /// # Errors
    /// Returns an error if the features have another width.
    pub fn foreignness(&self, queries: &Tensor) -> Result<Vec<[f64; 2]>> {
        let similar = self.of(queries)?;
        match &self.measure {
            Measure::Cosine { mean, centered, .. } => {
                let about_mean = unit_length(&unit_length(queries)?.broadcast_sub(mean)?)?;
                Ok(signs(&similar, Some(&rows(&matmul_nt(&about_mean, centered)?)?), |_, _| true))
            }
            Measure::Matching { .. } => Ok(signs(&similar, None, |_, _| true)),
        }
    }

    /// The same signs for the labeled images themselves, each among the others.
    ///
    /// # Errors
    /// Returns an error if a comparison fails.
    pub fn left_one_out(&self) -> Result<Vec<[f64; 2]>> {
        match &self.measure {
            Measure::Cosine { unit, centered, .. } => {
                let about_mean = rows(&matmul_nt(centered, centered)?)?;
                Ok(signs(&self.of(unit)?, Some(&about_mean), |query, image| query != image))
            }
            Measure::Matching { features, .. } => Ok(signs(&self.of(features)?, None, |query, image| query != image)),
        }
    }
}

/// The signs from similarities, and if they are cosines from those about the mean, of the images that count.
fn signs(
    similar: &[Vec<f64>],
    about_mean: Option<&[Vec<f64>]>,
    counts: impl Fn(usize, usize) -> bool,
) -> Vec<[f64; 2]> {
    let best = |query: usize, row: &[f64]| {
        let others = (0..row.len()).filter(|&image| counts(query, image));
        // an image without others is as unlike them as can be
        others.map(|image| row[image]).fold(-1.0, f64::max)
    };
    let of = |(query, row): (usize, &Vec<f64>)| {
        let nearest = best(query, row);
        match about_mean {
            Some(about_mean) => [(2.0 - 2.0 * nearest).max(0.0).sqrt(), -best(query, &about_mean[query])],
            None => [-nearest, -nearest],
        }
    };
    similar.iter().enumerate().map(of).collect()
}

fn rows(tensor: &Tensor) -> Result<Vec<Vec<f64>>> {
    Ok(tensor.detach().to_dtype(candle_core::DType::F64)?.to_vec2()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use taper_models::Architecture;
    use taper_ops::{normal, rng};

    #[test]
    fn a_labeled_image_is_as_similar_to_itself_as_can_be_and_a_far_one_is_foreign() {
        let backbone = "adapter-2".parse::<Architecture>().unwrap().backbone((3, 1, 1)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 2 });
        let state = network.init(0).unwrap();
        let features = Tensor::new(&[[1f32, 0.0], [0.0, 2.0]], &Device::Cpu).unwrap();
        let similarity = Similarity::new(&network, &state, &features).unwrap();
        let apart = similarity.left_one_out().unwrap();
        assert!(apart.iter().all(|[distance, _]| (distance - 2f64.sqrt()).abs() < 1e-6), "{apart:?}");
        let queries = Tensor::new(&[[3f32, 0.0], [1.0, 1.0], [-1.0, -1.0]], &Device::Cpu).unwrap();
        let similar = similarity.of(&queries).unwrap();
        assert!((similar[0][0] - 1.0).abs() < 1e-6 && similar[0][1].abs() < 1e-6);
        let foreign = similarity.foreignness(&queries).unwrap();
        assert!(foreign[0][0] < foreign[1][0] && foreign[1][0] < foreign[2][0], "{foreign:?}");
        assert!((foreign[1][0] - (2.0 - 2f64.sqrt()).sqrt()).abs() < 1e-6);
    }

    #[test]
    fn dense_matching_finds_an_image_again_with_a_similarity_of_1() {
        let backbone = "stroke-net-6".parse::<Architecture>().unwrap().backbone((1, 35, 35)).unwrap();
        let network = Network::new(backbone, Head::Matching { images: 0, outputs: 0 });
        let state = network.init(1).unwrap();
        let images = normal(&mut rng(0, "images", 0), (3, 1, 35, 35), 1.0).unwrap();
        let features = network.logits(&state, &images).unwrap();
        let similar = Similarity::new(&network, &state, &features).unwrap().of(&features).unwrap();
        for (at, row) in similar.iter().enumerate() {
            assert!((row[at] - 1.0).abs() < 1e-5, "{row:?}");
            assert!(row.iter().enumerate().all(|(other, value)| other == at || *value < 1.0), "{row:?}");
        }
    }
}
