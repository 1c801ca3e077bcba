//! The images to train on, those to validate on and those to test on; no image is in two parts.

use crate::{Result, TransferError};
use std::collections::{BTreeMap, BTreeSet};
use taper_data::{Dataset, Part, duplicates, images_by_class, images_of_part, one_line};
use taper_learn::{Observer, evaluation::Labeled};
use taper_ops::{permutation, rng};

/// Training, validation and test images, each in one part only, and one of each picture.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) training: Labeled,
    /// Further images of the training part that show one of its pictures.
    pub(super) copies: Vec<usize>,
    pub(super) validation: Labeled,
    pub(super) test: Labeled,
}

impl Parts {
    /// The parts that the data set has; without a validation part, a `share` of each class to validate
    /// on. Of the images of a picture (the same file, or a resized or re-encoded copy, mirrored in the same class) the first is used: one in
    /// another part, or on another fold of the training part, would tell about it. A picture with several labels is used
    /// nowhere. Both are reported.
    pub(super) fn new(dataset: &dyn Dataset, share: f64, seed: u64, observer: &mut dyn Observer) -> Result<Self> {
        let pictures = Pictures::of(dataset)?;
        pictures.check(dataset)?;
        let test = images_of_part(dataset, Part::Test);
        let is_test: BTreeSet<usize> = test.iter().copied().collect();
        let mut validation = images_of_part(dataset, Part::Validation);
        if validation.is_empty() {
            validation = drawn(dataset, &pictures, &is_test, share, seed)?;
        }
        validation.sort_unstable();
        let elsewhere = |image: &usize| validation.binary_search(image).is_ok() || is_test.contains(image);
        let training: Vec<usize> = (0..dataset.labels().len()).filter(|image| !elsewhere(image)).collect();
        if training.is_empty() {
            return Err(TransferError::NothingToTrainOn { dataset: dataset.name().to_string() });
        }
        pictures.report_conflicts(dataset, observer)?;
        let mut known = BTreeMap::new();
        let mut once = |images, part| used_once(dataset, &pictures, &mut known, images, part, observer);
        let trained = once(training.clone(), "training")?;
        let validation = once(validation, "validation")?;
        let test = once(test, "test")?;
        check_classes(dataset, &trained, observer)?;
        let copies = training.into_iter().filter(|image| trained.binary_search(image).is_err()).collect();
        if validation.is_empty() {
            return Err(TransferError::OnlyCopies { dataset: dataset.name().to_string() });
        }
        let labeled = |images: Vec<usize>| Labeled {
            labels: images.iter().map(|&image| dataset.labels()[image]).collect(),
            images,
            ways: dataset.classes().len(),
        };
        Ok(Self { training: labeled(trained), copies, validation: labeled(validation), test: labeled(test) })
    }
}

/// Which images show the same picture.
struct Pictures {
    /// For each image, the first image that shows the same picture: itself if it is not a copy.
    originals: Vec<usize>,
    /// The originals of pictures with several labels, with one image of each label.
    conflicts: BTreeMap<usize, Vec<usize>>,
}

impl Pictures {
    fn of(dataset: &dyn Dataset) -> Result<Self> {
        let mut originals: Vec<usize> = (0..dataset.labels().len()).collect();
        for found in duplicates(dataset)? {
            originals[found.copy] = found.original;
        }
        // The original of a copy may itself be a copy of a third image
        for image in 0..originals.len() {
            while originals[originals[image]] != originals[image] {
                originals[image] = originals[originals[image]];
            }
        }
        let mut by_label: BTreeMap<usize, BTreeMap<u32, usize>> = BTreeMap::new();
        for (image, &original) in originals.iter().enumerate() {
            by_label.entry(original).or_default().entry(dataset.labels()[image]).or_insert(image);
        }
        by_label.retain(|_, images| images.len() > 1);
        let conflicts = by_label.into_iter().map(|(original, images)| (original, images.into_values().collect()));
        Ok(Self { conflicts: conflicts.collect(), originals })
    }

