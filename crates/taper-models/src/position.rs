//! Position embeddings for another image size.

use crate::{ModelError, Result};
use candle_core::{DType, Device, Tensor};

/// How coordinates of the new grid map to the old one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum GridScale {
    /// By the two sizes, as transformers does for ViT and CLIP.
    Sizes,
    /// By the new size plus 0.1 over the old one, as DINOv2 does (Oquab et al. 2023, its code's
    /// `interpolate_offset`).
    Offset,
}

/// Position embeddings of one class token and a square grid of patches, for a grid of `side`
/// patches: bicubic (a = -0.75, edges repeated), as PyTorch's `interpolate`. `(…, 1 + g², d)`
/// becomes `(…, 1 + side², d)`.
///
/// # Errors
///
/// Returns an error if the patches do not form a square.
pub(crate) fn interpolate(embeddings: &Tensor, side: usize, scale: GridScale) -> Result<Tensor> {
    let dims = embeddings.dims().to_vec();
    let Some((tokens, width)) = dims.iter().rev().nth(1).copied().zip(dims.last().copied()) else {
        return Err(ModelError::Invalid(format!(
            "position embeddings of shape {dims:?} have no grid: use other weights"
        )));
    };
    let Some(old) = grid(tokens).filter(|_| dims[..dims.len() - 2].iter().all(|&size| size == 1)) else {
        return Err(ModelError::Invalid(format!(
            "position embeddings of shape {dims:?} are not one class token and a square of patches: use other weights"
        )));
    };
    if old == side {
        return Ok(embeddings.clone());
    }
    let values: Vec<f32> = embeddings.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let (class, patches) = values.split_at(width);
    let taps = taps(old, side, scale);
    // rows of the grid first, then columns
    let mut rows = vec![0f32; side * old * width];
    for (y, (from, weights)) in taps.iter().enumerate() {
        for x in 0..old {
            let at = &mut rows[(y * old + x) * width..][..width];
            for (source, weight) in from.iter().zip(weights) {
                add(at, &patches[(source * old + x) * width..][..width], *weight);
            }
        }
    }
    let mut grid = class.to_vec();
    grid.resize((1 + side * side) * width, 0.0);
    for y in 0..side {
        for (x, (from, weights)) in taps.iter().enumerate() {
            let at = &mut grid[(1 + y * side + x) * width..][..width];
            for (source, weight) in from.iter().zip(weights) {
                add(at, &rows[(y * old + source) * width..][..width], *weight);
            }
        }
    }
    let mut shape = dims;
    let last = shape.len() - 2;
    shape[last] = 1 + side * side;
    Ok(Tensor::from_vec(grid, shape, &Device::Cpu)?)
}

/// The side of the grid of patches that follows one class token.
pub(crate) fn grid(tokens: usize) -> Option<usize> {
    let patches = tokens.checked_sub(1).filter(|&patches| patches > 0)?;
    let side = patches.isqrt();
    (side * side == patches).then_some(side)
}

fn add(sum: &mut [f32], term: &[f32], weight: f32) {
    sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += weight * term);
}

/// For each place of the new side, four places of the old side with their weights (Keys 1981).
fn taps(old: usize, new: usize, scale: GridScale) -> Vec<([usize; 4], [f32; 4])> {
    const A: f64 = -0.75;
    let step = match scale {
        GridScale::Sizes => old as f64 / new as f64,
        GridScale::Offset => old as f64 / (new as f64 + 0.1),
    };
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let tap = |place: usize| {
        let at = (place as f64 + 0.5) * step - 0.5;
        let (first, part) = (at.floor(), at - at.floor());
        let source = |offset: f64| (first + offset).clamp(0.0, old as f64 - 1.0) as usize;
        let weights = [far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)];
        ([-1.0, 0.0, 1.0, 2.0].map(source), weights.map(|weight| weight as f32))
    };
    (0..new).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `golden/positions.py` wrote the numbers with PyTorch.
    #[test]
    fn interpolated_positions_equal_pytorchs() {
        let text = include_str!("../golden/positions.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in golden["cases"].as_array().unwrap() {
            let number = |key: &str| case[key].as_u64().unwrap() as usize;
            let (old, new) = (number("old"), number("new"));
            let count = (1 + old * old) * 2;
            let values: Vec<f32> = (0..count).map(|at| ((at * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
            let embeddings = Tensor::from_vec(values, (1, 1 + old * old, 2), &Device::Cpu).unwrap();
            let scale = if case["offset"] == true { GridScale::Offset } else { GridScale::Sizes };
            let ours = interpolate(&embeddings, new, scale).unwrap();
            assert_eq!(ours.dims(), [1, 1 + new * new, 2]);
            let ours: Vec<f32> = ours.flatten_all().unwrap().to_vec1().unwrap();
            let theirs = case["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
            for (at, theirs) in case["at"].as_array().unwrap().iter().zip(theirs) {
                let ours = f64::from(ours[at.as_u64().unwrap() as usize]);
                assert!((ours - theirs).abs() < 2e-5, "{old} to {new}: {ours}, PyTorch's {theirs}");
            }
        }
    }

    #[test]
    fn positions_without_a_square_grid_are_refused() {
        let odd = Tensor::zeros((1, 8, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(interpolate(&odd, 3, GridScale::Sizes).unwrap_err().to_string().contains("square"));
    }
}
