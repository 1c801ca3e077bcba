//! The images used last, as many as fit a number of bytes.

use crate::Image;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Keeps images until newer use crowds them out, so that memory doesn't grow with a data set.
pub(super) struct Recent {
    most_bytes: usize,
    bytes: usize,
    uses: u64,
    images: HashMap<usize, (u64, Arc<Image>)>,
    by_use: BTreeMap<u64, usize>,
}

impl Recent {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { most_bytes, bytes: 0, uses: 0, images: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// Image number `index`, if it is still here.
    pub(super) fn get(&mut self, index: usize) -> Option<Arc<Image>> {
        let (used, image) = self.images.get_mut(&index)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, index);
        Some(image.clone())
    }

    /// Keeps an image, and drops those unused for longest where there is no room.
    pub(super) fn put(&mut self, index: usize, image: Arc<Image>) {
        if image.pixels.len() > self.most_bytes || self.get(index).is_some() {
            return;
        }
        self.bytes += image.pixels.len();
        while self.bytes > self.most_bytes
            && let Some((_, oldest)) = self.by_use.pop_first()
            && let Some((_, dropped)) = self.images.remove(&oldest)
        {
            self.bytes -= dropped.pixels.len();
        }
        self.uses += 1;
        self.by_use.insert(self.uses, index);
        self.images.insert(index, (self.uses, image));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(bytes: usize) -> Arc<Image> {
        Arc::new(Image { width: bytes, height: 1, channels: 1, pixels: vec![0; bytes] })
    }

    #[test]
    fn the_image_unused_for_longest_goes_first() {
        let mut recent = Recent::new(10);
        (0..3).for_each(|index| recent.put(index, image(3)));
        assert!(recent.get(0).is_some());
        recent.put(3, image(4));
        assert_eq!([0, 1, 2, 3].map(|index| recent.get(index).is_some()), [true, false, true, true]);
        recent.put(4, image(11));
        assert!(recent.get(4).is_none() && recent.get(3).is_some() && recent.bytes == 10);
    }
}
