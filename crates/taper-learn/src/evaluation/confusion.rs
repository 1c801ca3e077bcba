//! The confusion matrix, and the scores computed from it.

use crate::{Interval, LearnError, Result, statistics::wilson_interval};
use rand::Rng as _;
use taper_ops::rng;

/// Counts of images by true and by predicted class.
///
/// ```
/// let confusion = taper_learn::evaluation::Confusion::new(&[0, 0, 1], &[0, 1, 1], 2)?;
/// assert_eq!(confusion.counts(), [[1, 1], [0, 1]]);
/// assert_eq!(confusion.classes()[0].recall, 0.5);
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    /// `counts[truth][predicted]`.
    counts: Vec<Vec<usize>>,
}

/// The scores of one class; shares of no images are 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassScore {
    /// Images of the class.
    pub images: usize,
    /// Share of the images predicted as this class that are of it.
    pub precision: f64,
    /// Share of its images that are predicted as it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

impl Confusion {
    /// Counts each image's `truth` and `predicted` class, both below `ways`.
    ///
    /// # Errors
    /// Returns an error if there are no images, or the numbers of classes and predictions differ.
    pub fn new(truth: &[u32], predicted: &[u32], ways: usize) -> Result<Self> {
        if truth.is_empty() || truth.len() != predicted.len() {
            let (truth, predicted) = (truth.len(), predicted.len());
            return Err(LearnError::Invalid(format!(
                "{truth} images have {predicted} predictions: give each image one"
            )));
        }
        let mut counts = vec![vec![0; ways]; ways];
        truth.iter().zip(predicted).for_each(|(&truth, &given)| counts[truth as usize][given as usize] += 1);
        Ok(Self { counts })
    }

    /// `counts[truth][predicted]`.
    pub fn counts(&self) -> &[Vec<usize>] {
        &self.counts
    }

    /// Accuracy, with Wilson's interval.
    pub fn accuracy(&self) -> Interval {
        let correct = (0..self.counts.len()).map(|class| self.counts[class][class]).sum();
        wilson_interval(correct, self.counts.iter().flatten().sum())
    }

    /// Each class's scores, in the classes' order.
    pub fn classes(&self) -> Vec<ClassScore> {
        let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        (0..self.counts.len())
            .map(|class| {
                let correct = self.counts[class][class];
                let images = self.counts[class].iter().sum();
                let given: usize = self.counts.iter().map(|row| row[class]).sum();
                let f1 = share(2 * correct, images + given);
                ClassScore { images, precision: share(correct, given), recall: share(correct, images), f1 }
            })
            .collect()
    }

    /// Mean F1 over the classes that have images, with a percentile interval of 1000 bootstrap
    /// samples of the images (Efron 1979), drawn from `seed`.
    pub fn macro_f1(&self, seed: u64) -> Interval {
        const SAMPLES: u64 = 1000;
        let cells: Vec<(usize, usize)> = (0..self.counts.len())
            .flat_map(|truth| (0..self.counts.len()).map(move |given| (truth, given)))
            .flat_map(|(truth, given)| std::iter::repeat_n((truth, given), self.counts[truth][given]))
            .collect();
        let mut samples: Vec<f64> = (0..SAMPLES)
            .map(|sample| {
                let rng = &mut rng(seed, "bootstrap", sample);
                let mut counts = vec![vec![0; self.counts.len()]; self.counts.len()];
                for _ in 0..cells.len() {
                    let (truth, given) = cells[rng.random_range(0..cells.len())];
                    counts[truth][given] += 1;
                }
                Self { counts }.mean_f1()
            })
            .collect();
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| samples[((SAMPLES - 1) as f64 * share).round() as usize];
        Interval { mean: self.mean_f1(), low: at(0.025), high: at(0.975) }
    }

    fn mean_f1(&self) -> f64 {
        let scores: Vec<f64> = self.classes().iter().filter(|class| class.images > 0).map(|class| class.f1).collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_textbook() {
        // class 0: two correct, one predicted as 1; class 1: one correct; class 2: one predicted as 0
        let confusion = Confusion::new(&[0, 0, 0, 1, 2], &[0, 0, 1, 1, 0], 3).unwrap();
        let classes = confusion.classes();
        assert!((classes[0].precision - 2.0 / 3.0).abs() < 1e-12 && (classes[0].recall - 2.0 / 3.0).abs() < 1e-12);
        assert!((classes[1].precision - 0.5).abs() < 1e-12 && (classes[1].f1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((classes[2].images, classes[2].f1), (1, 0.0));
        assert_eq!(confusion.accuracy().mean, 0.6);
        let f1 = confusion.macro_f1(0);
        assert!((f1.mean - 4.0 / 9.0).abs() < 1e-12 && f1.low < f1.mean && f1.mean < f1.high);
        assert!(Confusion::new(&[], &[], 3).is_err());
    }

    #[test]
    fn a_perfect_classifier_has_an_f1_of_one() {
        let labels: Vec<u32> = (0..30).map(|image| image % 3).collect();
        let f1 = Confusion::new(&labels, &labels, 3).unwrap().macro_f1(1);
        assert_eq!((f1.mean, f1.low, f1.high), (1.0, 1.0, 1.0));
    }
}
