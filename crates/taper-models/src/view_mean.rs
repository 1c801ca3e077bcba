//! A backbone that sees each image in several views.

use crate::trace::{Operation, record};
use crate::{Backbone, Buffers, Features, Mode, ModelError, ParamSpec, Params, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// The side of the center of an image: the square in its middle, of 3/4 of its shorter side, in pixels.
pub fn center_side(height: usize, width: usize) -> usize {
    height.min(width) * 3 / 4
}

/// A backbone whose features are the mean of those of several views of an image (test-time augmentation, as Krizhevsky
/// et al. 2012): the image, its mirror image, and with [`ViewMean::with_centers`] the centers of both. It is
/// for inference.
#[derive(Debug, Clone)]
pub struct ViewMean {
    backbone: Arc<dyn Backbone>,
    centers: bool,
}

impl ViewMean {
    /// The prefix of its name with two views, before the backbone's own.
    pub(crate) const TWO: &str = "two-view-";
    /// The prefix of its name with four views.
    pub(crate) const FOUR: &str = "four-view-";

    /// Of an image and its mirror image.
    pub fn mirrored(backbone: Arc<dyn Backbone>) -> Self {
        Self { backbone, centers: false }
    }

    /// Of an image, its mirror image, and the centers of both (see [`center_side`]).
    pub fn with_centers(backbone: Arc<dyn Backbone>) -> Self {
        Self { backbone, centers: true }
    }

    /// The features `(n, d)` of images whose views have these features.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no view, or the shapes differ.
    pub fn of_views(views: &[Tensor]) -> Result<Tensor> {
        let (first, rest) = views.split_first().ok_or_else(|| ModelError::Invalid("an image needs a view".into()))?;
        let sum = rest.iter().try_fold(first.clone(), |sum, view| sum + view)?;
        Ok((sum * (1.0 / views.len() as f64))?)
    }
}

impl Backbone for ViewMean {
    fn name(&self) -> String {
        format!("{}{}", if self.centers { Self::FOUR } else { Self::TWO }, self.backbone.name())
    }

    fn width(&self) -> usize {
        self.backbone.width()
    }

    fn input(&self) -> (usize, usize, usize) {
        self.backbone.input()
    }

    fn head_name(&self) -> &str {
        self.backbone.head_name()
    }

    fn param_specs(&self) -> Vec<ParamSpec> {
        self.backbone.param_specs()
    }

    fn features(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Features> {
        let trace = mode.trace.clone();
        let mut images = vec![inputs.clone()];
        if self.centers {
            let (_, _, rows, columns) = inputs.dims4()?;
            let side = center_side(rows, columns);
            // half a pixel goes to the even neighbor, as for `center-crop`
            let first = |size: usize| ((size - side) as f64 / 2.0).round_ties_even() as usize;
            let inside = [rows, columns].map(|size| first(size)..first(size) + side);
            let [rows, columns] = inside.clone();
            let center = inputs.narrow(2, rows.start, rows.len())?.narrow(3, columns.start, columns.len())?;
            images.push(record(&trace, Operation::Part(inside), &[inputs], center.contiguous()?)?);
        }
        let mirrored = |image: &Tensor| {
            record(&trace, Operation::Symmetry(4), &[image], image.contiguous()?.flip(&[3])?.contiguous()?)
        };
        let mut views = Vec::new();
        for image in &images {
            for image in [image, &mirrored(image)?] {
                views.push(self.backbone.features(params, buffers, image, mode)?.features);
            }
        }
        let features = record(&trace, Operation::Mean, &views.iter().collect::<Vec<_>>(), Self::of_views(&views)?)?;
        Ok(Features { features, statistics: Default::default() })
    }

    fn places(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mode: &mut Mode) -> Result<Option<Tensor>> {
        self.backbone.places(params, buffers, inputs, mode)
    }

    /// That of the first view.
    fn slope(&self, places: &Tensor, weight: &Tensor) -> Result<Tensor> {
        self.backbone.slope(places, weight)
    }

    fn resized(&self, name: &str, tensor: Tensor) -> Result<Tensor> {
        self.backbone.resized(name, tensor)
    }

    fn stages(&self) -> Vec<String> {
        self.backbone.stages()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named_backbone;
    use taper_ops::{rng, uniform};

    #[test]
    fn features_are_the_mean_over_the_views_and_do_not_change_when_the_image_is_mirrored() {
        let plain = named_backbone("staged-resnet18", (3, 64, 48)).unwrap();
        let state = plain.init(0).unwrap();
        let images = uniform(&mut rng(0, "images", 0), (2, 3, 64, 48), -1.0, 1.0).unwrap();
        let of = |backbone: &Arc<dyn Backbone>, images: &Tensor| {
            let made = backbone.features(&state.params, &state.buffers, images, &mut Mode::evaluate()).unwrap();
            made.features.to_vec2::<f32>().unwrap().concat()
        };
        let flipped = images.flip(&[3]).unwrap().contiguous().unwrap();
        let center =
            |images: &Tensor| images.narrow(2, 14, 36).unwrap().narrow(3, 6, 36).unwrap().contiguous().unwrap();
        let two = [images.clone(), flipped.clone()];
        let four = [images.clone(), flipped.clone(), center(&images), center(&flipped)];
        for (name, views) in [("two-view-staged-resnet18", &two[..]), ("four-view-staged-resnet18", &four[..])] {
            let backbone = named_backbone(name, (3, 64, 48)).unwrap();
            assert_eq!((backbone.name().as_str(), backbone.width()), (name, plain.width()));
            let mut mean = vec![0.0; 2 * plain.width()];
            for view in views {
                let rows = of(&plain, view);
                mean.iter_mut().zip(rows).for_each(|(sum, value)| *sum += value / views.len() as f32);
            }
            let close = |rows: &[f32]| rows.iter().zip(&mean).all(|(ours, mean)| (ours - mean).abs() < 1e-5);
            assert!(close(&of(&backbone, &images)) && close(&of(&backbone, &flipped)), "{name}");
        }
    }
}
