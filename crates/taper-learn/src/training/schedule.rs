//! Learning rates over a run.

use serde::{Deserialize, Serialize};

/// How the learning rate changes over a run; each gives a factor of the base rate.
///
/// ```
/// use taper_learn::training::Schedule;
/// let cosine = Schedule::Cosine { warmup: 0 };
/// assert_eq!(cosine.factor(0, 100), 1.0);
/// assert!((cosine.factor(50, 100) - 0.5).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Schedule {
    /// The same throughout.
    Constant,
    /// Half a cosine from 1 down to 0 (Loshchilov and Hutter 2017, without restarts), after a
    /// linear rise over the first `warmup` steps.
    Cosine {
        /// Steps of linear rise.
        warmup: u64,
    },
    /// One rise and one longer fall, both along half a cosine (Smith and Topin 2018): from 1/25 up
    /// over the first 30% of steps, down to 1/250,000.
    OneCycle,
    /// From this factor up to 1, by the same ratio every step: a test of learning rates (Smith 2017,
    /// section 3.3).
    Rising {
        /// The first step's factor.
        from: f64,
    },
}

impl Schedule {
    /// The factor at `step` (from 0) of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Cosine { warmup } if step < warmup => (step + 1) as f64 / (warmup + 1) as f64,
            Self::Cosine { warmup } => {
                let done = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
                half_cosine(1.0, 0.0, done.min(1.0))
            }
            Self::Rising { from } => from.powf(1.0 - step as f64 / (steps as f64 - 1.0).max(1.0)),
            Self::OneCycle => {
                let (start, end) = (1.0 / 25.0, 1.0 / 25.0 / 1e4);
                let top = (0.3 * steps as f64 - 1.0).max(1e-9);
                let at = step as f64;
                match at <= top {
                    true => half_cosine(start, 1.0, at / top),
                    false => half_cosine(1.0, end, ((at - top) / (steps as f64 - 1.0 - top).max(1e-9)).min(1.0)),
                }
            }
        }
    }
}

/// From `a` to `b` along half a cosine, `done` of the way.
fn half_cosine(a: f64, b: f64, done: f64) -> f64 {
    b + (a - b) / 2.0 * (1.0 + (std::f64::consts::PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        schedules: Vec<Factors>,
    }

    #[derive(Deserialize)]
    struct Factors {
        schedule: Schedule,
        factors: Vec<f64>,
    }

    #[test]
    fn schedules_are_pytorchs_over_100_steps() {
        let golden: Golden = serde_json::from_str(include_str!("../../golden/optimizers.json")).unwrap();
        assert_eq!(golden.schedules.len(), 4);
        for Factors { schedule, factors } in golden.schedules {
            for (step, expected) in factors.iter().enumerate() {
                let factor = schedule.factor(step as u64, 100);
                assert!((factor - expected).abs() < 1e-9, "{schedule:?} at {step}: {factor}, not {expected}");
            }
        }
    }

    #[test]
    fn a_test_of_rates_rises_by_one_ratio() {
        let rising = Schedule::Rising { from: 1e-4 };
        for (step, expected) in [(0, 1e-4), (2, 1e-2), (4, 1.0)] {
            assert!((rising.factor(step, 5) / expected - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn cosine_rises_then_falls_to_nothing() {
        let cosine = Schedule::Cosine { warmup: 10 };
        assert!(cosine.factor(0, 110) < 0.1 && (cosine.factor(10, 110) - 1.0).abs() < 1e-12);
        assert!((cosine.factor(60, 110) - 0.5).abs() < 1e-12 && cosine.factor(109, 110) < 1e-3);
    }
}
