//! Class-aware sampling (Shen, Lin and Huang 2016, section 3.2): classes are drawn equally often,
//! regardless of their numbers of images.

use taper_ops::{Rng, permutation};

/// Places of `labels`, as many as there are labels, drawn by `rng`: one class after the other, in a new order every
/// round, and each class's images one after the other, in a new order whenever all were used.
pub fn balanced_order(labels: &[u32], rng: &mut Rng) -> Vec<usize> {
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for (place, &label) in labels.iter().enumerate() {
        classes.resize(classes.len().max(label as usize + 1), Vec::new());
        classes[label as usize].push(place);
    }
    classes.retain(|images| !images.is_empty());
    let mut left: Vec<Vec<usize>> = vec![Vec::new(); classes.len()];
    let mut order = Vec::with_capacity(labels.len());
    while order.len() < labels.len() {
        for class in permutation(rng, classes.len()) {
            if left[class].is_empty() {
                let shuffled = permutation(rng, classes[class].len());
                left[class] = shuffled.into_iter().map(|image| classes[class][image]).collect();
            }
            order.extend(left[class].pop());
        }
    }
    order.truncate(labels.len());
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use taper_ops::rng;

    #[test]
    fn classes_come_equally_often_and_an_image_again_only_after_all_of_its_class() {
        // 14 images of class 0, 3 of class 1, none of class 2, 1 of class 3
        let labels: Vec<u32> = [vec![0; 14], vec![1; 3], vec![3]].concat();
        let draw = |epoch| balanced_order(&labels, &mut rng(0, "test", epoch));
        let order = draw(0);
        assert_eq!(order.len(), 18);
        for class in [0, 1, 3] {
            let own: Vec<usize> = order.iter().copied().filter(|&place| labels[place] == class).collect();
            assert_eq!(own.len(), 6, "class {class}");
            let images = labels.iter().filter(|&&label| label == class).count();
            assert!(own.chunks(images).all(|round| round.iter().collect::<BTreeSet<_>>().len() == round.len()));
        }
        assert_eq!(order, draw(0));
        assert_ne!(order, draw(1));
        let seen: BTreeSet<usize> = (0..20).flat_map(draw).collect();
        assert_eq!(seen.len(), labels.len(), "over the epochs every image is seen");
    }
}
