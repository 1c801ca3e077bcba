//! The accuracy to expect of the classifier that a search keeps, from the training images alone.

use super::progress::Search;
use crate::candidate::{Candidate, CandidateScore, Folding};
use crate::{Approach, CandidateSpec, Result};
use serde::{Deserialize, Serialize};
use taper_learn::Interval;
use taper_learn::evaluation::Labeled;
use taper_learn::heads::stratified_folds;
use taper_learn::statistics::selection_bias;
use taper_learn::training::Deadline;

/// The accuracy to expect on new images, from the training images alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// With the labels there are, and its 95% interval. It accounts for the choice among candidates and, for heads, for
    /// folds, which learn from fewer images.
    pub accuracy: Interval,
    /// With twice as many labels; `None` if that can't be told: for fine-tuning, with two images of a class, or in a budget
    /// that was spent.
    pub with_twice_the_labels: Option<Interval>,
}

impl Expectation {
    /// That of a scored candidate, which was chosen on these folds of the training images. If learning from halves of
    /// them, which tells what more labels bring, does not end in time, the accuracy is that on folds.
    pub(super) fn new(
        search: &Search,
        (spec, candidate): (&CandidateSpec, &Candidate),
        training: &Labeled,
        folding: Folding,
        until: Deadline,
    ) -> Result<Option<Self>> {
        let Some(score) = search.score_of(spec) else { return Ok(None) };
        // perhaps not all folds were scored
        let scored = score.folds.len().min(folding.folds) as f64 / folding.folds as f64;
        let images = training.images.len() as f64 * scored;
        let kept = 1.0 - 1.0 / folding.folds as f64;
        let on_folds = share(score) - bias(search, score, training, folding)?;
        if matches!(spec.approach, Approach::FineTune(_)) {
            return Ok(Some(Self { accuracy: interval([on_folds; 3], images), with_twice_the_labels: None }));
        }
        let halves = Folding { folds: 2, ..folding };
        let on_halves = match folding.folds {
            // two folds already leave out half of the images
            2 => None,
            _ => match candidate.score(&score.name, training, halves, until) {
                Ok(on_halves) => Some(share(&on_halves)),
                Err(error) if error.is_out_of_time() => None,
                Err(error) => return Err(error),
            },
        };
        let Some(on_halves) = on_halves else {
            return Ok(Some(Self { accuracy: interval([on_folds; 3], images), with_twice_the_labels: None }));
        };
        let gain = share(score) - on_halves;
        // the part of the error that more images reduce falls with their number: a + b / n
        let at = |part: f64| {
            let gained = gain.max(0.0) * (1.0 / kept - 1.0 / part) / (2.0 - 1.0 / kept);
            on_folds + gained.min((1.0 - on_folds) / 2.0).max(0.0)
        };
        let (now, twice) = (at(1.0), at(2.0));
        Ok(Some(Self {
            accuracy: interval([on_folds, now, 2.0 * now - on_folds], images),
            with_twice_the_labels: Some(interval([now, twice, 2.0 * twice - now], images)),
        }))
    }
}

/// The interval around the second of these accuracies: below the first and above the third as far as so many images leave
/// open. How well such intervals hold was measured: see the guide's page on transfer learning.
fn interval([least, mean, most]: [f64; 3], images: f64) -> Interval {
    /// Folds learn from overlapping images, so their predictions say less than as many independent ones.
    const OVERLAP: f64 = 1.5;
    let images = images / OVERLAP;
    // Wilson's interval with continuity correction (Newcombe 1998), for a share of an image
    let bound = |accuracy: f64, sign: f64| {
        const Z: f64 = 1.96;
        let p = (accuracy + sign / (2.0 * images)).clamp(0.0, 1.0);
        let center = p + Z * Z / (2.0 * images);
        let margin = Z * (p * (1.0 - p) / images + Z * Z / (4.0 * images * images)).sqrt();
        ((center + sign * margin) / (1.0 + Z * Z / images)).clamp(0.0, 1.0)
    };
    Interval { mean: mean.clamp(0.0, 1.0), low: bound(least, -1.0), high: bound(most, 1.0) }
}

/// The share of right predictions on all folds that were scored.
fn share(score: &CandidateScore) -> f64 {
    let (right, all) = score.folds.iter().fold((0, 0), |(right, all), fold| (right + fold.right, all + fold.of));
    right as f64 / all as f64
}

/// By how much the chosen candidate looks better than it is, because it was chosen.
fn bias(search: &Search, chosen: &CandidateScore, training: &Labeled, folding: Folding) -> Result<f64> {
    let rivals: Vec<(&CandidateSpec, &CandidateScore)> =
        search.scored().filter(|(_, score)| score.hits.len() >= chosen.hits.len()).collect();
    let mut folds = Vec::new();
    for repetition in 0..folding.repetitions {
        let fold_of = stratified_folds(&training.labels, folding.folds, folding.seed.wrapping_add(repetition))?;
        folds.extend(
            (0..folding.folds)
                .map(|fold| -> Vec<usize> { (0..fold_of.len()).filter(|&place| fold_of[place] == fold).collect() }),
        );
    }
    folds.truncate(chosen.hits.len());
    let mut times = vec![0.0f64; training.images.len()];
    folds.iter().flatten().for_each(|&place| times[place] += 1.0);
    let right = |score: &CandidateScore| -> Vec<f64> {
        let mut right = vec![0.0; times.len()];
        for (places, hits) in folds.iter().zip(&score.hits) {
            places.iter().zip(hits).for_each(|(&place, &hit)| right[place] += f64::from(u8::from(hit)));
        }
        right.iter().zip(&times).filter(|(_, times)| **times > 0.0).map(|(right, times)| right / times).collect()
    };
    let right: Vec<Vec<f64>> = rivals.iter().map(|(_, score)| right(score)).collect();
    let choose = |accuracies: &[f64]| {
        (1..rivals.len()).fold(0, |best, other| {
            let decisions = rivals[other].1.decisions().min(rivals[best].1.decisions()) as f64;
            let lead = accuracies[other] - accuracies[best];
            let handicap = Search::handicap(rivals[other], rivals[best]);
            if lead > 0.0 || handicap.is_some_and(|handicap| lead >= -handicap / decisions) { other } else { best }
        })
    };
    Ok(selection_bias(&right, choose, folding.seed))
}
