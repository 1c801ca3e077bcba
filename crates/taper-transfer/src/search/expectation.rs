//! The accuracy to expect of the classifier that a search keeps, from the training images alone.

use super::progress::Search;
use crate::candidate::{Candidate, CandidateScore, Folding};
use crate::{Approach, CandidateSpec, Result};
use serde::{Deserialize, Serialize};
use taper_learn::Interval;
use taper_learn::evaluation::Labeled;
use taper_learn::heads::stratified_folds;
use taper_learn::statistics::{Estimate, learning_curve, selection_bias};
use taper_learn::training::Deadline;

/// The accuracy to expect on new images, from the training images alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// With the labels there are, and its 95% interval. It accounts for the choice among candidates and for folds, which
    /// learn from fewer images.
    pub accuracy: Interval,
    /// With twice as many labels; `None` if that can't be told, as for fine-tuning.
    pub with_twice_the_labels: Option<Interval>,
}

impl Expectation {
    /// That of a scored candidate, which was chosen on these folds of the training images.
    pub(super) fn new(
        search: &Search,
        (spec, candidate): (&CandidateSpec, &Candidate),
        training: &Labeled,
        folding: Folding,
    ) -> Result<Option<Self>> {
        let Some(score) = search.score_of(spec) else { return Ok(None) };
        let bias = bias(search, score, training, folding)?;
        let last = estimate(score, bias);
        let labels = training.images.len() as f64 / training.ways as f64;
        if matches!(spec.approach, Approach::FineTune(_)) {
            return Ok(Some(Self { accuracy: last.interval(), with_twice_the_labels: None }));
        }
        let halves = Folding { folds: 2, ..folding };
        let half = estimate(&candidate.score(&score.name, training, halves, Deadline::default())?, bias);
        let points = [(labels / 2.0, half), (labels * (1.0 - 1.0 / folding.folds as f64), last)];
        // two folds already leave out half of the images
        let points = if folding.folds == 2 { &points[1..] } else { &points[..] };
        let accuracy = learning_curve(points, labels).unwrap_or(last.interval());
        Ok(Some(Self { accuracy, with_twice_the_labels: learning_curve(points, 2.0 * labels) }))
    }
}

/// The accuracy on folds less a bias, not surer than as many images allow.
fn estimate(score: &CandidateScore, bias: f64) -> Estimate {
    let (right, all) =
        score.folds.iter().fold((0.0, 0.0), |(right, all), fold| (right + fold.right as f64, all + fold.of as f64));
    // repetitions classify the same images again
    let images = all / (score.folds.len() as f64 / score.folds_per_repetition as f64).max(1.0);
    let share = right / all;
    let smooth = (share * images + 1.0) / (images + 2.0);
    let of_images = (smooth * (1.0 - smooth) / (images + 2.0)).sqrt();
    let of_folds = score.estimate();
    /// Fewer folds say little about their spread.
    const SPREAD_FROM: usize = 4;
    let known = of_folds.standard_error.filter(|_| score.folds.len() >= SPREAD_FROM);
    let degrees_of_freedom = if known.is_some() { of_folds.degrees_of_freedom } else { images.max(2.0) - 1.0 };
    let standard_error = Some(known.map_or(of_images, |error| error.max(of_images)));
    Estimate { mean: smooth - bias, standard_error, degrees_of_freedom, ..of_folds }
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
            let allowed = Search::handicap(rivals[other], rivals[best]) / decisions;
            if accuracies[other] - accuracies[best] > -allowed { other } else { best }
        })
    };
    Ok(selection_bias(&right, choose, folding.seed))
}
