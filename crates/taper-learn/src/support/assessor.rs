//! How far an answer can be trusted: whether an image is like the labeled ones, and which classes it may belong to.
//!
//! Both are conformal (Vovk, Gammerman and Shafer 2005): an image's score is ranked among those of labeled images that
//! were held out, so that known images are refused, and right classes missed, no more often than was asked for.

use super::held_out::softmax;
use super::{Similarity, Support};
use crate::{LearnError, Result};
use candle_core::{DType, Tensor};
use taper_models::{Network, State};

/// How much each sign of a foreign image counts, in standard deviations over held-out images: distance to the most
/// similar labeled image (Sun et al. 2022), the cosine to it about the mean, and the highest probability (Hendrycks and
/// Gimpel 2017). Chosen on the training parts of three data sets; `docs/guide/predict.md` has the figures.
const WEIGHTS: [f64; 3] = [2.0, 2.0, 1.0];

/// Tells images unlike the labeled ones, and which classes an image may belong to.
#[derive(Debug, Clone)]
pub struct Assessor {
    similarity: Similarity,
    temperature: f64,
    rule: NoveltyRule,
    /// Novelty of the held-out images, ascending.
    novelty: Vec<f64>,
    /// 1 − the probability of the right class of the held-out images, ascending (Sadinle, Lei and Wasserman 2019).
    misfit: Vec<f64>,
}

/// How an image's novelty follows from its signs, for programs that compute it themselves: the sum of each sign times its
/// factor, and an offset. The signs are the distance to the most similar labeled image between features of unit length,
/// the negative cosine to the most similar one about the mean of these, and the negative highest probability; see
/// [`Similarity::foreignness`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoveltyRule {
    /// One for each sign.
    pub factors: [f64; 3],
    /// Added to the sum.
    pub offset: f64,
}

impl NoveltyRule {
    /// Weighs the signs in their standard deviations over held-out images, about their means.
    fn of(signs: &[[f64; 3]]) -> Self {
        /// At least what tells images apart in spite of f32's rounding: if all held-out images have a probability of nearly
        /// 1, their differences are noise.
        const LEAST: f64 = 1e-3;
        let n = signs.len() as f64;
        let (mut factors, mut offset) = ([0.0; 3], 0.0);
        for sign in 0..3 {
            let mean = signs.iter().map(|signs| signs[sign]).sum::<f64>() / n;
            let variance = signs.iter().map(|signs| (signs[sign] - mean).powi(2)).sum::<f64>() / n;
            factors[sign] = WEIGHTS[sign] / variance.sqrt().max(LEAST);
            offset -= factors[sign] * mean;
        }
        Self { factors, offset }
    }

    fn novelty(&self, signs: &[f64; 3]) -> f64 {
        signs.iter().zip(self.factors).map(|(sign, factor)| factor * sign).sum::<f64>() + self.offset
    }
}

impl Assessor {
    /// For a classifier with what it kept of its labeled images.
    ///
    /// # Errors
    /// Returns an error if nothing was held out because a class had a single labeled image.
    pub fn new(network: &Network, state: &State, support: &Support) -> Result<Self> {
        let Some(held_out) = support.held_out.as_ref().filter(|held_out| !held_out.is_empty()) else {
            return Err(LearnError::NothingHeldOut);
        };
        let probabilities = held_out.probabilities();
        let signs: Vec<[f64; 3]> =
            held_out.foreignness.iter().zip(&probabilities).map(|(foreign, row)| signs(*foreign, row)).collect();
        let rule = NoveltyRule::of(&signs);
        let mut novelty: Vec<f64> = signs.iter().map(|signs| rule.novelty(signs)).collect();
        let mut misfit: Vec<f64> =
            held_out.labels.iter().zip(&probabilities).map(|(&label, row)| 1.0 - row[label as usize]).collect();
        novelty.sort_by(f64::total_cmp);
        misfit.sort_by(f64::total_cmp);
        let similarity = Similarity::new(network, state, &support.features)?;
        Ok(Self { similarity, temperature: held_out.temperature(), rule, novelty, misfit })
    }

    /// The number of held-out images that scores are ranked among.
    pub fn held_out(&self) -> usize {
        self.misfit.len()
    }

