//! The share of predictions that are right.

use crate::{LearnError, Result};
use candle_core::{D, Tensor};

/// Share of rows of `logits (n, ways)` whose largest entry is at the label `(n)`.
///
/// # Errors
/// Returns an error for an empty batch, and if the shapes don't match.
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<f64> {
    let predicted = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let labels = labels.to_vec1::<u32>()?;
    if labels.is_empty() {
        return Err(LearnError::Invalid("an empty batch has no accuracy".into()));
    }
    let right = predicted.iter().zip(&labels).filter(|(a, b)| a == b).count();
    Ok(right as f64 / labels.len() as f64)
}

/// The place of the largest score, of equal ones the first; `None` if there are none.
pub fn likeliest<T: Copy + Into<f64>>(scores: &[T]) -> Option<usize> {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].into().total_cmp(&scores[b].into()))
}
