//! What a data set is.

use crate::{Image, Result};
use std::fmt;

/// A class: its name, and the group that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class {
    /// The class's own name (`"alpha"`).
    pub name: String,
    /// Where it belongs (`"Greek"`); empty where the data set has no groups.
    pub group: String,
}

impl Class {
    /// Name with group, `Greek/alpha`: unique in its data set.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.name.clone() } else { format!("{}/{}", self.group, self.name) }
    }
}

/// Fingerprint of an image's content: the same for the same picture, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The fingerprint of bytes (BLAKE3).
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// What [`struct@Hash`]'s `Display` wrote; none for other text.
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
    /// What people call it (`"glyphs"`, a folder's name).
    fn name(&self) -> &str;

    /// The classes; a label is a place in this list.
    fn classes(&self) -> &[Class];

    /// One label an image.
    fn labels(&self) -> &[u32];

    /// The decoded image, its own size.
    ///
    /// Errs when the file has changed since the data set was opened or can't be read any more.
    fn image(&self, index: usize) -> Result<Image>;

    /// The size `(c, h, w)` of the decoded image, without decoding it where the data set can.
    ///
    /// Errs where [`Dataset::image`] does.
    fn size(&self, index: usize) -> Result<(usize, usize, usize)> {
        let Image { channels, height, width, .. } = self.image(index)?;
        Ok((channels, height, width))
    }

    /// The image's fingerprint.
    fn content_hash(&self, index: usize) -> Result<Hash>;

    /// What a person calls the image: its path, or its number.
    fn image_name(&self, index: usize) -> String {
        format!("{} image {index}", self.name())
    }

    /// A part that the images' owner set aside, such as `val/` of an image folder: the numbers
    /// of its images. Empty where there is none.
    fn held_out(&self) -> &[usize] {
        &[]
    }

    /// Files that were skipped because they can't be read: path and reason.
    fn skipped(&self) -> &[(String, String)] {
        &[]
    }
}

/// For each class, the numbers of its images, in order.
pub fn images_by_class(dataset: &dyn Dataset) -> Vec<Vec<usize>> {
    let mut images = vec![Vec::new(); dataset.classes().len()];
    for (index, &label) in dataset.labels().iter().enumerate() {
        images[label as usize].push(index);
    }
    images
}
