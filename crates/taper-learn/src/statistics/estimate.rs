//! An estimate with what its interval is computed from.

use super::{Interval, student_quantile, student_two_sided};
use serde::{Deserialize, Serialize};

/// What an estimate is about, beyond the images it was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Population {
    /// New classes like those measured, and new images of them.
    NewClasses,
    /// New images of the very classes measured.
    TheseClasses,
}

/// An accuracy, or a difference of two, with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub mean: f64,
    /// Standard error; `None` if there is too little data to estimate one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// Degrees of freedom of the standard error (Satterthwaite 1946), 1 or more.
    pub degrees_of_freedom: f64,
    /// What the interval covers.
    pub population: Population,
    /// Training runs of each method. With 1 the estimate is about that run.
    pub runs: usize,
    /// The smallest value possible: 0 for an accuracy, −1 for a difference.
    pub least: f64,
}

impl Estimate {
    /// The 95% interval, clipped to the possible values; all of them without a standard error.
    pub fn interval(&self) -> Interval {
        self.interval_at(0.95)
    }

    /// The interval of that level, such as 0.9875 for one of four claims that hold together at 95%
    /// (Bonferroni).
    pub fn interval_at(&self, level: f64) -> Interval {
        let margin =
            self.standard_error.map_or(f64::INFINITY, |error| student_quantile(level, self.degrees_of_freedom) * error);
        Interval::within(self.mean, margin, self.least, 1.0)
    }

    /// Two-sided p-value of the mean being 0; 1 without a standard error.
    pub fn p_value(&self) -> f64 {
        match self.standard_error {
            None => 1.0,
            Some(error) if error > 0.0 => student_two_sided(self.mean / error, self.degrees_of_freedom),
            Some(_) => f64::from(u8::from(self.mean == 0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(mean: f64, standard_error: Option<f64>) -> Estimate {
        Estimate {
            mean,
            standard_error,
            degrees_of_freedom: 5.0,
            population: Population::NewClasses,
            runs: 1,
            least: -1.0,
        }
    }

    #[test]
    fn an_interval_excludes_0_just_when_the_p_value_is_below_5_percent() {
        for mean in [0.0, 0.01, 0.025, 0.026, 0.1] {
            let estimate = estimate(mean, Some(0.01));
            assert_eq!(!estimate.interval().contains(0.0), estimate.p_value() < 0.05, "{mean}");
        }
    }

    #[test]
    fn without_a_standard_error_every_difference_is_possible_and_json_has_no_null() {
        let estimate = estimate(0.2, None);
        assert_eq!(estimate.interval(), Interval { mean: 0.2, low: -1.0, high: 1.0 });
        assert_eq!(estimate.p_value(), 1.0);
        let text = serde_json::to_string(&(estimate, estimate.interval())).unwrap();
        assert!(!text.contains("null"), "{text}");
    }
}
