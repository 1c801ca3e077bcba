//! Learning rates over a run.

use serde::{Deserialize, Serialize};

/// How the learning rate changes over a run; each gives a factor of the base rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Schedule {
    /// The same throughout.
    Constant,
    /// Times `factor` every `every` steps.
    Step {
        /// Steps between cuts.
        every: u64,
        /// The factor.
        factor: f64,
    },
    /// Half a cosine from 1 down to 0 (Loshchilov and Hutter 2017, without restarts), after a
    /// linear rise over the first `warmup` steps.
    Cosine {
        /// Steps of linear rise.
        warmup: u64,
    },
}

impl Schedule {
    /// The factor at `step` (from 0) of `steps`.
    pub fn factor(&self, step: u64, steps: u64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Step { every, factor } => factor.powf((step / every.max(1)) as f64),
            Self::Cosine { warmup } if step < warmup => (step + 1) as f64 / (warmup + 1) as f64,
            Self::Cosine { warmup } => {
                let done = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
                0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_rises_then_falls_to_nothing() {
        let cosine = Schedule::Cosine { warmup: 10 };
        assert!(cosine.factor(0, 110) < 0.1 && (cosine.factor(10, 110) - 1.0).abs() < 1e-12);
        assert!((cosine.factor(60, 110) - 0.5).abs() < 1e-12 && cosine.factor(109, 110) < 1e-3);
    }
}
