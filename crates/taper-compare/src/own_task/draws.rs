//! Draws of labels: which images are labeled, and which are classified.

use super::pool::Pool;
use crate::{CompareError, Result};
use std::collections::BTreeMap;
use taper_learn::statistics::{Decision, ScoredTask};
use taper_learn::{Observer, evaluation::Labeled};
use taper_ops::{permutation, rng};
use taper_transfer::LabelCount;

/// Folds of the images that may be labeled, unless no class has so many images.
const FOLDS: usize = 5;

/// Draws of labels from a pool. A draw's supports are nested: those with fewer labels are part of those with
/// more, and all of them are scored on the same images.
#[derive(Debug, Clone)]
pub(super) struct Draws {
    pool: Pool,
    label_of: BTreeMap<usize, u32>,
    folds: usize,
    seed: u64,
}

/// One draw.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    /// For each label, the images outside the draw's fold, in the order in which they are labeled.
    order: Vec<Vec<usize>>,
    /// Images that choices between methods are made on.
    pub(super) choice: Vec<usize>,
    /// Images that methods are measured on.
    pub(super) measure: Vec<usize>,
}

/// A number of labels that the data allow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Count {
    pub(super) labels: LabelCount,
    /// Labels per class, the mean over classes.
    pub(super) per_class: f64,
    /// Labels of all classes together.
    pub(super) images: usize,
}

impl Count {
    /// Labels per class as they were asked for; of all labels the mean over classes.
    pub(super) fn number(&self) -> f64 {
        match self.labels {
            LabelCount::Of(count) => count as f64,
            LabelCount::All => self.per_class,
        }
    }

    /// `1 label per class`, `all labels`.
    pub(super) fn words(&self) -> String {
        match self.labels {
            LabelCount::Of(1) => "1 label per class".into(),
            LabelCount::Of(count) => format!("{count} labels per class"),
            LabelCount::All => "all labels".into(),
        }
    }
}

impl Draws {
    pub(super) fn new(pool: Pool, seed: u64) -> Self {
        let mut label_of = BTreeMap::new();
        for (label, images) in (0..).zip(&pool.labeled).chain((0..).zip(&pool.held_out)) {
            label_of.extend(images.iter().map(|&image| (image, label)));
        }
        let largest = pool.labeled.iter().map(Vec::len).max().unwrap_or(0);
        Self { label_of, folds: FOLDS.min(largest), pool, seed }
    }

    /// The seed of all draws.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Draw number `number`.
    ///
    /// The images that may be labeled are divided into folds; a draw's labels come from outside its fold.
    /// Held-out images are what methods are measured on, and the fold is what choices are made on. Without
    /// held-out images, methods are measured on one half of the fold and chosen on the other.
    pub(super) fn draw(&self, number: u64) -> Draw {
        let Self { pool, folds, seed, .. } = self;
        let (repetition, fold) = match folds {
            0 | 1 => (number, None),
            folds => (number / *folds as u64, Some((number % *folds as u64) as usize)),
        };
        let ways = pool.ways() as u64;
        let (mut order, mut inside) = (Vec::new(), Vec::new());
        for (label, images) in (0..).zip(&pool.labeled) {
            let shuffled =
                |stream, number: u64| permutation(&mut rng(*seed, stream, number * ways + label), images.len());
            let place_in_folds = shuffled("label folds", repetition);
            // a class of one image keeps it to be labeled
            let is_inside =
                |place: usize| images.len() > 1 && fold.is_some_and(|fold| place_in_folds[place] % folds == fold);
            order.push(
                shuffled("labels", number)
                    .into_iter()
                    .filter(|&place| !is_inside(place))
                    .map(|place| images[place])
                    .collect::<Vec<usize>>(),
            );
            inside.extend((0..images.len()).filter(|&place| is_inside(place)).map(|place| images[place]));
        }
        let (choice, measure) = if pool.sets_aside() {
            (inside, pool.held_out.iter().flatten().copied().collect())
        } else {
            inside.into_iter().partition(|&image| self.is_for_choices(image))
        };
        Draw { order, choice, measure }
    }

