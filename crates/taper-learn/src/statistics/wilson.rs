//! The interval of a share of independent decisions.

use super::Interval;

/// Share of `correct` among `total` independent decisions with Wilson's score interval (1927), which
/// keeps its level near 0 and 1 and for small `total`. No decision gives the whole range.
///
/// ```
/// let share = taper_learn::statistics::wilson_interval(9, 10);
/// assert_eq!(format!("{:.2} ({:.2} to {:.2})", share.mean, share.low, share.high), "0.90 (0.60 to 0.98)");
/// ```
pub fn wilson_interval(correct: usize, total: usize) -> Interval {
    const Z: f64 = 1.959_963_984_540_054;
    if total == 0 {
        return Interval { mean: 0.5, low: 0.0, high: 1.0 };
    }
    let n = total as f64;
    let share = correct as f64 / n;
    let center = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let margin = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    // the ends are within 0 and 1 except for rounding
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
    fn no_decision_leaves_every_share_possible() {
        assert_eq!(wilson_interval(0, 0), Interval { mean: 0.5, low: 0.0, high: 1.0 });
    }
}
