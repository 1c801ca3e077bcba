//! What the curves show: the best method of each approach, chosen apart from where it is measured, and how they
//! differ.

use super::crossing::{Crossing, crossing};
use super::curve::Series;
use super::forecast::{Forecast, forecast};
use super::report::{Chosen, Curve};
use super::row::Approach;
use super::words;
use crate::verdict::Pair;
use crate::{Claim, Question, Result};
use taper_transfer::LabelCount;

/// What the curves show.
pub(super) struct Conclusion {
    pub(super) chosen: Option<Chosen>,
    pub(super) claims: Vec<Claim>,
    pub(super) crossings: Vec<Crossing>,
    pub(super) forecasts: Vec<Forecast>,
    pub(super) words: String,
    pub(super) warnings: Vec<String>,
}

/// The approaches that start from the weights.
const APPROACHES: [Approach; 3] = [Approach::FrozenFeatures, Approach::FineTuning, Approach::MetaLearning];
/// Multiples of the most labels that are forecast.
const FORECAST: [f64; 2] = [2.0, 4.0];

/// Concludes from all curves.
pub(super) fn conclude(curves: &[Curve]) -> Result<Conclusion> {
    let bests: Vec<&Curve> = APPROACHES
        .iter()
        .map(|&approach| best(curves.iter().filter(|curve| curve.approach == approach)))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    let learned = curves.iter().filter(|curve| curve.approach != Approach::Pixels);
    let winner = if bests.is_empty() { best(learned)? } else { best(bests.iter().copied())? };
    let mut claims: Vec<(Claim, f64)> = Vec::new();
    let mut crossings = Vec::new();
    let mut pairs: Vec<(&Curve, &Curve)> = Vec::new();
    for (place, &first) in bests.iter().enumerate() {
        for &second in &bests[place + 1..] {
            // the winner comes first
            let swap = winner.is_some_and(|winner| winner.name == second.name);
            pairs.push(if swap { (second, first) } else { (first, second) });
            crossings.extend(crossing((&first.name, &first.measured), (&second.name, &second.measured))?);
        }
    }
    claims.extend(claimed(Question::WhichKind, &pairs)?);
    let learners: Vec<&Curve> = if bests.is_empty() { winner.into_iter().collect() } else { bests.clone() };
    for (question, approach) in [(Question::BeatsFloor, Approach::Pixels), (Question::Pays, Approach::FromScratch)] {
        let floors = || curves.iter().filter(move |curve| curve.approach == approach);
        let against = |best: &&'_ Curve| best.approach != approach;
        let pairs: Vec<(&Curve, &Curve)> = learners
            .iter()
            .copied()
            .filter(against)
            .flat_map(|best| floors().map(move |floor| (best, floor)))
            .collect();
        claims.extend(claimed(question, &pairs)?);
    }
    let chosen = winner.map(chosen).transpose()?.flatten();
    let no_choice = curves.iter().all(|curve| curve.choice.reach() == 0);
    let warnings = no_choice.then(|| {
        "no images are left to choose on, so that the method named is not shown to be the best: label more images of each class"
            .to_string()
    });
    let forecasts = match winner {
        Some(curve) => forecasts(curve)?,
        None => Vec::new(),
    };
    let most = bests.iter().map(|curve| curve.choice.reach()).max().unwrap_or(0);
    let shorter: Vec<&str> =
        bests.iter().filter(|curve| curve.choice.reach() < most).map(|curve| curve.name.as_str()).collect();
    let words = words::verdict(chosen.as_ref(), &shorter, curves, &claims, &crossings, &forecasts);
    let claims = claims.into_iter().map(|(claim, _)| claim).collect();
    Ok(Conclusion { chosen, claims, crossings, forecasts, words, warnings: warnings.into_iter().collect() })
}

/// The method with the accuracy at the most labels that it was measured with.
fn chosen(curve: &Curve) -> Result<Option<Chosen>> {
    let last = curve.measured.estimates()?.pop();
    Ok(last.map(|(count, estimate)| Chosen {
        name: curve.name.clone(),
        labels: count.number(),
        accuracy: estimate.interval(),
    }))
}

fn forecasts(curve: &Curve) -> Result<Vec<Forecast>> {
    let estimates = curve.measured.estimates()?;
    let Some((last, _)) = estimates.last() else { return Ok(Vec::new()) };
    let most = last.per_class;
    Ok(FORECAST.iter().filter_map(|times| forecast(&curve.name, &estimates, times * most)).collect())
}

/// The curve that does best where choices are made, the first of equals, at the most labels that any of them was
/// scored with there.
fn best<'a>(curves: impl Iterator<Item = &'a Curve>) -> Result<Option<&'a Curve>> {
    let curves: Vec<&Curve> = curves.collect();
    let reach = |curve: &Curve| curve.choice.reach();
    let most = curves.iter().map(|curve| reach(curve)).max().unwrap_or(0);
    let mut best: Option<&Curve> = None;
    for curve in curves.into_iter().filter(|curve| reach(curve) == most) {
        best = match best {
            Some(leader) if !beats(curve, leader)? => Some(leader),
            _ => Some(curve),
        };
    }
    Ok(best)
}

fn beats(curve: &Curve, leader: &Curve) -> Result<bool> {
    // nothing to choose on: the first one stays
    let Some(labels) = most_shared(&curve.choice, &leader.choice) else {
        return Ok(false);
    };
    let difference = Series::difference(&curve.choice, &leader.choice, &[(labels, 1.0)])?;
    Ok(difference.is_some_and(|difference| difference.mean > 0.0))
}

fn most_shared(a: &Series, b: &Series) -> Option<LabelCount> {
    a.shared(b).last().map(|count| count.labels)
}

/// Claims on one question about pairs of methods, each at the most labels that both have been scored with; with
/// the number of labels per class.
fn claimed(question: Question, pairs: &[(&Curve, &Curve)]) -> Result<Vec<(Claim, f64)>> {
    let mut measured = Vec::new();
    for (first, second) in pairs {
        let Some(&count) = first.measured.shared(&second.measured).last() else { continue };
        if let Some(difference) = Series::difference(&first.measured, &second.measured, &[(count.labels, 1.0)])? {
            measured.push((Pair { first: &first.name, second: &second.name, difference }, count.number()));
        }
    }
    let (pairs, labels): (Vec<Pair<'_>>, Vec<f64>) = measured.into_iter().unzip();
    Ok(Claim::together(question, &pairs).into_iter().zip(labels).collect())
}
