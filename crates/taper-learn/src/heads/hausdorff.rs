//! The modified Hausdorff distance (Dubuisson and Jain 1994, "A modified Hausdorff distance for
//! object matching"): the baseline that comes with Lake's Omniglot challenge.

use crate::{Adapt, Classifier, LearnError, Result};
use candle_core::{DType, Device, Tensor};
use taper_data::Batch;
use taper_ops::map_in_order;

/// Values above this are ink.
const INK: f32 = 0.5;

/// Classifies a line drawing, light on dark, by the nearest support drawing; learns nothing.
///
/// The distance of two drawings, both moved to their center of mass: the mean, over one drawing's pixels of ink,
/// of the distance to the nearest of the other; the larger of the two directions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hausdorff;

impl Adapt for Hausdorff {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        Ok(Box::new(Drawings {
            support: drawings(&support.inputs)?,
            labels: support.labels.to_vec1()?,
            ways: support.ways,
        }))
    }
}

/// A drawing's ink relative to its center of mass, in pixels: x, then y, of each pixel.
struct Ink {
    x: Vec<f32>,
    y: Vec<f32>,
}

struct Drawings {
    support: Vec<Ink>,
    labels: Vec<u32>,
    ways: usize,
}

impl Classifier for Drawings {
    /// For each class, minus the distance to its nearest support drawing.
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let queries = drawings(inputs)?;
        let rows = map_in_order(&queries, |_, query| {
            let mut row = vec![f32::NEG_INFINITY; self.ways];
            for (drawing, &label) in self.support.iter().zip(&self.labels) {
                let near = &mut row[label as usize];
                *near = near.max(-query.distance(drawing));
            }
            row
        });
        Ok(Tensor::from_vec(rows.concat(), (queries.len(), self.ways), &Device::Cpu)?)
    }
}

impl Ink {
    fn distance(&self, other: &Self) -> f32 {
        self.apart(other).max(other.apart(self))
    }

    /// Mean distance from this ink to the nearest of the other.
    fn apart(&self, other: &Self) -> f32 {
        // sixteen minima at once, which the compiler keeps in vector registers
        let nearest = self.x.iter().zip(&self.y).map(|(x, y)| {
            let mut least = [f32::INFINITY; 16];
            for (xs, ys) in other.x.chunks(16).zip(other.y.chunks(16)) {
                for ((least, a), b) in least.iter_mut().zip(xs).zip(ys) {
                    *least = least.min((a - x) * (a - x) + (b - y) * (b - y));
                }
            }
            least.into_iter().fold(f32::INFINITY, f32::min).sqrt()
        });
        nearest.sum::<f32>() / self.x.len() as f32
    }
}

/// The ink of each of the images `(n, 1, h, w)`.
///
/// # Errors
/// Returns an error if an image has none.
fn drawings(images: &Tensor) -> Result<Vec<Ink>> {
    let (n, _, _, width) = images.dims4()?;
    let values = images.to_dtype(DType::F32)?.reshape((n, ()))?.to_vec2::<f32>()?;
    values
        .iter()
        .enumerate()
        .map(|(number, plane)| {
            let places: Vec<usize> = (0..plane.len()).filter(|&place| plane[place] > INK).collect();
            if places.is_empty() {
                return Err(LearnError::Invalid(format!("image {number} has no ink: remove it")));
            }
            let about_the_mean = |along: &dyn Fn(usize) -> usize| {
                let mean = places.iter().map(|&place| along(place) as f32).sum::<f32>() / places.len() as f32;
                places.iter().map(|&place| along(place) as f32 - mean).collect::<Vec<_>>()
            };
            Ok(Ink { x: about_the_mean(&|place| place % width), y: about_the_mean(&|place| place / width) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 9x9 image with ink at these (row, column).
    fn image(ink: &[(usize, usize)]) -> Vec<f32> {
        let mut plane = vec![0.0; 81];
        ink.iter().for_each(|(row, column)| plane[row * 9 + column] = 1.0);
        plane
    }

    fn batch(images: &[Vec<f32>]) -> Tensor {
        Tensor::from_vec(images.concat(), (images.len(), 1, 9, 9), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_distance_is_the_larger_mean_of_nearest_distances_wherever_the_drawings_lie() {
        let line =
            |row: usize, columns: std::ops::Range<usize>| columns.map(|column| (row, column)).collect::<Vec<_>>();
        let support = batch(&[image(&line(0, 0..3)), image(&line(4, 0..5))]);
        let classifier = Hausdorff.adapt(&Batch::new(support, &[0, 1], 2).unwrap(), 0).unwrap();
        let logits = classifier.logits(&batch(&[image(&line(8, 4..7))])).unwrap().to_vec2::<f32>().unwrap();
        // compared with five pixels, whose two outer ones are 1 off: 2/5 in one direction, 0 in the other
        assert!(logits[0][0].abs() < 1e-6 && (logits[0][1] + 0.4).abs() < 1e-6, "{logits:?}");
    }

    #[test]
    fn an_image_without_ink_is_an_error() {
        let support = Batch::new(batch(&[image(&[]), image(&[(1, 1)])]), &[0, 1], 2).unwrap();
        assert!(Hausdorff.adapt(&support, 0).err().unwrap().to_string().contains("image 0 has no ink"));
    }
}
