//! The random generators of augmentation.

use taper_ops::{Rng, rng};

/// The generators that random steps draw from: the image's own; and for an image of a task, those
/// that all images of the task, or of the class in it, share.
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
    /// For an image on its own; without a generator, random steps take their fixed form.
    pub fn of_image(rng: Option<&'a mut Rng>) -> Self {
        Self { task: None, class: None, image: rng.map_or(ImageRng::None, ImageRng::Lent) }
    }

    /// For an image of a task: the seed `task` is the same for all of its images, `class` for all images
    /// of the class in it.
    pub fn in_task(task: u64, class: u64, image: Rng) -> Self {
        Self { task: Some(task), class: Some(class), image: ImageRng::Own(Box::new(image)) }
    }

    /// The image's generator.
    pub(crate) fn image(&mut self) -> Option<&mut Rng> {
        match &mut self.image {
            ImageRng::None => None,
            ImageRng::Lent(rng) => Some(rng),
            ImageRng::Own(rng) => Some(rng),
        }
    }

    /// The task's generator, from its start.
    pub(crate) fn task(&self) -> Option<Rng> {
        self.task.map(|seed| rng(seed, "task", 0))
    }

    /// The class's generator, from its start.
    pub(crate) fn class(&self) -> Option<Rng> {
        self.class.map(|seed| rng(seed, "class", 0))
    }
}
