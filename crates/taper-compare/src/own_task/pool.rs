//! The images of a comparison on a data set's own classes: those that may be labeled and those that are only
//! ever scored.

use crate::scoring::few;
use crate::{CompareError, Result};
use std::collections::BTreeSet;
use taper_data::{Dataset, duplicates, one_line};
use taper_learn::{Event, Observer};
use taper_ops::{permutation, rng};

/// Images by label; no picture is there twice.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    /// For each label, the data set's class.
    pub(super) classes: Vec<u32>,
    /// For each label, the images that may be labeled.
    pub(super) labeled: Vec<Vec<usize>>,
    /// For each label, the images that the data set's owner set aside: they are only ever scored.
    pub(super) held_out: Vec<Vec<usize>>,
}

impl Pool {
    /// The images of a data set without copies, at most `most` of them.
    ///
    /// # Errors
    /// Returns an error if fewer than two classes can be told apart.
    pub(super) fn new(dataset: &dyn Dataset, most: usize, seed: u64, observer: &mut dyn Observer) -> Result<Self> {
        let found = duplicates(dataset)?;
        let mut copies: BTreeSet<usize> = found.iter().map(|found| found.copy).collect();
        // nobody knows which label is right
        let several: Vec<usize> = found.iter().filter(|one| one.across_classes).map(|found| found.original).collect();
        copies.extend(&several);
        if !copies.is_empty() {
            observer.note(format!(
                "{}: left out as copies of other pictures: {} image(s); `taper inspect` lists them",
                one_line(dataset.name()),
                copies.len()
            ))?;
        }
        if !several.is_empty() {
            let names: Vec<String> =
                several.iter().map(|&image| one_line(&dataset.image_name(image)).into_owned()).collect();
            observer.on(Event::Warning(format!(
                "{}: pictures in more than one class are left out ({}): {}; keep each in one class",
                one_line(dataset.name()),
                names.len(),
                few(&names)
            )))?;
        }
        let held_out: BTreeSet<usize> = dataset.held_out().iter().copied().collect();
        let ways = dataset.classes().len();
        let (mut labeled, mut scored) = (vec![Vec::new(); ways], vec![Vec::new(); ways]);
        for (image, &class) in dataset.labels().iter().enumerate().filter(|(image, _)| !copies.contains(image)) {
            let part = if held_out.contains(&image) { &mut scored } else { &mut labeled };
            part[class as usize].push(image);
        }
        let sets_aside = scored.iter().any(|images| !images.is_empty());
        let least = if sets_aside { 1 } else { 2 };
        let classes: Vec<u32> = (0..ways as u32).filter(|&class| labeled[class as usize].len() >= least).collect();
        if classes.len() < ways {
            let left_out = (0..ways).filter(|&class| labeled[class].len() < least);
            let name = |class: usize| one_line(&dataset.classes()[class].full_name()).into_owned();
            let names: Vec<String> = left_out.map(name).collect();
            observer.note(format!(
                "{}: {} class(es) with fewer than {least} images to label are left out: {}",
                one_line(dataset.name()),
                names.len(),
                few(&names)
            ))?;
        }
        if classes.len() < 2 {
            let (dataset, classes) = (dataset.name().to_string(), classes.len());
            return Err(CompareError::NothingToTellApart { dataset, classes, least });
        }
        let unasked = classes.iter().filter(|&&class| scored[class as usize].is_empty()).count();
        if sets_aside && unasked > 0 && unasked < classes.len() {
            observer.on(Event::Warning(format!(
                "{}: {unasked} class(es) have no image that is set aside, so accuracies are of the others alone: set \
                 images of every class aside, or none",
                one_line(dataset.name())
            )))?;
        }
        let of_classes = |images: Vec<Vec<usize>>| -> Vec<Vec<usize>> {
            classes.iter().map(|&class| images[class as usize].clone()).collect()
        };
        let pool = Self { labeled: of_classes(labeled), held_out: of_classes(scored), classes };
        let images = pool.images().len();
        if images <= most {
            return Ok(pool);
        }
        let pool = pool.reduced(most as f64 / images as f64, least, seed);
        observer.note(format!(
            "{}: {} of {images} images are used, as many as the time allows",
            one_line(dataset.name()),
            pool.images().len()
        ))?;
        Ok(pool)
    }

    /// A share of each class's images, drawn from the seed.
    fn reduced(self, share: f64, least: usize, seed: u64) -> Self {
        let reduce = |images: Vec<Vec<usize>>, stream: &str, least: usize| -> Vec<Vec<usize>> {
            let of_class = |(label, images): (usize, Vec<usize>)| {
                let count = ((images.len() as f64 * share) as usize).max(least.min(images.len()));
                let order = permutation(&mut rng(seed, stream, label as u64), images.len());
                let mut kept: Vec<usize> = order[..count].iter().map(|&place| images[place]).collect();
                kept.sort_unstable();
                kept
            };
            images.into_iter().enumerate().map(of_class).collect()
        };
        let labeled = reduce(self.labeled, "labeled images", least);
        Self { labeled, held_out: reduce(self.held_out, "held-out images", 1), ..self }
    }

    /// All images, ascending.
    pub(super) fn images(&self) -> Vec<usize> {
        let mut images: Vec<usize> = self.labeled.iter().chain(&self.held_out).flatten().copied().collect();
        images.sort_unstable();
        images
    }

    /// Images that may be labeled.
    pub(super) fn labeled_images(&self) -> usize {
        self.labeled.iter().map(Vec::len).sum()
    }

    /// Whether the data set's owner set images aside.
    pub(super) fn sets_aside(&self) -> bool {
        self.held_out.iter().any(|images| !images.is_empty())
    }

    /// Number of classes.
    pub(super) fn ways(&self) -> usize {
        self.classes.len()
    }
}
