//! A data set in memory, for tests.

use crate::{Class, Dataset, Hash, Image, Result};

/// Any images with labels; an image's content is its samples.
pub(crate) struct Toy {
    pub(crate) classes: Vec<Class>,
    pub(crate) labels: Vec<u32>,
    pub(crate) images: Vec<Image>,
    pub(crate) held_out: Vec<usize>,
}

impl Toy {
    /// Classes of these groups and names.
    pub(crate) fn new(classes: &[(&str, &str)], images: impl IntoIterator<Item = (Image, u32)>) -> Self {
        let class = |&(group, name): &(&str, &str)| Class { name: name.into(), group: group.into() };
        let (images, labels) = images.into_iter().unzip();
        Self { classes: classes.iter().map(class).collect(), labels, images, held_out: Vec::new() }
    }
}

impl Dataset for Toy {
    fn name(&self) -> &str {
        "toy"
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> Result<Image> {
        Ok(self.images[index].clone())
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        Ok(Hash::of(&self.images[index].pixels))
    }

    fn held_out(&self) -> &[usize] {
        &self.held_out
    }
}
