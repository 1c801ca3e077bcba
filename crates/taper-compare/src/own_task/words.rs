//! The verdict on a data set's own classes, in words.

use super::crossing::Crossing;
use super::forecast::Forecast;
use super::report::{Chosen, Curve};
use super::row::Approach;
use crate::verdict::words::{capitalized, tenths};
use crate::{Claim, Outcome, Question};
use taper_learn::Interval;

/// The whole verdict: which method is best, how the approaches differ, from how many labels on, and what more
/// labels would give.
pub(super) fn verdict(
    chosen: Option<&Chosen>,
    shorter: &[&str],
    curves: &[Curve],
    claims: &[(Claim, f64)],
    crossings: &[Crossing],
    forecasts: &[Forecast],
) -> String {
    let approach = |name: &str| curves.iter().find(|curve| curve.name == name).map(|curve| curve.approach);
    let mut sentences: Vec<String> = Vec::new();
    if let Some(Chosen { name, labels, accuracy }) = chosen {
        sentences.push(format!(
            "{} does best where methods are chosen: with {} per class, it classifies {} of other images correctly ({}).",
            capitalized(name),
            labels_text(*labels),
            percent(accuracy.mean),
            interval(*accuracy)
        ));
    }
    if !shorter.is_empty() {
        sentences.push(format!("The time did not allow scoring {} with so many labels.", shorter.join(" and ")));
    }
    for (claim, labels) in claims.iter().filter(|(claim, _)| claim.question == Question::WhichKind) {
        sentences.extend(difference(claim, *labels, approach(&claim.first), approach(&claim.second)));
    }
    for Crossing { ahead, behind, labels, low, high } in crossings {
        let high = number(*high);
        let range = low.map_or(format!("at most {high}"), |low| format!("{} to {high}", number(low)));
        sentences.push(format!(
            "From about {} per class on (95% CI {range}), {ahead} is more accurate than {behind}.",
            labels_text(*labels)
        ));
    }
    sentences.extend(floors(claims));
    if let ([Forecast { method, .. }, ..], Some(chosen)) = (useful(forecasts, chosen).as_slice(), chosen) {
        let forecasts = useful(forecasts, Some(chosen));
        let each = |Forecast { labels, accuracy, .. }: &Forecast| {
            format!("{} with {} per class ({})", percent(accuracy.mean), labels_text(*labels), interval(*accuracy))
        };
        let each: Vec<String> = forecasts.iter().map(each).collect();
        sentences.push(format!("{} should reach {}.", capitalized(method), each.join(" and ")));
    }
    sentences.join(" ")
}

/// Forecasts that say something: of an accuracy that differs from today's, within an interval that is not very wide.
pub(super) fn useful(forecasts: &[Forecast], chosen: Option<&Chosen>) -> Vec<Forecast> {
    const GAIN: f64 = 0.005;
    const MARGIN: f64 = 0.15;
    let now = chosen.map_or(0.0, |chosen| chosen.accuracy.mean);
    let says = |forecast: &&Forecast| forecast.accuracy.mean > now + GAIN && forecast.accuracy.margin() < MARGIN;
    forecasts.iter().filter(says).cloned().collect()
}

/// How the best methods of two approaches differ; the better one on the shared draws comes first.
fn difference(claim: &Claim, labels: f64, first: Option<Approach>, second: Option<Approach>) -> Option<String> {
    let Interval { mean, low, high } = claim.difference;
    let (ahead, behind) = ((&claim.first, first?), (&claim.second, second?));
    let ((ahead, behind), Interval { mean, low, high }) = match mean < 0.0 {
        true => ((behind, ahead), Interval { mean: -mean, low: -high, high: -low }),
        false => ((ahead, behind), Interval { mean, low, high }),
    };
    let at = format!("{} per class", labels_text(labels));
    let interval = format!("95% CI {} to {} together", tenths(low), tenths(high));
    let ((ahead, better), (behind, worse)) = (ahead, behind);
    let beats = if better == Approach::FrozenFeatures { "beat" } else { "beats" };
    let (better, worse) = (better.words(), worse.words());
    Some(if claim.outcome == Outcome::AsGoodAsEqual {
        format!("With {at}, {ahead} and {behind} are as good as equal ({interval}).")
    } else if low > 0.0 {
        let points = tenths(mean);
        format!(
            "With {at}, {better} {beats} {worse}: {ahead} is {points} points more accurate than {behind} ({interval})."
        )
    } else if mean < 0.0005 {
        format!("With {at}, {ahead} and {behind} scored the same ({interval}); either may be better.")
    } else {
        let points = tenths(mean);
        format!(
            "With {at}, {ahead} is {points} points more accurate than {behind} ({interval}), which does not show which of the two is better."
        )
    })
}

