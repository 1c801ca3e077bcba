//! How much the best of several candidates looks better than it is.

use rand::Rng as _;
use taper_ops::rng;

/// Bootstrap samples.
const SAMPLES: u64 = 500;

/// By how much the accuracy of the candidate that `choose` takes exceeds its accuracy on images that had no say
/// (bootstrap bias corrected cross-validation, Tsamardinos et al. 2018). `right[candidate][image]` is the share of an
/// image's predictions out of fold that are right. `choose` gets every candidate's accuracy on a sample of the images. 0
/// for a single candidate, and never negative.
pub fn selection_bias(right: &[Vec<f64>], choose: impl Fn(&[f64]) -> usize, seed: u64) -> f64 {
    let images = right.first().map_or(0, Vec::len);
    if right.len() < 2 || images < 2 {
        return 0.0;
    }
    let all: Vec<f64> = right.iter().map(|right| right.iter().sum::<f64>() / images as f64).collect();
    let apparent = all[choose(&all)];
    // the accuracy of what is chosen on a sample, on the images outside it
    let outside = |sample: u64| -> f64 {
        let rng = &mut rng(seed, "selection bias", sample);
        let mut times = vec![0.0; images];
        (0..images).for_each(|_| times[rng.random_range(0..images)] += 1.0);
        let inside = |right: &Vec<f64>| right.iter().zip(&times).map(|(right, times)| right * times).sum::<f64>();
        let chosen = choose(&right.iter().map(|right| inside(right) / images as f64).collect::<Vec<_>>());
        let left_out: Vec<f64> =
            right[chosen].iter().zip(&times).filter(|(_, times)| **times == 0.0).map(|(right, _)| *right).collect();
        if left_out.is_empty() { apparent } else { left_out.iter().sum::<f64>() / left_out.len() as f64 }
    };
    (apparent - (0..SAMPLES).map(outside).sum::<f64>() / SAMPLES as f64).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(accuracies: &[f64]) -> usize {
        (0..accuracies.len()).fold(0, |best, other| if accuracies[other] > accuracies[best] { other } else { best })
    }

    /// Candidates that are right by chance alone.
    fn guesses(candidates: usize, images: usize, seed: u64) -> Vec<Vec<f64>> {
        let rng = &mut rng(seed, "guesses", 0);
        (0..candidates).map(|_| (0..images).map(|_| f64::from(u8::from(rng.random_bool(0.5)))).collect()).collect()
    }

    #[test]
    fn the_best_of_many_guesses_is_corrected_to_about_one_half() {
        let corrected: Vec<f64> = (0..20)
            .map(|seed| {
                let right = guesses(20, 60, seed);
                let accuracies: Vec<f64> = right.iter().map(|right| right.iter().sum::<f64>() / 60.0).collect();
                let apparent = accuracies[best(&accuracies)];
                assert!(apparent > 0.53, "{apparent}");
                apparent - selection_bias(&right, best, seed)
            })
            .collect();
        let mean = corrected.iter().sum::<f64>() / 20.0;
        assert!((mean - 0.5).abs() < 0.025, "{mean}");
    }

    #[test]
    fn a_candidate_that_is_clearly_best_or_the_only_one_needs_no_correction() {
        let mut right = guesses(3, 200, 1);
        right.push(vec![1.0; 200]);
        assert_eq!(selection_bias(&right, best, 0), 0.0);
        assert_eq!(selection_bias(&guesses(1, 50, 2), best, 0), 0.0);
    }
}
