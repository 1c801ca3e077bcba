//! The images to train on, those to validate on and those to test on; no image is in two parts.

use crate::{Result, TransferError};
use std::collections::{BTreeMap, BTreeSet};
use taper_data::{Dataset, Part, duplicates, images_by_class, images_of_part, one_line};
use taper_learn::{Observer, evaluation::Labeled};
use taper_ops::{permutation, rng};

/// Training, validation and test images, each in one part only.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) training: Labeled,
    pub(super) validation: Labeled,
    pub(super) test: Labeled,
}

impl Parts {
    /// The parts that the data set has; without a validation part, a `share` of each class to validate
    /// on. An image whose picture is also in an earlier part (the same file, or a resized, re-encoded or
    /// mirrored copy) is reported and excluded from the later one.
    pub(super) fn new(dataset: &dyn Dataset, share: f64, seed: u64, observer: &mut dyn Observer) -> Result<Self> {
        let test = images_of_part(dataset, Part::Test);
        let is_test: BTreeSet<usize> = test.iter().copied().collect();
        let mut validation = images_of_part(dataset, Part::Validation);
        if validation.is_empty() {
            validation = drawn(dataset, &is_test, share, seed)?;
        }
        validation.sort_unstable();
        let elsewhere = |image: &usize| validation.binary_search(image).is_ok() || is_test.contains(image);
        let training: Vec<usize> = (0..dataset.labels().len()).filter(|image| !elsewhere(image)).collect();
        if training.is_empty() {
            return Err(TransferError::NothingToTrainOn { dataset: dataset.name().to_string() });
        }
        check_classes(dataset, &training, observer)?;
        let originals = originals(dataset)?;
        let mut known = BTreeMap::new();
        known.extend(training.iter().map(|&image| (originals[image], image)));
        let mut without = |images, part| without_copies(dataset, &originals, &mut known, images, part, observer);
        let validation = without(validation, "validation")?;
        let test = without(test, "test")?;
        if validation.is_empty() {
            return Err(TransferError::OnlyCopies { dataset: dataset.name().to_string() });
        }
        let labeled = |images: Vec<usize>| Labeled {
            labels: images.iter().map(|&image| dataset.labels()[image]).collect(),
            images,
            ways: dataset.classes().len(),
        };
        Ok(Self { training: labeled(training), validation: labeled(validation), test: labeled(test) })
    }
}

/// A share of each class, without the images `test`.
fn drawn(dataset: &dyn Dataset, test: &BTreeSet<usize>, share: f64, seed: u64) -> Result<Vec<usize>> {
    if !(share > 0.0 && share < 1.0) {
        return Err(TransferError::BadShare { share });
    }
    let mut validation = Vec::new();
    for (class, mut images) in images_by_class(dataset).into_iter().enumerate() {
        images.retain(|image| !test.contains(image));
        let count = ((images.len() as f64 * share).round() as usize).max(1);
        if images.len() < 2 {
            let class = dataset.classes()[class].full_name();
            return Err(TransferError::ClassTooSmall { class, images: images.len() });
        }
        let order = permutation(&mut rng(seed, "validation part", class as u64), images.len());
        validation.extend(order[..count].iter().map(|&place| images[place]));
    }
    Ok(validation)
}

