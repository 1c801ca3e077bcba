//! Holding out a share of labeled images, class by class.

use crate::{LearnError, Result};
use std::collections::BTreeMap;
use taper_ops::{permutation, rng};

/// Labeled images in two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldOut {
    /// Places of the images that are held out, ascending; empty if every class has a single image.
    pub held_out: Vec<usize>,
    /// Places of the others, ascending: at least one image of every class.
    pub rest: Vec<usize>,
    /// Classes without a held-out image, ascending.
    pub classes_left_out: Vec<u32>,
}

/// Holds out about `share` of the images with these labels, drawn from `seed`. Each class contributes its
/// share, but never its last image: classes of one image stay whole. If shares are less than one
/// image, some classes contribute one and others none, so that the total is right. At least one image
/// is held out if any class has two.
///
/// # Errors
/// Returns an error if `share` is not between 0 and 1.
///
/// ```
/// let parts = taper_learn::training::hold_out(&[0, 0, 0, 0, 1, 1, 1, 1, 2], 0.25, 0)?;
/// assert_eq!(parts.held_out.len(), 2); // one image of each class that has several
/// assert_eq!(parts.classes_left_out, [2]);
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
pub fn hold_out(labels: &[u32], share: f64, seed: u64) -> Result<HoldOut> {
    if !(share > 0.0 && share < 1.0) {
        return Err(LearnError::Invalid(format!(
            "{share} is not a share of the images to hold out: use a value between 0 and 1, such as 0.1"
        )));
    }
    let mut images_of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, &label) in labels.iter().enumerate() {
        images_of.entry(label).or_default().push(place);
    }
    let divisible: Vec<(&u32, &Vec<usize>)> = images_of.iter().filter(|(_, images)| images.len() > 1).collect();
    let total: usize = divisible.iter().map(|(_, images)| images.len()).sum();
    let wanted = (share * total as f64).round().max(1.0);
    let mut is_held_out = vec![false; labels.len()];
    let (mut passed, mut taken) = (0, 0);
    // in random order: the names of classes don't decide which ones contribute an image
    for place in permutation(&mut rng(seed, "hold out", 0), divisible.len()) {
        let (&class, images) = divisible[place];
        passed += images.len();
        let due = (wanted * passed as f64 / total as f64).round() as usize - taken;
        let most = ((share * images.len() as f64).ceil() as usize).min(images.len() - 1);
        let count = due.min(most);
        taken += count;
        let order = permutation(&mut rng(seed, "hold out class", u64::from(class)), images.len());
        order[..count].iter().for_each(|&image| is_held_out[images[image]] = true);
    }
    let (held_out, rest): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|&place| is_held_out[place]);
    let without = |images: &Vec<usize>| images.iter().all(|&place| !is_held_out[place]);
    let classes_left_out = images_of.iter().filter(|(_, images)| without(images)).map(|(&class, _)| class).collect();
    Ok(HoldOut { held_out, rest, classes_left_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels of classes with these numbers of images.
    fn labels(counts: &[usize]) -> Vec<u32> {
        (0..).zip(counts).flat_map(|(class, &count)| vec![class; count]).collect()
    }

    fn count(labels: &[u32], places: &[usize], class: u32) -> usize {
        places.iter().filter(|&&place| labels[place] == class).count()
    }

    #[test]
    fn holding_out_never_takes_a_class_s_only_image() {
        for (counts, share) in
            [(&[1, 1, 30][..], 0.1), (&[1, 2, 2, 3], 0.9), (&[5, 1, 4], 0.5), (&[2], 0.99), (&[1, 9], 0.01)]
        {
            for seed in 0..50 {
                let labels = labels(counts);
                let split = hold_out(&labels, share, seed).unwrap();
                for class in 0..counts.len() as u32 {
                    assert!(count(&labels, &split.rest, class) > 0, "class {class} of {counts:?}, seed {seed}");
                    let given = count(&labels, &split.held_out, class);
                    assert_eq!(given == 0, split.classes_left_out.contains(&class));
                }
                assert!(!split.held_out.is_empty());
                assert_eq!(split.held_out.len() + split.rest.len(), labels.len());
            }
        }
    }

    #[test]
    fn each_class_gives_its_share_and_the_total_is_as_asked() {
        let labels = labels(&[100, 50, 10, 1]);
        let split = hold_out(&labels, 0.1, 7).unwrap();
        let given: Vec<usize> = (0..4).map(|class| count(&labels, &split.held_out, class)).collect();
        assert_eq!(given, [10, 5, 1, 0]);
        let small = labels_of_small_classes();
        assert_eq!(hold_out(&small, 0.1, 3).unwrap().held_out.len(), 10, "100 images of 50 classes");
        assert_ne!(hold_out(&small, 0.1, 3).unwrap(), hold_out(&small, 0.1, 4).unwrap());
    }

    fn labels_of_small_classes() -> Vec<u32> {
        labels(&[2; 50])
    }

    #[test]
    fn nothing_is_held_out_of_single_images_and_a_senseless_share_is_an_error() {
        assert_eq!(hold_out(&[0, 1, 2], 0.5, 0).unwrap().held_out, [0; 0]);
        assert_eq!(hold_out(&[], 0.5, 0).unwrap().rest, [0; 0]);
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(hold_out(&[0, 0], share, 0).unwrap_err().to_string().contains("between 0 and 1"));
        }
    }
}
