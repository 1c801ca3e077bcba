//! What random steps draw from.

use taper_ops::{Rng, rng};

/// What random steps draw from: the image's own chance; and where the image belongs to a task, the
/// chances that all images of the task, or of the class in it, share.
#[derive(Debug)]
pub struct AugmentRngs<'a> {
    task: Option<u64>,
    class: Option<u64>,
    image: ImageRng<'a>,
}

#[derive(Debug)]
enum ImageRng<'a> {
    None,
    Lent(&'a mut Rng),
    Own(Box<Rng>),
}

impl<'a> AugmentRngs<'a> {
    /// An image on its own, or without any chance.
    pub fn of_image(rng: Option<&'a mut Rng>) -> Self {
        Self { task: None, class: None, image: rng.map_or(ImageRng::None, ImageRng::Lent) }
    }

    /// An image of a task: `task` is the same number for all of its images, `class` for all images
    /// of the class in it.
    pub fn in_task(task: u64, class: u64, image: Rng) -> Self {
        Self { task: Some(task), class: Some(class), image: ImageRng::Own(Box::new(image)) }
    }

    /// The image's chance.
    pub(crate) fn image(&mut self) -> Option<&mut Rng> {
        match &mut self.image {
            ImageRng::None => None,
            ImageRng::Lent(rng) => Some(rng),
            ImageRng::Own(rng) => Some(rng),
        }
    }

    /// The task's chance, from its beginning.
    pub(crate) fn task(&self) -> Option<Rng> {
        self.task.map(|seed| rng(seed, "task", 0))
    }

    /// The class's chance, from its beginning.
    pub(crate) fn class(&self) -> Option<Rng> {
        self.class.map(|seed| rng(seed, "class", 0))
    }
}
