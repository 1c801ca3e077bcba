//! Classes of other images, and the episodes that are drawn from them.

use rand::Rng as _;
use taper_data::{Dataset, EpisodeIndices};
use taper_ops::{permutation, rng};

/// Support images per class of an episode, at most.
const SHOTS: usize = 5;
/// Query images per class.
const QUERIES: usize = 5;
/// Classes per episode, at most.
const WAYS: usize = 10;

/// Images by class to draw episodes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MetaClasses {
    /// The data set's class and its images.
    pub(super) classes: Vec<(u32, Vec<usize>)>,
}

impl MetaClasses {
    /// The classes of `dataset` that have images enough for an episode, without the images `left_out`, and with
    /// `most` images in all.
    pub(super) fn of(dataset: &dyn Dataset, left_out: impl Fn(usize) -> bool, most: usize, seed: u64) -> Self {
        let by_class = taper_data::images_by_class(dataset);
        let kept = (0..).zip(by_class).map(|(class, mut images): (u32, Vec<usize>)| {
            images.retain(|&image| !left_out(image));
            (class, images)
        });
        let mut classes: Vec<(u32, Vec<usize>)> = kept.filter(|(_, images)| images.len() > QUERIES).collect();
        // rather more classes than more images of each
        let each = (most / classes.len().max(1)).max(SHOTS + QUERIES);
        for (class, images) in &mut classes {
            let order = permutation(&mut rng(seed, "meta-training images", u64::from(*class)), images.len());
            let mut kept: Vec<usize> = order.into_iter().take(each).map(|place| images[place]).collect();
            kept.sort_unstable();
            *images = kept;
        }
        let fit = (most / each).max(2);
        if classes.len() > fit {
            let order = permutation(&mut rng(seed, "meta-training classes", 0), classes.len());
            let mut places: Vec<usize> = order.into_iter().take(fit).collect();
            places.sort_unstable();
            classes = places.into_iter().map(|place| classes[place].clone()).collect();
        }
        Self { classes }
    }

    /// All images, ascending.
    pub(super) fn images(&self) -> Vec<usize> {
        let mut images: Vec<usize> = self.classes.iter().flat_map(|(_, images)| images).copied().collect();
        images.sort_unstable();
        images
    }

    /// One class in five to validate on, if enough are left to train on; the others.
    pub(super) fn divided(self, seed: u64) -> (Self, Option<Self>) {
        const SHARE: usize = 5;
        let apart = self.classes.len() / SHARE;
        if apart < 2 {
            return (self, None);
        }
        let order = permutation(&mut rng(seed, "meta-validation classes", 0), self.classes.len());
        let of = |places: &[usize]| {
            let mut places = places.to_vec();
            places.sort_unstable();
            Self { classes: places.into_iter().map(|place| self.classes[place].clone()).collect() }
        };
        (of(&order[apart..]), Some(of(&order[..apart])))
    }
}

impl MetaClasses {
    /// Classes of an episode: as many as `ways`, or as there are.
    pub(super) fn ways(&self, ways: usize) -> usize {
        ways.min(WAYS).min(self.classes.len())
    }

    /// Episode number `number` of at most `ways` classes: its shots are drawn too, 1 to 5.
    pub(super) fn episode(&self, ways: usize, seed: u64, number: u64) -> EpisodeIndices {
        let mut chance = rng(seed, "meta-training episode", number);
        let shots = chance.random_range(1..=SHOTS);
        let mut drawn = EpisodeIndices::default();
        let order = permutation(&mut chance, self.classes.len());
        for (label, &place) in (0..).zip(&order[..self.ways(ways)]) {
            let (class, images) = &self.classes[place];
            let order = permutation(&mut chance, images.len());
            let queries = QUERIES.min(images.len() - 1);
            let shots = shots.min(images.len() - queries);
            drawn.classes.push(*class);
            drawn.support.extend(order[..shots].iter().map(|&place| images[place]));
            drawn.query.extend(order[shots..shots + queries].iter().map(|&place| images[place]));
            drawn.support_labels.extend(std::iter::repeat_n(label, shots));
            drawn.query_labels.extend(std::iter::repeat_n(label, queries));
        }
        drawn
    }
}