    /// Of images that are not held out, every other one of a class is for choices.
    fn is_for_choices(&self, image: usize) -> bool {
        let of_class = &self.pool.labeled[self.label_of[&image] as usize];
        of_class.binary_search(&image).is_ok_and(|place| place % 2 == 1)
    }

    /// The numbers of labels asked for, as the data allow them, ascending. `all` is every image that may be
    /// labeled, or those outside of a fold if none are held out.
    ///
    /// # Errors
    /// Returns an error if no class has as many images as the fewest labels asked for.
    pub(super) fn counts(
        &self,
        asked: &[LabelCount],
        is_default: bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Count>> {
        let all = self.count(LabelCount::All);
        let outside = |labels: &[usize]| match self.folds {
            0 | 1 => labels.len(),
            _ if labels.len() < 2 => labels.len(),
            folds => labels.len() - labels.len().div_ceil(folds),
        };
        let mut sizes: Vec<usize> = self.pool.labeled.iter().map(|images| outside(images)).collect();
        sizes.sort_unstable();
        let (median, most) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
        let mut counts: Vec<Count> = Vec::new();
        for &labels in asked {
            match labels {
                LabelCount::Of(wanted) if is_default && wanted > median => {}
                LabelCount::Of(wanted) if wanted > most => {
                    return Err(CompareError::TooFewLabels { wanted, most });
                }
                _ => counts.push(self.count(labels)),
            }
        }
        counts.sort_by(|a, b| a.per_class.total_cmp(&b.per_class));
        counts.dedup_by(|later, earlier| later.images == earlier.images);
        if let Some(short) = counts.iter().find(|count| matches!(count.labels, LabelCount::Of(of) if of > sizes[0])) {
            let fewer = sizes.iter().filter(|&&size| matches!(short.labels, LabelCount::Of(of) if of > size)).count();
            observer.note(format!(
                "{fewer} class(es) have fewer than {} images to label, and give all that they have",
                short.labels
            ))?;
        }
        match counts.is_empty() {
            true => Ok(vec![all]),
            false => Ok(counts),
        }
    }

    fn count(&self, labels: LabelCount) -> Count {
        let images = self.support(&self.draw(0), labels).images.len();
        Count { labels, per_class: images as f64 / self.pool.ways() as f64, images }
    }

    /// Whether different draws label different images.
    pub(super) fn vary(&self, labels: LabelCount) -> bool {
        !(labels == LabelCount::All && self.pool.sets_aside())
    }

    /// The images that a draw labels.
    pub(super) fn support(&self, draw: &Draw, labels: LabelCount) -> Labeled {
        let images: Vec<usize> = match labels {
            LabelCount::Of(count) => draw.order.iter().flat_map(|order| order.iter().take(count).copied()).collect(),
            LabelCount::All if self.pool.sets_aside() => self.pool.labeled.iter().flatten().copied().collect(),
            LabelCount::All => draw.order.iter().flatten().copied().collect(),
        };
        self.labeled(images)
    }

    /// These images with their labels.
    pub(super) fn labeled(&self, images: Vec<usize>) -> Labeled {
        let labels = images.iter().map(|image| self.label_of[image]).collect();
        Labeled { images, labels, ways: self.pool.ways() }
    }

    /// The images that are classified after learning from `labels`: those for choices first, unless they are
    /// labeled themselves.
    pub(super) fn queries(&self, draw: &Draw, labels: LabelCount) -> Vec<usize> {
        let choice = if self.vary(labels) { draw.choice.as_slice() } else { &[] };
        choice.iter().chain(&draw.measure).copied().collect()
    }

    /// The answers to some of the queries of a draw.
    pub(super) fn scored(
        &self,
        draw: &Draw,
        labels: LabelCount,
        predicted: &[Option<u32>],
        include: impl Fn(usize) -> bool,
    ) -> ScoredTask {
        let ways = self.pool.ways();
        let queries = self.queries(draw, labels);
        let answers = queries.iter().zip(predicted).enumerate().filter(|(place, _)| include(*place));
        let decision = |(_, (&image, &predicted)): (usize, (&usize, &Option<u32>))| Decision {
            image,
            class: self.label_of[&image],
            predicted,
        };
        ScoredTask {
            classes: (0..ways as u32).collect(),
            support_images: self.support(draw, labels).images.len(),
            pool_images: Some(self.pool.labeled_images()),
            decisions: answers.map(decision).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use taper_learn::NoopObserver;

    /// Three classes of so many images to label, and so many held out.
    fn draws(labeled: [usize; 3], held_out: usize) -> Draws {
        let mut next = 0;
        let mut take = |count: usize| {
            next += count;
            (next - count..next).collect::<Vec<usize>>()
        };
        let labeled = labeled.map(&mut take).to_vec();
        let held_out = [held_out; 3].map(&mut take).to_vec();
        Draws::new(Pool { classes: vec![0, 1, 2], labeled, held_out }, 7)
    }

    #[test]
    fn supports_are_nested_and_never_meet_the_queries() {
        for held_out in [0, 4] {
            let draws = draws([10, 10, 12], held_out);
            for number in 0..12 {
                let draw = draws.draw(number);
                let mut smaller = BTreeSet::new();
                for labels in [LabelCount::Of(1), LabelCount::Of(3), LabelCount::All] {
                    let support: BTreeSet<usize> = draws.support(&draw, labels).images.into_iter().collect();
                    let queries: BTreeSet<usize> = draws.queries(&draw, labels).into_iter().collect();
                    assert!(support.is_superset(&smaller) && support.is_disjoint(&queries), "{number} {labels}");
                    assert!(!queries.is_empty());
                    smaller = support;
                }
            }
        }
    }

    #[test]
    fn held_out_images_are_measured_on_and_never_labeled_nor_chosen_on() {
        let draws = draws([5, 5, 5], 2);
        for number in 0..10 {
            let draw = draws.draw(number);
            assert_eq!(draw.measure, [15, 16, 17, 18, 19, 20]);
            assert!(draw.choice.iter().chain(&draws.support(&draw, LabelCount::All).images).all(|&image| image < 15));
        }
        assert!(!draws.vary(LabelCount::All) && draws.vary(LabelCount::Of(1)));
    }

    #[test]
    fn without_held_out_images_every_image_is_asked_once_in_each_round_of_folds() {
        let draws = draws([10, 10, 10], 0);
        let mut asked = Vec::new();
        for number in 0..5 {
            let draw = draws.draw(number);
            assert!(draw.choice.iter().all(|image| !draw.measure.contains(image)));
            asked.extend(draws.queries(&draw, LabelCount::Of(1)));
        }
        asked.sort_unstable();
        assert_eq!(asked, (0..30).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_of_labels_go_as_far_as_the_data_and_more_are_refused() {
        let draws = draws([4, 10, 10], 3);
        let usual: Vec<LabelCount> =
            [1, 2, 5, 10, 20].map(LabelCount::Of).into_iter().chain([LabelCount::All]).collect();
        let names = |counts: Vec<Count>| counts.iter().map(|count| count.labels.to_string()).collect::<Vec<_>>();
        let counts = draws.counts(&usual, true, &mut NoopObserver).unwrap();
        assert_eq!(names(counts), ["1", "2", "5", "all"]);
        let error = draws.counts(&[LabelCount::Of(50)], false, &mut NoopObserver).unwrap_err();
        assert!(matches!(error, CompareError::TooFewLabels { wanted: 50, .. }), "{error}");
    }
}
