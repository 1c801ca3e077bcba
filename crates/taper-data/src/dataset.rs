//! What a data set is.

use crate::{Image, Part, Reading, Result};
use std::fmt;

/// A class: its name, and the group that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// The class's own name (`"alpha"`).
    pub name: String,
    /// Where it belongs (`"Greek"`); empty if the data set has no groups.
    pub group: String,
}

impl Class {
    /// Name with group, `Greek/alpha`: unique in its data set.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.name.clone() } else { format!("{}/{}", self.group, self.name) }
    }
}

/// Fingerprint of an image's content: the same for the same picture under any name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The fingerprint of bytes (BLAKE3).
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Parses the output of [`struct@Hash`]'s `Display`; `None` for other text.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let value = |digit: u8| char::from(digit).to_digit(16);
        let bytes: Option<Vec<u8>> =
            digits.chunks(2).map(|pair| Some((value(pair[0])? * 16 + value(*pair.get(1)?)?) as u8)).collect();
        Some(Self(bytes?.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// Labeled images. Images are numbered from 0 and need not have equal sizes.
pub trait Dataset: Send + Sync {
    /// Its name for people (`"glyphs"`, a folder's name).
    fn name(&self) -> &str;

    /// The classes; a label is a place in this list.
    fn classes(&self) -> &[Class];

    /// One label per image.
    fn labels(&self) -> &[u32];

    /// The decoded image, in its own size.
    ///
    /// # Errors
    ///
    /// Returns an error if the file has changed since the data set was opened, or can't be read any
    /// more.
    fn image(&self, index: usize) -> Result<Image>;

    /// The vector of an item, if this is a data set of vectors, which has no images; see
    /// [`Vectors`](crate::Vectors).
    fn vector(&self, _index: usize) -> Option<&[f32]> {
        None
    }

    /// The size `(c, h, w)` of the decoded image, without decoding it if possible.
    ///
    /// # Errors
    ///
    /// Returns an error if [`Dataset::image`] does.
    fn size(&self, index: usize) -> Result<(usize, usize, usize)> {
        let Image { channels, height, width, .. } = self.image(index)?;
        Ok((channels, height, width))
    }

    /// The image's fingerprint.
    fn content_hash(&self, index: usize) -> Result<Hash>;

    /// The image's name for people: its path, or its number.
    fn image_name(&self, index: usize) -> String {
        format!("{} image {index}", self.name())
    }

    /// Images that the data set's owner held out, such as `val/` and `test/` of an image folder:
    /// validation and test images together, in order. Empty if there are none. Neither training
    /// nor any choice may see them.
    fn held_out(&self) -> &[usize] {
        &[]
    }

    /// The part that an image belongs to. By default, held-out images are for
    /// validation.
    fn part(&self, image: usize) -> Part {
        if self.held_out().binary_search(&image).is_ok() { Part::Validation } else { Part::Train }
    }

    /// Skipped files that a person should know about: path and reason. [`Dataset::reading`] lists
    /// all of them.
    fn skipped(&self) -> &[(String, String)] {
        &[]
    }

    /// How the data set was read; `None` if it is not made of files in folders.
    fn reading(&self) -> Option<&Reading> {
        None
    }

    /// What a person should know before using the data set, one line each, with how many and the
    /// first names.
    fn notes(&self) -> &[String] {
        self.reading().map_or(&[], |reading| &reading.notes)
    }
}

/// The numbers of the images of a part, in order.
pub fn images_of_part(dataset: &dyn Dataset, part: Part) -> Vec<usize> {
    (0..dataset.labels().len()).filter(|&image| dataset.part(image) == part).collect()
}

/// For each class, the numbers of its images, in order.
pub fn images_by_class(dataset: &dyn Dataset) -> Vec<Vec<usize>> {
    let mut images = vec![Vec::new(); dataset.classes().len()];
    for (index, &label) in dataset.labels().iter().enumerate() {
        images[label as usize].push(index);
    }
    images
}
