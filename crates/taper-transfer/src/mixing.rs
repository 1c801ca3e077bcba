//! Training images made of two: mixup (Zhang, Cisse, Dauphin and Lopez-Paz 2018) and CutMix (Yun et
//! al. 2019). Each image of a batch is mixed with the one before it.

use candle_core::{Result, Tensor};
use rand::Rng as _;
use taper_learn::training::Targeted;
use taper_ops::{Rng, weighted_sum};

/// Whether and how the inputs of a batch are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Mixing {
    /// They are not mixed.
    #[default]
    Off,
    /// Weighted means of two inputs, the weight drawn from Beta(α, α).
    Mixup(f64),
    /// A rectangle of one image from another, its area's share drawn from Beta(α, α).
    CutMix(f64),
}

impl Mixing {
    /// The mixed batch, drawn by `rng`.
    ///
    /// # Errors
    /// Returns an error for CutMix of inputs that are not images.
    pub fn mixed(self, batch: Targeted, rng: &mut Rng) -> Result<Targeted> {
        match self {
            Self::Off => Ok(batch),
            Self::Mixup(alpha) => mixup(&batch, beta(alpha, rng)),
            Self::CutMix(alpha) => {
                let (_, _, height, width) = batch.inputs.dims4()?;
                let share = beta(alpha, rng);
                let center = (rng.random_range(0..height), rng.random_range(0..width));
                cutmix(&batch, share, center)
            }
        }
    }
}

/// `share` of each input plus the rest of the one before it.
fn mixup(batch: &Targeted, share: f64) -> Result<Targeted> {
    Ok(Targeted { inputs: mix(share, &batch.inputs)?, targets: mix(share, &batch.targets)? })
}

/// Each image with a rectangle around `center` (row, column) from the one before it, which has about
/// 1 − `share` of the area; targets use the area that remains after clipping at the borders.
fn cutmix(batch: &Targeted, share: f64, center: (usize, usize)) -> Result<Targeted> {
    let (_, _, height, width) = batch.inputs.dims4()?;
    let half = |side: usize| (0.5 * (1.0 - share).sqrt() * side as f64) as usize;
    let range = |middle: usize, side: usize| (middle.saturating_sub(half(side)), (middle + half(side)).min(side));
    let ((top, bottom), (left, right)) = (range(center.0, height), range(center.1, width));
    let area = ((bottom - top) * (right - left)) as f64 / (height * width) as f64;
    let inside = (0..height * width).map(|place| {
        let (row, column) = (place / width, place % width);
        u8::from((top..bottom).contains(&row) && (left..right).contains(&column))
    });
    let inside = Tensor::from_iter(inside, batch.inputs.device())?.reshape((1, 1, height, width))?;
    let inputs = inside.broadcast_as(batch.inputs.shape())?.where_cond(&rolled(&batch.inputs)?, &batch.inputs)?;
    Ok(Targeted { inputs, targets: mix(1.0 - area, &batch.targets)? })
}

/// `share` of each row plus the rest of the one before it.
fn mix(share: f64, tensor: &Tensor) -> Result<Tensor> {
    weighted_sum(share, tensor, 1.0 - share, &rolled(tensor)?)
}

/// Each row moved to the place of the next, the last one to the first's.
fn rolled(tensor: &Tensor) -> Result<Tensor> {
    let n = tensor.dim(0)?;
    if n < 2 {
        return Ok(tensor.clone());
    }
    Tensor::cat(&[tensor.narrow(0, n - 1, 1)?, tensor.narrow(0, 0, n - 1)?], 0)
}

/// A number from Beta(α, α), α at most 1 (Jöhnk 1964).
fn beta(alpha: f64, rng: &mut Rng) -> f64 {
    loop {
        let [a, b] = [(); 2].map(|()| rng.random::<f64>().powf(1.0 / alpha));
        if a + b <= 1.0 && a + b > 0.0 {
            return a / (a + b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use serde::Deserialize;
    use taper_ops::rng;

    #[derive(Deserialize)]
    struct Golden {
        share: f64,
        center: (usize, usize),
        images: Vec<Vec<Vec<Vec<f32>>>>,
        labels: Vec<Vec<f32>>,
        mixup_images: Vec<f32>,
        mixup_labels: Vec<f32>,
        cutmix_images: Vec<f32>,
        cutmix_labels: Vec<f32>,
    }

    fn close(ours: &Tensor, theirs: &[f32]) -> bool {
        let ours = ours.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-5)
    }

    #[test]
    fn mixup_and_cutmix_are_torchvisions() {
        let golden: Vec<Golden> = serde_json::from_str(include_str!("../golden/mixing.json")).unwrap();
        assert!(golden.len() > 2);
        for golden in golden {
            let images: Vec<f32> = golden.images.iter().flatten().flatten().flatten().copied().collect();
            let shape = (golden.images.len(), golden.images[0].len(), golden.images[0][0].len(), images.len());
            let width = shape.3 / (shape.0 * shape.1 * shape.2);
            let batch = Targeted {
                inputs: Tensor::from_vec(images, (shape.0, shape.1, shape.2, width), &Device::Cpu).unwrap(),
                targets: Tensor::new(golden.labels, &Device::Cpu).unwrap(),
            };
            let mixup = mixup(&batch, golden.share).unwrap();
            assert!(close(&mixup.inputs, &golden.mixup_images) && close(&mixup.targets, &golden.mixup_labels));
            let cutmix = cutmix(&batch, golden.share, golden.center).unwrap();
            assert!(close(&cutmix.inputs, &golden.cutmix_images) && close(&cutmix.targets, &golden.cutmix_labels));
        }
    }

    #[test]
    fn shares_are_distributed_as_they_should_be() {
        // the variance of Beta(α, α) is 1 / (4 (2α + 1))
        for alpha in [0.2, 1.0] {
            let rng = &mut rng(0, "shares", 0);
            let shares: Vec<f64> = (0..20_000).map(|_| beta(alpha, rng)).collect();
            let mean = shares.iter().sum::<f64>() / 2e4;
            let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 2e4;
            assert!((mean - 0.5).abs() < 0.01 && (variance - 0.25 / (2.0 * alpha + 1.0)).abs() < 0.005, "{alpha}");
        }
    }
}
