//! A data set without its small classes.

use crate::{Class, Dataset, Hash, Image, Part, Reading, Result, images_by_class, one_line};
use std::sync::Arc;

/// A data set without the classes that have too few training images.
pub struct LargeClasses {
    dataset: Arc<dyn Dataset>,
    classes: Vec<Class>,
    labels: Vec<u32>,
    /// The number of each image in the data set.
    images: Vec<usize>,
    held_out: Vec<usize>,
    notes: Vec<String>,
}

impl LargeClasses {
    /// The classes of `dataset` with at least `min_images` training images; a note names the others.
    pub fn new(dataset: Arc<dyn Dataset>, min_images: usize) -> Self {
        let mut classes = Vec::new();
        let (mut numbers, mut small) = (Vec::new(), Vec::new());
        for (class, images) in dataset.classes().iter().zip(images_by_class(dataset.as_ref())) {
            let training = images.iter().filter(|&&image| dataset.part(image) == Part::Train).count();
            if training < min_images {
                small.push(format!("{} ({training})", one_line(&class.full_name())));
                numbers.push(None);
            } else {
                numbers.push(Some(classes.len() as u32));
                classes.push(class.clone());
            }
        }
        let kept =
            dataset.labels().iter().enumerate().filter_map(|(image, &label)| Some((image, numbers[label as usize]?)));
        let (images, labels): (Vec<usize>, Vec<u32>) = kept.unzip();
        let held_out = (0..images.len()).filter(|&image| dataset.held_out().binary_search(&images[image]).is_ok());
        let held_out = held_out.collect();
        let mut notes = dataset.notes().to_vec();
        if !small.is_empty() {
            let names = crate::readers::some_of(&small);
            notes.push(format!(
                "{} class(es) with fewer than {min_images} training images left out: {names}",
                small.len()
            ));
        }
        Self { dataset, classes, labels, images, held_out, notes }
    }
}

impl Dataset for LargeClasses {
    fn name(&self) -> &str {
        self.dataset.name()
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> Result<Image> {
        self.dataset.image(self.images[index])
    }

    fn vector(&self, index: usize) -> Option<&[f32]> {
        self.dataset.vector(*self.images.get(index)?)
    }

    fn size(&self, index: usize) -> Result<(usize, usize, usize)> {
        self.dataset.size(self.images[index])
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        self.dataset.content_hash(self.images[index])
    }

    fn image_name(&self, index: usize) -> String {
        self.dataset.image_name(self.images[index])
    }

    fn held_out(&self) -> &[usize] {
        &self.held_out
    }

    fn part(&self, image: usize) -> Part {
        self.images.get(image).map_or(Part::Train, |&image| self.dataset.part(image))
    }

    fn skipped(&self) -> &[(String, String)] {
        self.dataset.skipped()
    }

    fn reading(&self) -> Option<&Reading> {
        self.dataset.reading()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;

    #[test]
    fn small_classes_are_left_out_by_name_and_the_rest_keeps_its_images() {
        let image = |level| Image { width: 1, height: 1, channels: 1, pixels: vec![level] };
        let images = [(10, 0), (20, 1), (30, 2), (40, 2), (50, 0), (60, 1)].map(|(level, label)| (image(level), label));
        let toy = Toy { held_out: vec![5], ..Toy::new(&[("", "a"), ("", "b"), ("", "c")], images) };
        let large = LargeClasses::new(Arc::new(toy), 2);
        let names: Vec<String> = large.classes().iter().map(Class::full_name).collect();
        assert_eq!((names, large.labels()), (vec!["a".to_string(), "c".to_string()], &[0, 1, 1, 0][..]));
        assert_eq!((0..4).map(|at| large.image(at).unwrap().pixels[0]).collect::<Vec<_>>(), [10, 30, 40, 50]);
        assert!(large.held_out().is_empty());
        assert_eq!(large.notes(), ["1 class(es) with fewer than 2 training images left out: b (1)"]);
    }
}