    /// Fails if nothing tells the classes apart.
    fn check(&self, dataset: &dyn Dataset) -> Result<()> {
        let images = self.originals.len();
        let dataset = dataset.name().to_string();
        if images > 1 && self.originals.iter().all(|&original| original == self.originals[0]) {
            return Err(TransferError::OnePicture { dataset });
        }
        if images > 0 && self.originals.iter().all(|original| self.conflicts.contains_key(original)) {
            return Err(TransferError::OnlyConflicts { dataset });
        }
        Ok(())
    }

    fn has_several_labels(&self, image: usize) -> bool {
        self.conflicts.contains_key(&self.originals[image])
    }

    fn report_conflicts(&self, dataset: &dyn Dataset, observer: &mut dyn Observer) -> Result<()> {
        let names = |images: &Vec<usize>| {
            images
                .iter()
                .map(|&image| one_line(&dataset.image_name(image)).into_owned())
                .collect::<Vec<_>>()
                .join(" = ")
        };
        let count = self.conflicts.len();
        if count > 0 {
            observer.note(format!(
                "{count} picture(s) with more than one class, which are left out; correct or remove them: {}",
                first(self.conflicts.values().map(names), count)
            ))?;
        }
        Ok(())
    }
}

/// Names shown for all of their kind.
const SHOWN: usize = 3;

/// `a, b, c, …`: the first of `count` names.
fn first(names: impl Iterator<Item = String>, count: usize) -> String {
    let shown: Vec<String> = names.take(SHOWN).collect();
    format!("{}{}", shown.join(", "), if count > SHOWN { ", …" } else { "" })
}

