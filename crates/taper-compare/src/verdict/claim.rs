//! A statement about two methods, with its interval.

use serde::{Deserialize, Serialize};
use taper_learn::Interval;
use taper_learn::statistics::{Estimate, Population, holm};

/// What a claim answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Which kind of learning wins, among methods that start alike.
    WhichKind,
    /// Whether learning before the task beats a method without it.
    Pays,
    /// How weights trained elsewhere compare with learning here.
    Elsewhere,
    /// Whether a method beats the comparison of pixels.
    BeatsFloor,
}

/// What the test tasks show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The first method is more accurate.
    Better,
    /// The first method is less accurate.
    Worse,
    /// The methods differ by less than one point, whichever is ahead.
    AsGoodAsEqual,
    /// None of these is shown.
    NotShown,
}

/// A difference between two methods, and what it shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What it answers.
    pub question: Question,
    /// The method compared.
    pub first: String,
    /// The method it is compared with.
    pub second: String,
    /// Accuracy of the first less that of the second. The intervals of all claims on a question hold
    /// together at 95% (Bonferroni).
    pub difference: Interval,
    /// Two-sided p-value of no difference, adjusted so that all claims on the question hold together
    /// (Holm).
    pub p_value: f64,
    /// What the test tasks show.
    pub outcome: Outcome,
    /// What the interval speaks about.
    pub population: Population,
    /// Training runs behind each method.
    pub runs: usize,
}

/// A difference that nobody would choose a method for: one point in a hundred.
const EQUAL: f64 = 0.01;

/// A pair of methods with the estimate of their difference.
pub(crate) struct Pair<'a> {
    pub(crate) first: &'a str,
    pub(crate) second: &'a str,
    pub(crate) difference: Estimate,
}

impl Claim {
    /// The claims on one question, which hold together at 95%.
    pub(crate) fn together(question: Question, pairs: &[Pair<'_>]) -> Vec<Self> {
        let level = 1.0 - 0.05 / pairs.len().max(1) as f64;
        let p_values = holm(&pairs.iter().map(|pair| pair.difference.p_value()).collect::<Vec<_>>());
        let claim = |(pair, p_value): (&Pair<'_>, f64)| {
            let difference = pair.difference.interval_at(level);
            Self {
                question,
                first: pair.first.to_string(),
                second: pair.second.to_string(),
                difference,
                p_value,
                outcome: outcome(difference, p_value),
                population: pair.difference.population,
                runs: pair.difference.runs,
            }
        };
        pairs.iter().zip(p_values).map(claim).collect()
    }
}

/// Two one-sided tests at the interval's level decide on equality (Schuirmann 1987), which comes first: a
/// difference below a point is not a reason to choose.
fn outcome(difference: Interval, p_value: f64) -> Outcome {
    match difference {
        Interval { low, high, .. } if -EQUAL < low && high < EQUAL => Outcome::AsGoodAsEqual,
        Interval { mean, .. } if p_value < 0.05 && mean > 0.0 => Outcome::Better,
        _ if p_value < 0.05 => Outcome::Worse,
        _ => Outcome::NotShown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(mean: f64, standard_error: f64) -> Pair<'static> {
        let difference = Estimate {
            mean,
            standard_error: Some(standard_error),
            degrees_of_freedom: 1e6,
            population: Population::NewClasses,
            runs: 1,
            least: -1.0,
        };
        Pair { first: "a", second: "b", difference }
    }

    fn outcomes(pairs: &[Pair<'_>]) -> Vec<Outcome> {
        Claim::together(Question::BeatsFloor, pairs).into_iter().map(|claim| claim.outcome).collect()
    }

    #[test]
    fn a_claim_needs_an_interval_without_0() {
        assert_eq!(outcomes(&[pair(0.02, 0.009)]), [Outcome::Better]);
        assert_eq!(outcomes(&[pair(-0.02, 0.009)]), [Outcome::Worse]);
        assert_eq!(outcomes(&[pair(0.02, 0.011)]), [Outcome::NotShown]);
    }

    #[test]
    fn a_difference_surely_below_a_point_is_as_good_as_equal_even_if_it_is_surely_not_0() {
        assert_eq!(outcomes(&[pair(0.005, 0.001)]), [Outcome::AsGoodAsEqual]);
        assert_eq!(outcomes(&[pair(0.005, 0.003)]), [Outcome::NotShown]);
    }

    #[test]
    fn of_several_claims_each_must_be_surer() {
        // a single claim at p = 0.03 holds; among three, the weakest still does if the others are sure
        let sure = || pair(0.2, 0.02);
        let weak = || pair(0.0217, 0.01);
        assert_eq!(outcomes(&[weak()]), [Outcome::Better]);
        assert_eq!(outcomes(&[weak(), sure(), sure()]), [Outcome::Better; 3]);
        assert_eq!(outcomes(&[weak(), weak(), sure()]), [Outcome::NotShown, Outcome::NotShown, Outcome::Better]);
        let claims = Claim::together(Question::BeatsFloor, &[weak(), sure()]);
        assert!(claims[0].difference.low < 0.0, "intervals of two hold together at 95%: {:?}", claims[0]);
    }
}
