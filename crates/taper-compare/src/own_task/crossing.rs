//! Where two curves over the number of labels cross.

use super::curve::Series;
use super::draws::Count;
use crate::Result;
use serde::{Deserialize, Serialize};
use taper_learn::statistics::{Estimate, student_quantile};
use taper_transfer::LabelCount;

/// A number of labels from which on one method is more accurate than another, which is ahead with fewer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// The method that is ahead with more labels.
    pub ahead: String,
    /// The method that is ahead with fewer.
    pub behind: String,
    /// Labels per class at which the curves cross.
    pub labels: f64,
    /// Lower end of the 95% interval; `None` if the crossing may be below every number that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: f64,
}

/// Places between two numbers of labels at which the difference is looked at.
const STEPS: usize = 200;

/// A difference between two methods over one interval of labels: its mean is linear in the logarithm of the
/// labels, so that its variance is quadratic.
struct Piece {
    ends: [f64; 2],
    means: [f64; 2],
    /// At the beginning, in the middle and at the end.
    variances: [f64; 3],
    freedom: f64,
}

impl Piece {
    /// Logarithm of the labels, mean and 95% margin at a share of the way.
    fn at(&self, share: f64) -> (f64, f64, f64) {
        let between = |[from, to]: [f64; 2]| from + share * (to - from);
        let [start, middle, end] = self.variances;
        let quadratic = start * (1.0 - share) * (1.0 - 2.0 * share)
            + 4.0 * middle * share * (1.0 - share)
            + end * share * (2.0 * share - 1.0);
        let variance = quadratic.max(start.min(middle).min(end));
        (between(self.ends), between(self.means), student_quantile(0.95, self.freedom) * variance.sqrt())
    }
}

/// Where the curves of two methods cross for good. The interval holds every place at which a difference of 0 is
/// within the 95% interval of the difference, as far as these places adjoin. `None` if the method that is ahead
/// with the most labels is not shown to be, or is ahead with the fewest too.
pub(super) fn crossing(a: (&str, &Series), b: (&str, &Series)) -> Result<Option<Crossing>> {
    let counts = a.1.shared(b.1);
    let pieces = pieces(a.1, b.1, &counts)?;
    let places: Vec<(f64, f64, f64)> =
        pieces.iter().flat_map(|piece| (0..=STEPS).map(|step| piece.at(step as f64 / STEPS as f64))).collect();
    let Some(&(_, last, margin)) = places.last() else { return Ok(None) };
    if last.abs() <= margin {
        return Ok(None);
    }
    let Some(before) = places.iter().rposition(|(_, mean, _)| mean * last <= 0.0) else { return Ok(None) };
    let undecided = |&(_, mean, margin): &(f64, f64, f64)| mean.abs() <= margin;
    let above = places[before..].iter().skip(1).position(|place| !undecided(place)).unwrap_or(0) + before + 1;
    let below = places[..=before].iter().rposition(|place| !undecided(place));
    if below.is_some_and(|below| places[below].1 * last > 0.0) {
        // the same method is shown to be ahead with fewer labels
        return Ok(None);
    }
    let (ahead, behind) = if last > 0.0 { (a.0, b.0) } else { (b.0, a.0) };
    let labels = |place: usize| places[place].0.exp();
    Ok(Some(Crossing {
        ahead: ahead.to_string(),
        behind: behind.to_string(),
        labels: labels(before),
        low: below.map(labels),
        high: labels(above),
    }))
}

