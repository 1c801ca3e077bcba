//! A data set whose images lie side by side in memory, all of one size.

use crate::{Class, DataError, Dataset, Hash, Image, Part, Result};

/// Images of one size, their samples one after the other.
pub(super) struct RawImages {
    pub(super) name: String,
    pub(super) classes: Vec<Class>,
    pub(super) labels: Vec<u32>,
    /// `(c, h, w)` of every image.
    pub(super) size: (usize, usize, usize),
    /// Samples `(n, h, w, c)`.
    pub(super) samples: Vec<u8>,
    pub(super) held_out: Vec<usize>,
}

impl RawImages {
    fn samples(&self, index: usize) -> Result<&[u8]> {
        let length = self.size.0 * self.size.1 * self.size.2;
        self.samples.chunks_exact(length).nth(index).ok_or_else(|| {
            DataError::Invalid(format!("{} has no image {index}: use a number below {}", self.name, self.labels.len()))
        })
    }
}

impl Dataset for RawImages {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> Result<Image> {
        let (channels, height, width) = self.size;
        Ok(Image { width, height, channels, pixels: self.samples(index)?.to_vec() })
    }

    fn size(&self, _: usize) -> Result<(usize, usize, usize)> {
        Ok(self.size)
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        Ok(Hash::of(self.samples(index)?))
    }

    fn held_out(&self) -> &[usize] {
        &self.held_out
    }

    /// What these formats set aside is for the test.
    fn part(&self, image: usize) -> Part {
        if self.held_out.binary_search(&image).is_ok() { Part::Test } else { Part::Train }
    }
}
