//! An estimate with its interval.

use serde::{Deserialize, Serialize};

/// An estimate with its 95% interval. All three values are finite.
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
    /// `mean` ± `margin`, clipped to the possible values from `least` to `greatest`. A `margin`
    /// that is not finite gives all of them.
    pub(super) fn within(mean: f64, margin: f64, least: f64, greatest: f64) -> Self {
        let margin = if margin.is_finite() { margin } else { greatest - least };
        Self { mean, low: (mean - margin).max(least), high: (mean + margin).min(greatest) }
    }

    /// Half the interval's length.
    pub fn margin(&self) -> f64 {
        (self.high - self.low) / 2.0
    }

    /// Returns `true` if `value` lies in the interval, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}
