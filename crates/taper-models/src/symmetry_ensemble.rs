//! A backbone that takes each image in all eight symmetries of the square.

use crate::trace::{Operation, record};
use crate::{Backbone, Buffers, Features, Layout, Mode, ModelError, ParamSpec, Params, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// The symmetries of the square: four rotations, and the same mirrored.
const SYMMETRIES: usize = 8;

/// A backbone whose features are those of all rotations and reflections of an image, concatenated:
/// `(n, 8 · d)`, with the same parameters.
///
/// Learners that compare features thus compare all eight: test-time augmentation (as Krizhevsky et al.
/// 2012 did with the mirrored image). It is for inference: a network trained on rotated tasks
/// makes different errors in each symmetry, and its training costs no more than before.
#[derive(Debug, Clone)]
pub struct SymmetryEnsemble(Arc<dyn Backbone>);

impl SymmetryEnsemble {
    /// The prefix of its name, before the backbone's own.
    pub(crate) const PREFIX: &str = "turned-";

    /// The ensemble of a backbone for square images.
    ///
    /// # Errors
    ///
    /// Returns an error for other images.
    pub fn new(backbone: Arc<dyn Backbone>) -> Result<Self> {
        let (_, h, w) = backbone.input();
        if h != w {
            return Err(ModelError::Invalid(format!(
                "images of {w}x{h} can't be rotated: end the transform in a square"
            )));
        }
        Ok(Self(backbone))
    }
}

impl Backbone for SymmetryEnsemble {
    fn name(&self) -> String {
        format!("{}{}", Self::PREFIX, self.0.name())
    }

    fn width(&self) -> usize {
        SYMMETRIES * self.0.width()
    }

    fn layout(&self) -> Layout {
        let layout = self.0.layout();
        Layout { views: SYMMETRIES * layout.views, ..layout }
    }

    fn input(&self) -> (usize, usize, usize) {
        self.0.input()
    }

    fn head_name(&self) -> &str {
        self.0.head_name()
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        self.0.param_specs()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let trace = mode.trace.clone();
        let turned = |symmetry| record(&trace, Operation::Symmetry(symmetry), &[inputs], turned(inputs, symmetry)?);
        let turned = (0..SYMMETRIES).map(turned).collect::<Result<Vec<_>>>()?;
        let turned: Vec<&Tensor> = turned.iter().collect();
        let images = record(&trace, Operation::Stack, &turned, Tensor::cat(&turned, 0)?)?;
        let Features { features: of_all, statistics } = self.0.features(params, buffers, &images, mode)?;
        let of_each = of_all.reshape((SYMMETRIES, inputs.dim(0)?, ()))?.transpose(0, 1)?;
        let features = of_each.flatten_from(1)?.contiguous()?;
        let features = record(&trace, Operation::SideBySide { views: SYMMETRIES }, &[&of_all], features)?;
        Ok(Features { features, statistics })
    }

    fn stages(&self) -> Vec<String> {
        self.0.stages()
    }
}

/// Images `(n, c, s, s)`, mirrored from the fifth symmetry on, then rotated by `symmetry % 4` quarter turns.
fn turned(inputs: &Tensor, symmetry: usize) -> Result<Tensor> {
    let flipped = |images: &Tensor, across: usize| images.contiguous()?.flip(&[across]);
    let images = if symmetry >= SYMMETRIES / 2 { flipped(inputs, 3)? } else { inputs.clone() };
    let images = match symmetry % 4 {
        0 => images,
        1 => flipped(&images.transpose(2, 3)?, 3)?,
        2 => flipped(&flipped(&images, 2)?, 3)?,
        _ => flipped(&images.transpose(2, 3)?, 2)?,
    };
    Ok(images.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Head, Network, named_backbone};
    use taper_ops::{normal, rng};

    fn images() -> Tensor {
        normal(&mut rng(0, "images", 0), (3, 1, 16, 16), 1.0).unwrap()
    }

    #[test]
    fn the_eight_symmetries_differ_and_are_those_of_the_square() {
        let image = Tensor::arange(0f32, 4.0, &candle_core::Device::Cpu).unwrap().reshape((1, 1, 2, 2)).unwrap();
        let rows = (0..8).map(|symmetry| turned(&image, symmetry).unwrap().flatten_all().unwrap().to_vec1().unwrap());
        let rows: Vec<Vec<f32>> = rows.collect();
        let right: [[f32; 4]; 8] = [
            [0., 1., 2., 3.],
            [2., 0., 3., 1.],
            [3., 2., 1., 0.],
            [1., 3., 0., 2.],
            [1., 0., 3., 2.],
            [3., 1., 2., 0.],
            [2., 3., 0., 1.],
            [0., 2., 1., 3.],
        ];
        assert_eq!(rows, right);
    }

    #[test]
    fn features_are_those_of_each_symmetry_in_turn() {
        let plain = named_backbone("conv4-4", (1, 16, 16)).unwrap();
        let all = named_backbone("turned-conv4-4", (1, 16, 16)).unwrap();
        assert_eq!((all.name(), all.width()), ("turned-conv4-4".into(), 8 * plain.width()));
        let state = plain.init(0).unwrap();
        let of = |backbone: &Arc<dyn Backbone>, images: &Tensor| {
            backbone.features(&state.params, &state.buffers, images, &mut Mode::evaluate()).unwrap().features
        };
        let features = of(&all, &images());
        for symmetry in 0..SYMMETRIES {
            let own = of(&plain, &turned(&images(), symmetry).unwrap()).to_vec2::<f32>().unwrap();
            let part = features.narrow(1, symmetry * plain.width(), plain.width()).unwrap().to_vec2::<f32>().unwrap();
            for (own, part) in own.iter().flatten().zip(part.iter().flatten()) {
                assert!((own - part).abs() < 1e-5, "{symmetry}: {own} and {part}");
            }
        }
    }

    #[test]
    fn dense_matching_is_the_mean_over_the_symmetries_whatever_way_an_image_lies() {
        let network = |name: &str| {
            let backbone = named_backbone(name, (1, 35, 35)).unwrap();
            Network::new(backbone, Head::Matching { images: 0, outputs: 0 })
        };
        let (plain, all) = (network("stroke-net-6"), network("turned-stroke-net-6"));
        let state = plain.init(1).unwrap();
        all.check(&state).unwrap();
        let images = normal(&mut rng(0, "images", 1), (4, 1, 35, 35), 1.0).unwrap();
        let likeness = |network: &Network, images: &Tensor| {
            let forward = network.forward(&state.params, &state.buffers, images, Mode::evaluate()).unwrap();
            let backbone = network.backbone();
            let matching = crate::Matching::new(&state.params, backbone.head_name(), backbone.layout());
            let both = matching.likeness(&forward.features, &forward.features).unwrap().both;
            both.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let whole = likeness(&all, &images);
        let mut mean = vec![0.0; whole.len()];
        for symmetry in 0..SYMMETRIES {
            let one = likeness(&plain, &turned(&images, symmetry).unwrap());
            mean.iter_mut().zip(one).for_each(|(mean, one)| *mean += one / SYMMETRIES as f32);
        }
        let again = likeness(&all, &turned(&images, 6).unwrap());
        for ((whole, mean), again) in whole.iter().zip(mean).zip(again) {
            assert!((whole - mean).abs() < 1e-4 && (whole - again).abs() < 1e-4, "{whole} {mean} {again}");
        }
    }

    #[test]
    fn images_that_are_no_squares_are_refused() {
        let error = named_backbone("turned-conv4-4", (1, 16, 32)).unwrap_err().to_string();
        assert!(error.contains("32x16 can't be rotated"), "{error}");
    }
}