/// The difference between neighboring numbers of labels.
fn pieces(a: &Series, b: &Series, counts: &[Count]) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for pair in counts.windows(2) {
        let [from, to] = [pair[0], pair[1]];
        let at = |weights: &[(LabelCount, f64)]| Series::difference(a, b, weights);
        let (Some(start), Some(middle), Some(end)) = (
            at(&[(from.labels, 1.0), (to.labels, 0.0)])?,
            at(&[(from.labels, 0.5), (to.labels, 0.5)])?,
            at(&[(from.labels, 0.0), (to.labels, 1.0)])?,
        ) else {
            return Ok(Vec::new());
        };
        let variance = |estimate: Estimate| estimate.standard_error.map_or(1.0, |error| error * error);
        pieces.push(Piece {
            ends: [from.per_class.ln(), to.per_class.ln()],
            means: [start.mean, end.mean],
            variances: [start, middle, end].map(variance),
            freedom: [start, middle, end].iter().map(|one| one.degrees_of_freedom).fold(f64::INFINITY, f64::min),
        });
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;
    use std::collections::BTreeMap;
    use taper_learn::statistics::{Decision, ScoredTask};
    use taper_ops::rng;

    const IMAGES: usize = 120;
    const LABELS: [usize; 4] = [1, 3, 9, 27];

    /// Answers over several draws of labels. An image is as hard for both methods, and a draw of labels helps or
    /// harms a method as a whole; `accuracy` is the method's at each number of labels.
    fn series(seed: u64, method: u64, draws: u64, accuracy: [f64; 4]) -> Series {
        let mut hardness = rng(seed, "hardness", 0);
        let hardness: Vec<f64> = (0..IMAGES).map(|_| hardness.random_range(-0.3..0.3)).collect();
        let point = |(place, labels): (usize, usize)| {
            let count = Count { labels: LabelCount::Of(labels), per_class: labels as f64, images: 4 * labels };
            let task = |draw: u64| {
                let mut chance = rng(seed, "answers", method * 1000 + draw * 10 + place as u64);
                let luck: f64 = chance.random_range(-0.06..0.06);
                let decision = |image: usize| {
                    let class = (image % 4) as u32;
                    let right = chance.random::<f64>() < accuracy[place] + hardness[image] + luck;
                    Decision { image, class, predicted: Some(if right { class } else { (class + 1) % 4 }) }
                };
                let decisions = (0..IMAGES).map(decision).collect();
                let classes = vec![0, 1, 2, 3];
                (draw, ScoredTask { classes, support_images: 4 * labels, pool_images: Some(400), decisions })
            };
            (count, (0..draws).map(task).collect::<BTreeMap<u64, ScoredTask>>())
        };
        Series { points: LABELS.into_iter().enumerate().map(point).collect() }
    }

    #[test]
    fn the_interval_of_a_crossing_covers_the_truth_in_at_least_93_percent_of_simulations() {
        const SIMULATIONS: u64 = 400;
        // b starts below a and ends above it; they cross a third of the way from 3 to 9 labels
        let (a, b) = ([0.50, 0.55, 0.60, 0.62], [0.35, 0.50, 0.70, 0.85].map(|v: f64| v.min(0.68)));
        let (before, after) = (a[1] - b[1], b[2] - a[2]);
        let share = before / (before + after);
        let truth = (3f64.ln() + share * (9f64.ln() - 3f64.ln())).exp();
        let (mut found, mut covered) = (0, 0);
        for seed in 0..SIMULATIONS {
            let (first, second) = (series(seed, 1, 8, a), series(seed, 2, 8, b));
            let Some(crossing) = crossing(("a", &first), ("b", &second)).unwrap() else { continue };
            found += 1;
            covered += usize::from(crossing.low.is_none_or(|low| low <= truth) && truth <= crossing.high);
        }
        assert!(
            found > 100 && covered as f64 >= 0.93 * f64::from(found),
            "the truth ({truth:.1}) is covered in {covered} of {found}"
        );
    }

    #[test]
    fn a_method_that_is_ahead_with_the_fewest_labels_and_the_most_does_not_cross_in_between() {
        let a = series(0, 1, 12, [0.65, 0.46, 0.46, 0.65]);
        let b = series(0, 2, 12, [0.40, 0.47, 0.47, 0.40]);
        assert_eq!(crossing(("a", &a), ("b", &b)).unwrap(), None);
    }

    #[test]
    fn curves_that_do_not_cross_and_differences_that_are_not_shown_give_no_crossing() {
        let a = series(0, 1, 8, [0.5, 0.55, 0.6, 0.65]);
        let below = series(0, 2, 8, [0.3, 0.35, 0.4, 0.45]);
        let alike = series(0, 3, 8, [0.5, 0.55, 0.6, 0.65]);
        assert_eq!(crossing(("a", &a), ("b", &below)).unwrap(), None);
        assert_eq!(crossing(("a", &a), ("b", &alike)).unwrap(), None);
        assert_eq!(crossing(("a", &Series::default()), ("b", &a)).unwrap(), None);
    }
}
