//! The interval of repeated cross-validation.

use super::{Interval, student_quantile};

/// Mean of the scores of repeated k-fold cross-validation with its 95% interval, clipped to 0 and 1. The
/// folds' training sets overlap, so the variance is that of Nadeau and Bengio (2003, eq. 9), with
/// `1/(folds − 1)` for the ratio of images tested on to images trained on. Fewer than two scores, or
/// folds, give the whole range.
pub fn repeated_folds_interval(scores: &[f64], folds: usize) -> Interval {
    if scores.len() < 2 || folds < 2 {
        return Interval { mean: scores.first().copied().unwrap_or(0.5), low: 0.0, high: 1.0 };
    }
    let n = scores.len() as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let margin = student_quantile(0.95, n - 1.0) * (variance * (1.0 / n + 1.0 / (folds as f64 - 1.0))).sqrt();
    Interval::within(mean, margin, 0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_folds_widen_the_interval() {
        let interval = repeated_folds_interval(&[0.8, 0.9, 0.7, 0.8, 0.8], 5);
        // variance 0.005, times 1/5 + 1/4, and t of 4 degrees of freedom
        assert!((interval.mean - 0.8).abs() < 1e-12);
        assert!((interval.margin() - 2.776_445 * (0.005_f64 * 0.45).sqrt()).abs() < 1e-6, "{interval:?}");
    }

    #[test]
    fn a_single_fold_leaves_every_accuracy_possible() {
        assert_eq!(repeated_folds_interval(&[0.9], 5), Interval { mean: 0.9, low: 0.0, high: 1.0 });
    }
}
