//! The mean of independent accuracies.

use super::{Interval, student_quantile};

/// Mean of independent accuracies (each from 0 to 1) with Student's t interval, cut to 0 and 1. A
/// single value says nothing about chance: its interval is all accuracies, 0 to 1.
///
/// ```
/// let mean = taper_learn::statistics::mean_interval(&[0.6, 0.7, 0.8]);
/// assert_eq!(format!("{:.2} ({:.2} to {:.2})", mean.mean, mean.low, mean.high), "0.70 (0.45 to 0.95)");
/// ```
pub fn mean_interval(accuracies: &[f64]) -> Interval {
    student(accuracies, 0.0)
}

/// Mean difference `a − b` of paired accuracies (of the same tasks) with Student's t interval, clipped to
/// −1 and 1; a single pair gives −1 to 1. For tasks that share classes use
/// [`difference_estimate`](super::difference_estimate).
///
/// ```
/// let gain = taper_learn::statistics::paired_difference(&[0.7, 0.8, 0.9], &[0.6, 0.7, 0.7]);
/// assert!(gain.mean > 0.13 && gain.low < 0.0); // three tasks prove nothing
/// ```
pub fn paired_difference(a: &[f64], b: &[f64]) -> Interval {
    student(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>(), -1.0)
}

fn student(values: &[f64], least: f64) -> Interval {
    if values.is_empty() {
        return Interval { mean: (least + 1.0) / 2.0, low: least, high: 1.0 };
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    if values.len() == 1 {
        return Interval { mean, low: least, high: 1.0 };
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Interval::within(mean, student_quantile(0.95, n - 1.0) * (variance / n).sqrt(), least, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_differ_by_a_constant_have_no_uncertainty() {
        let a: Vec<f64> = (0..50).map(|i| 0.4 + 0.05 * f64::from(i % 7)).collect();
        let b: Vec<f64> = a.iter().map(|v| v - 0.25).collect();
        let difference = paired_difference(&a, &b);
        assert!((difference.mean - 0.25).abs() < 1e-12 && difference.margin() < 1e-12);
        assert!(mean_interval(&a).margin() > 0.02);
    }

    #[test]
    fn two_values_take_students_t_of_one_degree_of_freedom() {
        let interval = mean_interval(&[0.50, 0.52]);
        assert!((interval.margin() - 12.706_2 * 0.01).abs() < 1e-5, "{interval:?}");
    }

    #[test]
    fn a_single_value_has_all_accuracies_as_its_interval() {
        assert_eq!(mean_interval(&[0.7]), Interval { mean: 0.7, low: 0.0, high: 1.0 });
        assert_eq!(paired_difference(&[0.7], &[0.5]).low, -1.0);
    }
}
