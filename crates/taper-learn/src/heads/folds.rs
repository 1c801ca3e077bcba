//! Stratified folds: parts of the labeled images with nearly equal class frequencies.

use crate::{LearnError, Result};
use taper_ops::{permutation, rng};

/// The fold of each row, below `folds`: each class is spread over the folds as evenly as possible,
/// and `seed` assigns the images.
///
/// ```
/// let folds = taper_learn::heads::stratified_folds(&[0, 0, 1, 1], 2, 0)?;
/// assert_ne!(folds[0], folds[1]);
/// assert_ne!(folds[2], folds[3]);
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
///
/// # Errors
/// Returns an error for fewer than two folds, or more than there are rows.
pub fn stratified_folds(labels: &[u32], folds: usize, seed: u64) -> Result<Vec<usize>> {
    if folds < 2 || folds > labels.len() {
        return Err(LearnError::Invalid(format!("can't make {folds} folds of {} images: use 2 to 10", labels.len())));
    }
    let mut fold_of = vec![0; labels.len()];
    let mut next = 0;
    for class in 0..=labels.iter().copied().max().unwrap_or(0) {
        let rows: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] == class).collect();
        for place in permutation(&mut rng(seed, "folds", u64::from(class)), rows.len()) {
            // the next class continues where this one ended, so that folds have equal sizes
            fold_of[rows[place]] = next;
            next = (next + 1) % folds;
        }
    }
    Ok(fold_of)
}

/// As many folds as every class can fill, at most five; `None` if a class has a single image.
pub fn default_folds(labels: &[u32], ways: usize) -> Option<usize> {
    const MOST: usize = 5;
    let mut counts = vec![0; ways];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let fewest = counts.into_iter().min().unwrap_or(0);
    (fewest >= 2).then_some(fewest.min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fold_has_every_class_in_its_share() {
        let labels: Vec<u32> = (0..47).map(|row| [0, 0, 0, 1, 2][row % 5]).collect();
        let fold_of = stratified_folds(&labels, 3, 7).unwrap();
        for class in 0..3 {
            let total = labels.iter().filter(|&&label| label == class).count();
            for fold in 0..3 {
                let count = labels.iter().zip(&fold_of).filter(|&(&l, &f)| l == class && f == fold).count();
                assert!(count == total / 3 || count == total.div_ceil(3), "class {class}, fold {fold}: {count}");
            }
        }
        assert_eq!(fold_of, stratified_folds(&labels, 3, 7).unwrap());
        assert_ne!(fold_of, stratified_folds(&labels, 3, 8).unwrap());
    }

    #[test]
    fn a_single_image_of_a_class_allows_no_folds() {
        assert_eq!(default_folds(&[0, 0, 1], 2), None);
        assert_eq!(default_folds(&[0, 0, 1, 1, 1], 2), Some(2));
        assert_eq!(default_folds(&[0; 40], 1), Some(5));
        assert!(stratified_folds(&[0, 1], 3, 0).is_err());
    }
}
