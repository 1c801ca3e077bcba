//! 95 % intervals.

use serde::{Deserialize, Serialize};

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The estimate.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Do the two have no value in common?
    pub fn disjoint(&self, other: &Self) -> bool {
        self.high < other.low || other.high < self.low
    }

    /// Half the interval's length.
    pub fn margin(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// Mean of independent values ± 1.96 standard errors, the field's convention over episodes.
/// A single value has an infinite interval.
pub fn mean_interval(values: &[f64]) -> Interval {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let margin = if values.len() < 2 { f64::INFINITY } else { 1.96 * (variance / n).sqrt() };
    Interval { mean, low: mean - margin, high: mean + margin }
}

/// Mean difference `a − b` of paired values (the same episodes), with its interval: much narrower
/// than the difference of two means where episodes differ in difficulty.
pub fn paired_difference(a: &[f64], b: &[f64]) -> Interval {
    mean_interval(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}

/// Share of `right` among `n` independent decisions with Wilson's score interval (1927), which is
/// honest near 0 and 1 and for small n.
pub fn wilson_interval(right: usize, n: usize) -> Interval {
    const Z: f64 = 1.96;
    let total = n as f64;
    let share = right as f64 / total;
    let center = (share + Z * Z / (2.0 * total)) / (1.0 + Z * Z / total);
    let margin = Z / (1.0 + Z * Z / total) * (share * (1.0 - share) / total + Z * Z / (4.0 * total * total)).sqrt();
    // the ends are within 0 and 1 but for rounding
    Interval { mean: share, low: (center - margin).max(0.0), high: (center + margin).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_stays_within_0_and_1() {
        let all = wilson_interval(20, 20);
        assert!(all.mean == 1.0 && all.high <= 1.0 && (all.low - 0.8389).abs() < 1e-3);
        for n in 1..2000 {
            assert!(wilson_interval(0, n).low >= 0.0 && wilson_interval(n, n).high <= 1.0, "of {n}");
        }
    }

    #[test]
    fn pairs_that_differ_by_a_constant_have_no_uncertainty() {
        let a: Vec<f64> = (0..50).map(|i| f64::from(i % 7)).collect();
        let b: Vec<f64> = a.iter().map(|v| v - 0.5).collect();
        let difference = paired_difference(&a, &b);
        assert!((difference.mean - 0.5).abs() < 1e-12 && difference.margin() < 1e-12);
        assert!(mean_interval(&a).margin() > 0.3);
    }
}
