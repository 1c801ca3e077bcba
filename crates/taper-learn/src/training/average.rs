//! The mean of a run's weights, which is often better than the final weights.

use crate::Result;
use candle_core::Tensor;
use std::fmt;
use std::str::FromStr;
use taper_models::State;
use taper_ops::weighted_sum;

/// Which states of a run are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Average {
    /// No average: the latest state counts.
    #[default]
    Off,
    /// All states, with weights that decay by this factor per step (Polyak and Juditsky 1992; between 0
    /// and 1). Early in a run the factor is smaller, so that the start is soon forgotten.
    Exponential(f64),
    /// The states after this many last steps, with equal weights (Izmailov et al. 2018).
    Last(u64),
}

impl Average {
    /// The average once `state` has been reached by step `step` (from 1) of `steps`.
    ///
    /// # Errors
    /// Returns an error if `before` belongs to another network.
    pub(crate) fn after(self, before: Option<State>, state: &State, step: u64, steps: u64) -> Result<Option<State>> {
        let old_share = match self {
            Self::Off => return Ok(None),
            Self::Exponential(decay) => decay.min(step as f64 / (step as f64 + 9.0)),
            Self::Last(count) => {
                let seen = step.saturating_sub(steps.saturating_sub(count));
                if seen == 0 {
                    return Ok(None);
                }
                (seen - 1) as f64 / seen as f64
            }
        };
        let Some(before) = before else { return Ok(Some(state.clone())) };
        let mix = |old: &Tensor, new: &Tensor| weighted_sum(old_share, old, 1.0 - old_share, new);
        let params = before.params.zip(&state.params, mix)?;
        let buffers = before.buffers.zip(&state.buffers, mix)?;
        Ok(Some(State { params, buffers }))
    }
}

impl fmt::Display for Average {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => write!(f, "off"),
            Self::Exponential(decay) => write!(f, "ema:{decay}"),
            Self::Last(steps) => write!(f, "last:{steps}"),
        }
    }
}

impl FromStr for Average {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` does not name an average of weights: use off, ema:0.999 or last:500");
        match text.split_once(':') {
            None if text == "off" => Ok(Self::Off),
            Some(("ema", decay)) => match decay.parse() {
                Ok(decay) if (0.0..1.0).contains(&decay) => Ok(Self::Exponential(decay)),
                _ => Err(wrong()),
            },
            Some(("last", steps)) => match steps.parse() {
                Ok(steps) if steps > 0 => Ok(Self::Last(steps)),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn state(value: f64) -> State {
        let tensor = Tensor::new(&[value], &Device::Cpu).unwrap();
        State { params: [("w".to_string(), tensor)].into_iter().collect(), buffers: Default::default() }
    }

    /// The average after each of ten steps whose states are 1, 2, … 10.
    fn over_ten(average: Average) -> Vec<Option<f64>> {
        let mut kept = None;
        (1..=10)
            .map(|step| {
                kept = average.after(kept.take(), &state(step as f64), step, 10).unwrap();
                kept.as_ref().map(|kept| kept.params.get("w").unwrap().to_vec1::<f64>().unwrap()[0])
            })
            .collect()
    }

    #[test]
    fn the_last_steps_count_alike() {
        let found = over_ten(Average::Last(4));
        assert!(found[..6].iter().all(Option::is_none));
        assert!((found[9].unwrap() - 8.5).abs() < 1e-12);
        // all states of a shorter run
        assert!((over_ten(Average::Last(40))[9].unwrap() - 5.5).abs() < 1e-12);
    }

    #[test]
    fn an_exponential_average_follows_and_soon_forgets_the_start() {
        let found: Vec<f64> = over_ten(Average::Exponential(0.5)).into_iter().flatten().collect();
        assert_eq!(found[0], 1.0);
        for step in 1..10 {
            let share = 0.5f64.min((step + 1) as f64 / (step + 10) as f64);
            let expected = share * found[step - 1] + (1.0 - share) * (step + 1) as f64;
            assert!((found[step] - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for text in ["off", "ema:0.999", "last:20"] {
            assert_eq!(text.parse::<Average>().unwrap().to_string(), text);
        }
        for text in ["", "on", "ema", "ema:1", "ema:x", "last:0", "last:-1"] {
            assert!(text.parse::<Average>().unwrap_err().contains("use off"), "{text}");
        }
    }
}