/// Fails if a class has no training images; reports imbalanced classes.
fn check_classes(dataset: &dyn Dataset, training: &[usize], observer: &mut dyn Observer) -> Result<()> {
    /// From this ratio on, a classifier does well by favoring the large class.
    const UNEQUAL: usize = 5;
    let mut counts = vec![0; dataset.classes().len()];
    training.iter().for_each(|&image| counts[dataset.labels()[image] as usize] += 1);
    let name = |class: usize| dataset.classes()[class].full_name();
    if let Some(class) = counts.iter().position(|&count| count == 0) {
        return Err(TransferError::ClassNotTrained { class: name(class) });
    }
    let (fewest, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    if most >= UNEQUAL * fewest {
        let at = |count: usize| counts.iter().position(|&other| other == count).map(name).unwrap_or_default();
        observer.note(format!(
            "classes are imbalanced ({} has {most} images, {} has {fewest}): macro-F1 gives all classes equal weight, and \
             training can be balanced",
            at(most),
            at(fewest)
        ))?;
    }
    Ok(())
}

/// For each image, the first image that shows the same picture: itself if it is not a copy.
fn originals(dataset: &dyn Dataset) -> Result<Vec<usize>> {
    let mut originals: Vec<usize> = (0..dataset.labels().len()).collect();
    for found in duplicates(dataset)? {
        originals[found.copy] = found.original;
    }
    // the original of a copy may itself be a copy of a third image
    for image in 0..originals.len() {
        while originals[originals[image]] != originals[image] {
            originals[image] = originals[originals[image]];
        }
    }
    Ok(originals)
}

/// The images of a part whose picture is not in an earlier part; `known` has the earlier parts' images by
/// their original and is extended by these.
fn without_copies(
    dataset: &dyn Dataset,
    originals: &[usize],
    known: &mut BTreeMap<usize, usize>,
    images: Vec<usize>,
    part: &str,
    observer: &mut dyn Observer,
) -> Result<Vec<usize>> {
    const SHOWN: usize = 3;
    let (mut kept, mut copies) = (Vec::with_capacity(images.len()), Vec::new());
    for &image in &images {
        match known.get(&originals[image]) {
            Some(&twin) => copies.push((image, twin)),
            None => kept.push(image),
        }
    }
    if !copies.is_empty() {
        let name = |&(image, twin)| {
            format!("{} = {}", one_line(&dataset.image_name(image)), one_line(&dataset.image_name(twin)))
        };
        let shown: Vec<String> = copies.iter().take(SHOWN).map(name).collect();
        observer.note(format!(
            "{} {part} image(s) are also {} images and are excluded from the score: {}{}",
            copies.len(),
            if part == "test" { "training or validation" } else { "training" },
            shown.join(", "),
            if copies.len() > SHOWN { ", …" } else { "" }
        ))?;
    }
    known.extend(images.into_iter().map(|image| (originals[image], image)));
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_learn::{Event, Flow, LearnError};

    /// Keeps the notes.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Observer for Notes {
        fn on(&mut self, event: Event<'_>) -> std::result::Result<Flow, LearnError> {
            if let Event::Note(note) = event {
                self.0.push(note.to_string());
            }
            Ok(Flow::Continue)
        }
    }

    /// A picture of `side` pixels; those of other numbers differ.
    fn picture(number: u32, side: u32) -> image::GrayImage {
        let wave = |place: u32, speed: u32| (f64::from(place) / f64::from(side) * f64::from(speed)).sin();
        let level = |x, y| 127.0 + 60.0 * wave(x, 3 + 2 * number) + 60.0 * wave(y, 20 - 3 * number);
        image::GrayImage::from_fn(side, side, |x, y| image::Luma([level(x, y) as u8]))
    }

    #[test]
    fn test_images_are_apart_and_copies_of_earlier_parts_are_left_out_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, image: image::GrayImage| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            image.save(path).unwrap();
        };
        put("train/a/0.png", picture(0, 64));
        put("train/a/1.png", picture(1, 64));
        put("train/b/2.png", picture(2, 64));
        put("val/a/new.png", picture(3, 64));
        put("val/b/smaller.png", picture(2, 48));
        put("test/a/mirrored.png", image::imageops::flip_horizontal(&picture(1, 64)));
        put("test/b/new.png", picture(4, 64));
        let data = taper_data::open(folder.path()).unwrap();
        let mut notes = Notes::default();
        let parts = Parts::new(data.as_ref(), 0.2, 0, &mut notes).unwrap();
        let names = |part: &Labeled| part.images.iter().map(|&image| data.image_name(image)).collect::<Vec<_>>();
        assert_eq!(names(&parts.training), ["train/a/0.png", "train/a/1.png", "train/b/2.png"]);
        assert_eq!(names(&parts.validation), ["val/a/new.png"]);
        assert_eq!(names(&parts.test), ["test/b/new.png"]);
        let notes = notes.0.join("\n");
        assert!(notes.contains("val/b/smaller.png = train/b/2.png"), "{notes}");
        assert!(notes.contains("test/a/mirrored.png = train/a/1.png"), "{notes}");
    }
}