/// Whether what starts from the weights beats what doesn't.
fn floors(claims: &[(Claim, f64)]) -> Option<String> {
    let asked = |question| claims.iter().map(|(claim, _)| claim).filter(move |claim| claim.question == question);
    let all: Vec<&Claim> = asked(Question::BeatsFloor).chain(asked(Question::Pays)).collect();
    let beaten: Vec<&str> = [(Question::BeatsFloor, "comparing pixels"), (Question::Pays, "training from scratch")]
        .into_iter()
        .filter(|(question, _)| asked(*question).next().is_some())
        .map(|(_, words)| words)
        .collect();
    if all.is_empty() {
        return None;
    }
    let not_shown: Vec<String> = all
        .iter()
        .filter(|claim| claim.difference.low <= 0.0)
        .map(|claim| match claim.outcome {
            Outcome::Worse => format!("{} is less accurate than {}", claim.first, claim.second),
            _ => format!("{} is not shown to beat {}", claim.first, claim.second),
        })
        .collect();
    Some(match not_shown.as_slice() {
        [] => format!("All of these beat {}.", beaten.join(" and ")),
        pairs => format!("{}.", capitalized(&pairs.join("; "))),
    })
}

/// `8 labels`, `1 label`.
fn labels_text(labels: f64) -> String {
    let text = number(labels);
    if text == "1" { "1 label".into() } else { format!("{text} labels") }
}

/// Labels per class as people say them: whole from 3 on.
fn number(labels: f64) -> String {
    let rounded = (labels * 10.0).round() / 10.0;
    if labels >= 3.0 || rounded.fract() == 0.0 { format!("{labels:.0}") } else { format!("{rounded:.1}") }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn interval(accuracy: Interval) -> String {
    format!("95% CI {} to {}", tenths(accuracy.low), tenths(accuracy.high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_learn::statistics::Population;

    fn claim(mean: f64, low: f64, high: f64) -> Claim {
        Claim {
            question: Question::WhichKind,
            first: "ridge".into(),
            second: "ProtoNet".into(),
            difference: Interval { mean, low, high },
            p_value: 0.01,
            outcome: if mean > 0.0 { Outcome::Better } else { Outcome::Worse },
            population: Population::TheseClasses,
            runs: 1,
        }
    }

    fn sentence(claim: &Claim) -> String {
        difference(claim, 5.0, Some(Approach::FrozenFeatures), Some(Approach::MetaLearning)).unwrap()
    }

    #[test]
    fn the_better_method_comes_first_with_its_own_interval() {
        let text = sentence(&claim(-0.04, -0.06, -0.02));
        let expected = "With 5 labels per class, meta-learning beats frozen features: ProtoNet is 4.0 points more accurate \
                        than ridge (95% CI 2.0 to 6.0 together).";
        assert_eq!(text, expected);
        assert!(sentence(&claim(0.04, 0.02, 0.06)).contains("frozen features beat meta-learning"));
    }

    #[test]
    fn nothing_beats_anything_if_the_interval_holds_0() {
        let text = sentence(&claim(0.04, -0.01, 0.09));
        assert!(!text.contains("beat") && text.ends_with("which does not show which of the two is better."), "{text}");
    }
}