/// A share of each class, without the images `test`. All images of a picture are drawn together.
fn drawn(
    dataset: &dyn Dataset,
    pictures: &Pictures,
    test: &BTreeSet<usize>,
    share: f64,
    seed: u64,
) -> Result<Vec<usize>> {
    if !(share > 0.0 && share < 1.0) {
        return Err(TransferError::BadShare { share });
    }
    let mut validation = Vec::new();
    for (class, mut images) in images_by_class(dataset).into_iter().enumerate() {
        images.retain(|image| !test.contains(image));
        let count = ((images.len() as f64 * share).round() as usize).max(1);
        let name = || dataset.classes()[class].full_name();
        if images.len() < 2 {
            return Err(TransferError::ClassTooSmall { class: name(), images: images.len() });
        }
        let mut of_picture: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &image in &images {
            of_picture.entry(pictures.originals[image]).or_default().push(image);
        }
        if of_picture.len() < 2 {
            return Err(TransferError::ClassOfOnePicture { class: name(), images: images.len() });
        }
        let order = permutation(&mut rng(seed, "validation part", class as u64), images.len());
        let mut taken = 0;
        for place in order {
            let image = images[place];
            if taken >= count || of_picture.len() == 1 {
                break;
            }
            if pictures.has_several_labels(image) {
                continue;
            }
            let together = of_picture.remove(&pictures.originals[image]).unwrap_or_default();
            taken += together.len();
            validation.extend(together);
        }
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

/// The images of a part whose picture has one label and is in no earlier part, the first of each; `known` has an
/// image of each picture of the earlier parts, by its original, and gets these.
fn used_once(
    dataset: &dyn Dataset,
    pictures: &Pictures,
    known: &mut BTreeMap<usize, usize>,
    images: Vec<usize>,
    part: &str,
    observer: &mut dyn Observer,
) -> Result<Vec<usize>> {
    let mut own: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut kept, mut earlier, mut again) = (Vec::with_capacity(images.len()), Vec::new(), Vec::new());
    for image in images {
        let original = pictures.originals[image];
        match (known.get(&original), own.get(&original)) {
            (Some(&twin), _) => earlier.push((image, twin)),
            (None, Some(&twin)) if !pictures.has_several_labels(image) => again.push((image, twin)),
            (None, _) => {
                if !pictures.has_several_labels(image) {
                    kept.push(image);
                }
                own.insert(original, image);
            }
        }
    }
    let of = if part == "test" { "training or validation" } else { "training" };
    let excluded = if part == "training" { "left out" } else { "excluded from the score" };
    for (copies, of) in [(earlier, of), (again, &format!("other {part}"))] {
        if !copies.is_empty() {
            let name = |&(image, twin): &(usize, usize)| {
                format!("{} (of {})", one_line(&dataset.image_name(image)), one_line(&dataset.image_name(twin)))
            };
            observer.note(format!(
                "{} {part} image(s) are copies of {of} images and are {excluded}: {}",
                copies.len(),
                first(copies.iter().map(name), copies.len())
            ))?;
        }
    }
    known.extend(own);
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
        assert!(notes.contains("val/b/smaller.png (of train/b/2.png)"), "{notes}");
        assert!(notes.contains("test/a/mirrored.png (of train/a/1.png)"), "{notes}");
    }

    /// The parts of a folder with these pictures, and the notes.
    fn parts_of(pictures: &[(&str, u32)], share: f64) -> (Result<Parts>, Vec<String>, std::sync::Arc<dyn Dataset>) {
        let folder = tempfile::tempdir().unwrap();
        for &(name, number) in pictures {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            picture(number, 64).save(path).unwrap();
        }
        let data = taper_data::open(folder.path()).unwrap();
        let mut notes = Notes::default();
        let parts = Parts::new(data.as_ref(), share, 0, &mut notes);
        (parts, notes.0, data)
    }

    #[test]
    fn copies_are_drawn_together_and_scored_once() {
        let pictures = [("a/0.png", 0), ("a/0 copy.png", 0), ("a/1.png", 1), ("a/1 copy.png", 1), ("b/2.png", 2)];
        let others = [("b/2 copy.png", 2), ("b/3.png", 3), ("b/3 copy.png", 3)];
        let (parts, notes, data) = parts_of(&[&pictures[..], &others].concat(), 0.5);
        let parts = parts.unwrap();
        assert_eq!((parts.training.images.len(), parts.validation.images.len()), (2, 2), "{notes:?}");
        assert_eq!(parts.copies.len(), 2);
        let picture = |image: &usize| data.content_hash(*image).unwrap();
        let trained: BTreeSet<_> = parts.training.images.iter().map(picture).collect();
        assert!(parts.validation.images.iter().all(|image| !trained.contains(&picture(image))));
        assert!(
            notes.iter().any(|note| note.contains("2 validation image(s) are copies of other validation")),
            "{notes:?}"
        );
        assert!(
            notes.iter().any(|note| note.contains("2 training image(s) are copies of other training")),
            "{notes:?}"
        );
    }

    #[test]
    fn pictures_with_two_classes_are_told_and_left_out() {
        let (parts, notes, data) = parts_of(
            &[("train/a/0.png", 0), ("train/a/1.png", 1), ("train/b/1 too.png", 1), ("train/b/2.png", 2)]
                .into_iter()
                .chain([("val/a/3.png", 3), ("val/b/3 too.png", 3), ("val/b/4.png", 4)])
                .collect::<Vec<_>>(),
            0.2,
        );
        let parts = parts.unwrap();
        let trained = parts.training.images.iter().map(|&image| data.image_name(image)).collect::<Vec<_>>();
        assert_eq!(trained, ["train/a/0.png", "train/b/2.png"]);
        let validation = parts.validation.images;
        assert_eq!(validation.iter().map(|&image| data.image_name(image)).collect::<Vec<_>>(), ["val/b/4.png"]);
        let told = "2 picture(s) with more than one class, which are left out; correct or remove them: \
                    train/a/1.png = train/b/1 too.png, val/a/3.png = val/b/3 too.png";
        assert!(notes.iter().any(|note| note == told), "{notes:?}");
    }

    #[test]
    fn classes_that_nothing_tells_apart_are_refused_by_name() {
        let error = |pictures: &[(&str, u32)]| parts_of(pictures, 0.2).0.unwrap_err().to_string();
        let all = error(&[("a/0.png", 0), ("a/1.png", 0), ("b/0.png", 0), ("b/1.png", 0)]);
        assert!(all.contains("all images look the same"), "{all}");
        let conflicts = error(&[("a/0.png", 0), ("a/1.png", 1), ("b/0.png", 0), ("b/1.png", 1)]);
        assert!(conflicts.contains("every picture is in more than one class"), "{conflicts}");
        let one = error(&[("a/0.png", 0), ("a/1.png", 1), ("b/0.png", 2), ("b/1.png", 2)]);
        assert!(one.contains("class `b`: its 2 images all look the same"), "{one}");
    }
}
