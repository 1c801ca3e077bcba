//! Rotated and mirrored classes as separate classes.

use crate::{Class, Dataset, Hash, Image, Result};
use std::sync::Arc;

/// The names of the symmetries of the square; the first one changes nothing.
const NAMES: [&str; 8] = [
    "",
    "turned by 90",
    "turned by 180",
    "turned by 270",
    "mirrored",
    "mirrored, turned by 90",
    "mirrored, turned by 180",
    "mirrored, turned by 270",
];

/// A data set in which every class becomes eight: unchanged, rotated by quarter turns, and all of these mirrored. A
/// rotated character is another character, and its alphabet another alphabet.
///
/// Classes and images of the data set itself come first, in their order, then those of the second
/// symmetry, and so on.
pub struct Symmetries {
    dataset: Arc<dyn Dataset>,
    classes: Vec<Class>,
    labels: Vec<u32>,
}

impl Symmetries {
    /// All symmetries of `dataset`.
    pub fn new(dataset: Arc<dyn Dataset>) -> Self {
        let named = |name: &str, text: &str| match (name, text) {
            ("", _) => text.to_string(),
            (name, "") => name.to_string(),
            (name, text) => format!("{text}, {name}"),
        };
        let classes = NAMES.iter().flat_map(|name| {
            // without groups, the classes' names distinguish the symmetries
            dataset.classes().iter().map(move |class| match class.group.as_str() {
                "" => Class { name: named(name, &class.name), group: String::new() },
                group => Class { name: class.name.clone(), group: named(name, group) },
            })
        });
        let classes: Vec<Class> = classes.collect();
        let own = dataset.classes().len() as u32;
        let labels = (0..NAMES.len() as u32)
            .flat_map(|symmetry| dataset.labels().iter().map(move |label| symmetry * own + label));
        let labels = labels.collect();
        Self { dataset, classes, labels }
    }

    /// The classes that some of the data set's own classes become, including themselves.
    pub fn of(&self, classes: &[u32]) -> Vec<u32> {
        let own = self.dataset.classes().len() as u32;
        (0..NAMES.len() as u32).flat_map(|symmetry| classes.iter().map(move |class| symmetry * own + class)).collect()
    }

    /// The symmetry of an image, and the image's number in the data set.
    fn part(&self, index: usize) -> (usize, usize) {
        let own = self.dataset.labels().len().max(1);
        (index / own, index % own)
    }
}

impl Dataset for Symmetries {
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
        let (symmetry, index) = self.part(index);
        Ok(turned(&self.dataset.image(index)?, symmetry % 4, symmetry >= 4))
    }

    fn size(&self, index: usize) -> Result<(usize, usize, usize)> {
        let (symmetry, index) = self.part(index);
        let (channels, height, width) = self.dataset.size(index)?;
        Ok(if symmetry.is_multiple_of(2) { (channels, height, width) } else { (channels, width, height) })
    }

    /// The fingerprint of the symmetry and of the image that it is of.
    fn content_hash(&self, index: usize) -> Result<Hash> {
        let (symmetry, index) = self.part(index);
        let own = self.dataset.content_hash(index)?;
        Ok(if symmetry == 0 { own } else { Hash::of(format!("{} {own}", NAMES[symmetry]).as_bytes()) })
    }

    fn image_name(&self, index: usize) -> String {
        let (symmetry, index) = self.part(index);
        let own = self.dataset.image_name(index);
        if symmetry == 0 { own } else { format!("{own}, {}", NAMES[symmetry]) }
    }
}

/// An image, mirrored left to right if `mirrored`, then rotated clockwise by this many quarter turns.
fn turned(image: &Image, quarters: usize, mirrored: bool) -> Image {
    let (height, width) =
        if quarters.is_multiple_of(2) { (image.height, image.width) } else { (image.width, image.height) };
    let mut pixels = Vec::with_capacity(image.pixels.len());
    for row in 0..height {
        for column in 0..width {
            let (from_row, from_column) = match quarters {
                0 => (row, column),
                1 => (image.height - 1 - column, row),
                2 => (image.height - 1 - row, image.width - 1 - column),
                _ => (column, image.width - 1 - row),
            };
            let from_column = if mirrored { image.width - 1 - from_column } else { from_column };
            let first = (from_row * image.width + from_column) * image.channels;
            pixels.extend_from_slice(&image.pixels[first..first + image.channels]);
        }
    }
    Image { width, height, channels: image.channels, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;
    use std::collections::BTreeSet;

    /// Two classes of one image each: 3 across and 2 down, numbered.
    fn pair(groups: [&str; 2]) -> Arc<dyn Dataset> {
        let image = |number: u32| {
            let pixels = (0..6).map(|place| place + 10 * number as u8).collect();
            (Image { width: 3, height: 2, channels: 1, pixels }, number)
        };
        Arc::new(Toy::new(&[(groups[0], "a"), (groups[1], "b")], [image(0), image(1)]))
    }

    #[test]
    fn every_class_becomes_eight_that_differ_and_sizes_are_told_without_decoding() {
        for groups in [["Greek", "Latin"], ["", ""]] {
            let eight = Symmetries::new(pair(groups));
            let names: BTreeSet<String> = eight.classes().iter().map(Class::full_name).collect();
            assert_eq!((names.len(), eight.labels().len()), (16, 16));
            assert_eq!(eight.of(&[1]), [1, 3, 5, 7, 9, 11, 13, 15]);
            let images: Vec<Image> = (0..16).map(|index| eight.image(index).unwrap()).collect();
            for (index, image) in images.iter().enumerate() {
                assert_eq!(eight.size(index).unwrap(), (1, image.height, image.width));
                assert!(images[..index].iter().all(|other| other != image), "image {index}");
            }
            let hashes: BTreeSet<Hash> = (0..16).map(|index| eight.content_hash(index).unwrap()).collect();
            assert_eq!(hashes.len(), 16);
        }
        assert_eq!(Symmetries::new(pair(["Greek", "Latin"])).classes()[2].full_name(), "Greek, turned by 90/a");
    }

    #[test]
    fn a_quarter_turn_is_clockwise_and_four_of_them_are_none() {
        let image = pair(["", ""]).image(0).unwrap();
        assert_eq!(turned(&image, 1, false).pixels, [3, 0, 4, 1, 5, 2]);
        assert_eq!(turned(&image, 0, true).pixels, [2, 1, 0, 5, 4, 3]);
        let around = (0..4).fold(image.clone(), |image, _| turned(&image, 1, false));
        assert_eq!(around, image);
        for quarters in 0..4 {
            let by_quarters = (0..quarters).fold(turned(&image, 0, true), |image, _| turned(&image, 1, false));
            assert_eq!(turned(&image, quarters, true), by_quarters);
        }
    }
}