    /// Whether it tells foreign images from known ones: not after a class was removed without learning anew. Without it,
    /// every image counts as known.
    pub fn tells_foreign(&self) -> bool {
        !self.novelty.is_empty()
    }

    /// The smallest share of known images that can be refused, or of right classes that can be missed, at a promised
    /// rate: with few labeled images a small rate can't be told from none.
    pub fn smallest_rate(&self) -> f64 {
        1.0 / (self.misfit.len() as f64 + 1.0)
    }

    /// How novelty follows from the signs.
    pub fn rule(&self) -> NoveltyRule {
        self.rule
    }

    /// The similarity to the labeled images.
    pub fn similarity(&self) -> &Similarity {
        &self.similarity
    }

    /// What logits are divided by before they become probabilities.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The novelty of the held-out images, ascending: an image's familiarity is 1 more than the number of those that are
    /// at least as novel, over 1 more than their number.
    pub fn held_out_novelty(&self) -> &[f64] {
        &self.novelty
    }

    /// 1 − the probability of the right class of the held-out images, ascending: a class's p-value is 1 more than the
    /// number of those that are at least 1 − its probability, over 1 more than their number.
    pub fn held_out_misfit(&self) -> &[f64] {
        &self.misfit
    }

    /// Novelty scores of images with `features (m, d)` and `logits (m, ways)`: higher for more foreign images.
    ///
    /// # Errors
    /// Returns an error if the features have another width than the labeled images'.
    pub fn novelty(&self, features: &Tensor, logits: &Tensor) -> Result<Vec<f64>> {
        let foreign = self.similarity.foreignness(features)?;
        let rows = self.probabilities(logits)?;
        Ok(foreign.into_iter().zip(rows).map(|(foreign, row)| self.rule.novelty(&signs(foreign, &row))).collect())
    }

    /// The share of known images that would be at least as novel as each of these, from above 0 to 1. Refusing images
    /// with a share of at most r refuses at most the share r of known images.
    ///
    /// # Errors
    /// As [`Assessor::novelty`].
    pub fn familiarity(&self, features: &Tensor, logits: &Tensor) -> Result<Vec<f64>> {
        let novelty = self.novelty(features, logits)?;
        Ok(novelty.into_iter().map(|score| share_at_least(&self.novelty, score)).collect())
    }

    /// The classes that each image may belong to, the likeliest first: they contain the right one for at least the
    /// share `coverage` of known images. A set may be empty: no class fits.
    ///
    /// # Errors
    /// Returns an error if the logits are not a matrix.
    pub fn prediction_sets(&self, logits: &Tensor, coverage: f64) -> Result<Vec<Vec<usize>>> {
        let set = |row: Vec<f64>| {
            // a rounding error must not decide about a rate that is exactly reached
            let fits = |class: &usize| share_at_least(&self.misfit, 1.0 - row[*class]) > 1.0 - coverage + 1e-9;
            let mut set: Vec<usize> = (0..row.len()).filter(fits).collect();
            set.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            set
        };
        Ok(self.probabilities(logits)?.into_iter().map(set).collect())
    }

    fn probabilities(&self, logits: &Tensor) -> Result<Vec<Vec<f64>>> {
        let rows: Vec<Vec<f64>> = logits.to_dtype(DType::F64)?.to_vec2()?;
        Ok(rows.iter().map(|row| softmax(row, self.temperature)).collect())
    }
}

fn signs([distance, direction]: [f64; 2], probabilities: &[f64]) -> [f64; 3] {
    [distance, direction, -probabilities.iter().copied().fold(0.0, f64::max)]
}

/// `(1 + the number of scores that are at least `score`) / (n + 1)`, of ascending scores.
fn share_at_least(scores: &[f64], score: f64) -> f64 {
    let below = scores.partition_point(|other| *other < score);
    (1 + scores.len() - below) as f64 / (scores.len() + 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_counts_equal_scores_and_the_image_itself() {
        let scores = [1.0, 2.0, 2.0, 3.0];
        assert_eq!(share_at_least(&scores, 2.0), 4.0 / 5.0);
        assert_eq!(share_at_least(&scores, 3.5), 1.0 / 5.0);
        assert_eq!(share_at_least(&scores, 0.0), 1.0);
    }
}
