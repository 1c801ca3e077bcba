//! What is done to an image before a network sees it: a checked list of steps with a text form,
//! `center-crop(200) resize(32x32) gray normalize(mean=0.5,std=0.25)`.

mod augment_rngs;
mod center;
mod distortion;
mod drawing;
mod levels;
mod planes;
mod resize;
mod step;
mod text;
mod trivial_augment;
mod warp;

pub use augment_rngs::AugmentRngs;
pub use center::Middle;
pub use distortion::Warp;
pub use drawing::Sheet;
pub use planes::Planes;
pub use resize::Filter;
pub use step::Step;
pub use warp::Affine;

use crate::readers::PIXELS;
use crate::{DataError, Image, Result};
use distortion::distort;
use taper_ops::Rng;

/// Steps applied one after the other. Its text form (`Display`, `FromStr`) is canonical: equal
/// transforms have equal texts, and reading a text back gives the same transform.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    steps: Vec<Step>,
}

impl Transform {
    /// A transform of these steps; without any, images stay as they are.
    ///
    /// # Errors
    /// Returns an error if a step's numbers are invalid, or anything comes after `normalize`: the
    /// other steps take samples of 0 to 1.
    pub fn new(steps: Vec<Step>) -> Result<Self> {
        steps.iter().try_for_each(Step::check)?;
        if let Some(place) = steps.iter().position(|step| matches!(step, Step::Normalize { .. }))
            && place + 1 < steps.len()
        {
            let next = &steps[place + 1];
            return Err(DataError::Invalid(format!("`{next}` follows normalize: put normalize last and only once")));
        }
        Ok(Self { steps })
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether a step is random.
    pub fn is_random(&self) -> bool {
        self.steps.iter().any(Step::is_random)
    }

    /// The size `(c, h, w)` that an image of size `(c, h, w)` gets.
    ///
    /// # Errors
    /// Returns an error if a step can't be done on it: a crop larger than the image, a normalization
    /// of three channels on one, a resize that makes more than 64 million pixels with no crop after it.
    pub fn shape(&self, image: (usize, usize, usize)) -> Result<(usize, usize, usize)> {
        let shape = self.steps.iter().try_fold(image, |shape, step| step.shape(shape))?;
        let stages = self.stages();
        stages.iter().try_fold(image, |(channels, height, width), stage| {
            let made = stage.steps().try_fold((channels, height, width), |shape, step| step.shape(shape))?;
            if (made.1 as u64).saturating_mul(made.2 as u64) > PIXELS {
                return Err(DataError::Invalid(format!(
                    "`{}` makes {}x{} pixels of an image of {width}x{height}, more than {PIXELS} in all: put center-crop after it, or remove the image",
                    stage.step, made.2, made.1
                )));
            }
            Ok(made)
        })?;
        Ok(shape)
    }

    /// The transformed image, from samples divided by 255. Random steps draw from `rng`; without it
    /// crops take the center and other random steps do nothing. Steps of tasks and classes do nothing
    /// either, see [`Transform::apply_in_task`].
    ///
    /// Besides the image, memory is needed only for the results of the steps: a transform that starts
    /// with a resize or a crop never holds the whole image as planes, and of a resized image only what
    /// the crop after it keeps is computed.
    ///
    /// # Errors
    /// Returns an error if [`Transform::shape`] does, or the image has no pixels.
    pub fn apply(&self, image: &Image, rng: Option<&mut Rng>) -> Result<Planes> {
        self.apply_by(image, &mut AugmentRngs::of_image(rng))
    }

    /// [`Transform::apply`] to an image of a task: random steps draw from the generators of the task,
    /// of the image's class in it, and of the image.
    ///
    /// # Errors
    /// Returns an error if [`Transform::apply`] does.
    pub fn apply_in_task(&self, image: &Image, mut rngs: AugmentRngs) -> Result<Planes> {
        self.apply_by(image, &mut rngs)
    }

    fn apply_by(&self, image: &Image, rngs: &mut AugmentRngs) -> Result<Planes> {
        if image.pixels.is_empty() {
            return Err(DataError::Invalid("the image has no pixels: remove it".to_string()));
        }
        self.shape((image.channels, image.height, image.width))?;
        let (mut made, mut maps) = (None, Vec::new());
        for Stage { step, crop } in self.stages() {
            if let Some(map) = step.map(rngs) {
                maps.extend(map);
                continue;
            }
            if !maps.is_empty() {
                let planes = made.unwrap_or_else(|| Planes::of(image));
                made = Some(distort(&planes, &std::mem::take(&mut maps)));
            }
            let sampled = match &made {
                None => step.sample(image, crop, rngs)?,
                Some(planes) => step.sample(planes, crop, rngs)?,
            };
            made = Some(match sampled {
                Some(planes) => planes,
                None => step.apply(made.unwrap_or_else(|| Planes::of(image)), rngs)?,
            });
        }
        let planes = made.unwrap_or_else(|| Planes::of(image));
        Ok(if maps.is_empty() { planes } else { distort(&planes, &maps) })
    }

    /// The steps in the order in which they are executed, with the same result: `color` goes after
    /// resizes and crops, crops go before steps that change each pixel independently, and a resize is
    /// merged with the crop after it.
    fn stages(&self) -> Vec<Stage<'_>> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        let swaps = |first: &Step, second: &Step| {
            (*first == Step::Color && (second.is_resize() || second.is_crop()))
                || (first.is_pointwise() && second.is_crop())
        };
        while let Some(place) = (1..steps.len()).find(|&place| swaps(steps[place - 1], steps[place])) {
            steps.swap(place - 1, place);
        }
        let mut stages: Vec<Stage> = Vec::with_capacity(steps.len());
        for step in steps {
            match stages.last_mut() {
                Some(Stage { step: resize, crop: crop @ None }) if resize.is_resize() && step.is_crop() => {
                    *crop = Some(step);
                }
                _ => stages.push(Stage { step, crop: None }),
            }
        }
        stages
    }
}

/// A step, and the crop that is merged with it.
struct Stage<'a> {
    step: &'a Step,
    crop: Option<&'a Step>,
}

impl Stage<'_> {
    fn steps(&self) -> impl Iterator<Item = &Step> {
        std::iter::once(self.step).chain(self.crop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_ops::rng;

    /// Sample = column + 10 · row + 100 · channel.
    fn numbered(channels: usize, height: usize, width: usize) -> Image {
        let mut pixels = Vec::new();
        for row in 0..height {
            for column in 0..width {
                pixels.extend((0..channels).map(|channel| (column + 10 * row + 100 * channel) as u8));
            }
        }
        Image { width, height, channels, pixels }
    }

    fn apply(text: &str, image: &Image) -> Planes {
        text.parse::<Transform>().unwrap().apply(image, None).unwrap()
    }

    fn levels(planes: &Planes) -> Vec<u32> {
        planes.values.iter().map(|value| (value * 255.0).round() as u32).collect()
    }

    #[test]
    fn samples_become_planes_from_0_to_1() {
        let planes = apply("", &numbered(3, 1, 2));
        assert_eq!((planes.shape(), levels(&planes)), ((3, 1, 2), vec![0, 1, 100, 101, 200, 201]));
        assert_eq!(planes.values[5], 201.0 / 255.0);
    }

    #[test]
    fn crops_take_the_center_as_torchvision_does() {
        assert_eq!(levels(&apply("center-crop(2)", &numbered(1, 4, 6))), [12, 13, 22, 23]);
        // Half a pixel is rounded to the even neighbor: (5 − 2) / 2 to 2, (7 − 2) / 2 to 2.
        assert_eq!(levels(&apply("center-crop(2)", &numbered(1, 5, 7))), [22, 23, 32, 33]);
    }

    #[test]
    fn the_short_side_is_resized_and_the_other_follows() {
        let shape = |text: &str, image| text.parse::<Transform>().unwrap().shape(image).unwrap();
        assert_eq!(shape("resize-short(256)", (3, 512, 384)), (3, 341, 256));
        assert_eq!(shape("resize-short(256,bicubic) center-crop(224)", (3, 100, 300)), (3, 224, 224));
        assert_eq!(apply("resize-short(2)", &numbered(1, 4, 8)).shape(), (1, 2, 4));
        assert_eq!(apply("resize(3x5)", &numbered(1, 4, 8)).shape(), (1, 5, 3));
    }

    #[test]
    fn gray_is_rec_601_luma_and_color_repeats_it() {
        let pixel = Image { width: 1, height: 1, channels: 3, pixels: vec![200, 100, 50] };
        let luma = (0.299 * 200.0 + 0.587 * 100.0 + 0.114 * 50.0) / 255.0;
        assert!((apply("gray", &pixel).values[0] - luma).abs() < 1e-4);
        let color = apply("gray color", &pixel);
        assert!(color.channels == 3 && color.values.iter().all(|value| (value - luma).abs() < 1e-4));
        assert_eq!(apply("color", &pixel), apply("", &pixel));
    }

    #[test]
    fn invert_and_normalize_are_done_per_channel() {
        let pixel = Image { width: 1, height: 1, channels: 3, pixels: vec![0, 255, 51] };
        assert_eq!(apply("invert", &pixel).values, [1.0, 0.0, 0.8]);
        let values = apply("normalize(mean=0,1,0.1,std=1,2,0.5)", &pixel).values;
        assert!(values.iter().zip([0.0, 0.0, 0.2]).all(|(value, right)| (value - right).abs() < 1e-6), "{values:?}");
        assert_eq!(apply("normalize(mean=0.5,std=0.25)", &pixel).values[..2], [-2.0, 2.0]);
    }

    #[test]
    fn random_steps_without_a_generator_are_fixed() {
        let image = numbered(1, 6, 6);
        let fixed = apply(
            "random-crop(4,2) random-flip random-erasing(1) random-rotate(20) random-affine(5,0.1,0.1,5) trivial-augment",
            &image,
        );
        assert_eq!(fixed, apply("center-crop(4)", &image));
        assert_eq!(
            apply("random-resized-crop(3)", &numbered(1, 6, 9)),
            apply("resize-short(3) center-crop(3)", &numbered(1, 6, 9))
        );
        assert_eq!(levels(&apply("random-crop(3,1)", &numbered(1, 1, 1))), [0; 9]);
    }

    #[test]
    fn random_steps_depend_on_the_generator_alone() {
        let image = numbered(3, 12, 10);
        for text in [
            "random-crop(8,3)",
            "random-resized-crop(5)",
            "random-flip",
            "random-erasing(0.5)",
            "random-rotate(30)",
            "trivial-augment",
        ] {
            let transform: Transform = text.parse().unwrap();
            assert!(transform.is_random());
            let draw = |index| transform.apply(&image, Some(&mut rng(4, "test", index))).unwrap();
            assert_eq!(draw(0), draw(0));
            assert!((1..9).any(|index| draw(index) != draw(0)), "{text} never differs");
            assert!((0..9).all(|index| draw(index).shape() == transform.shape((3, 12, 10)).unwrap()));
        }
    }

    #[test]
    fn steps_of_tasks_and_classes_are_shared_in_a_task_and_rest_outside_of_one() {
        let image = numbered(1, 9, 9);
        let warp = "often=1,degrees=20,scale=0.1,aspect=0.1,slant=0.1,shift=0,bend=0.05";
        for text in ["task-symmetry".to_string(), format!("class-warp({warp})")] {
            let transform: Transform = text.parse().unwrap();
            assert_eq!(transform.apply(&image, Some(&mut rng(0, "test", 0))).unwrap(), apply("", &image));
            let draw = |task, class, at| {
                let rngs = AugmentRngs::in_task(task, class, rng(0, "image", at));
                transform.apply_in_task(&image, rngs).unwrap()
            };
            assert_eq!(draw(1, 2, 0), draw(1, 2, 1), "two images of a class");
            assert!((0..9).any(|other| draw(other, other, 0) != draw(1, 2, 0)), "{text} never differs");
            assert_eq!(draw(1, 2, 0) == draw(1, 3, 0), text == "task-symmetry", "two classes of a task");
        }
    }

    #[test]
    fn erasing_grays_one_rectangle_of_2_to_33_percent_in_all_channels_with_its_probability() {
        let image = Image { width: 40, height: 30, channels: 3, pixels: vec![255; 3 * 40 * 30] };
        let erasing: Transform = "random-erasing(0.5)".parse().unwrap();
        let mut erased = 0;
        for index in 0..200 {
            let planes = erasing.apply(&image, Some(&mut rng(0, "erasing", index))).unwrap();
            let places = |plane: &[f32]| (0..plane.len()).filter(|&k| plane[k] == 0.5).collect::<Vec<_>>();
            let gray: Vec<Vec<usize>> = planes.each().map(places).collect();
            assert!(gray[0] == gray[1] && gray[1] == gray[2]);
            let (Some(first), Some(last)) = (gray[0].first(), gray[0].last()) else { continue };
            let (height, width) = (last / 40 - first / 40 + 1, last % 40 - first % 40 + 1);
            let share = gray[0].len() as f64 / 1200.0;
            assert_eq!(gray[0].len(), height * width, "no rectangle");
            assert!((0.015..0.36).contains(&share), "{share}");
            erased += 1;
        }
        assert!((70..130).contains(&erased), "{erased} of 200");
    }

    #[test]
    fn a_flip_mirrors_and_a_random_crop_is_a_part_of_the_image() {
        let image = numbered(1, 5, 5);
        let flip: Transform = "random-flip".parse().unwrap();
        assert_eq!(levels(&apply("flip", &image))[..6], [4, 3, 2, 1, 0, 14]);
        let crop: Transform = "random-crop(3,0)".parse().unwrap();
        let mut flips = 0;
        for index in 0..40 {
            let flipped = levels(&flip.apply(&image, Some(&mut rng(0, "flip", index))).unwrap());
            assert!(flipped[..5] == [0, 1, 2, 3, 4] || flipped[..5] == [4, 3, 2, 1, 0]);
            flips += usize::from(flipped[0] == 4);
            let part = levels(&crop.apply(&image, Some(&mut rng(0, "crop", index))).unwrap());
            let corner = part[0];
            assert_eq!(part, [0, 1, 2, 10, 11, 12, 20, 21, 22].map(|step| corner + step));
        }
        assert!((10..=30).contains(&flips), "{flips} of 40");
    }

    #[test]
    fn a_crop_behind_a_resize_keeps_the_pixels_of_the_steps_done_one_by_one() {
        let one_by_one = |text: &str, image: &Image, index: u64| {
            let mut generator = rng(3, "test", index);
            let mut rngs = AugmentRngs::of_image(Some(&mut generator));
            let steps = text.parse::<Transform>().unwrap();
            steps.steps().iter().fold(Planes::of(image), |planes, step| {
                match step.sample(&planes, None, &mut rngs).unwrap() {
                    Some(planes) => planes,
                    None => step.apply(planes, &mut rngs).unwrap(),
                }
            })
        };
        for text in [
            "color resize-short(20) center-crop(16) normalize(mean=0.5,std=0.5)",
            "resize-short(9,bicubic) center-crop(8)",
            "color resize-short(20,bicubic) gray invert random-crop(16,3) random-flip",
            "gray resize(30x11) random-crop(13,4)",
            "random-resized-crop(7) color invert center-crop(5)",
            "random-crop(5,3) color resize-short(8)",
        ] {
            for image in [numbered(1, 6, 13), numbered(3, 13, 6), numbered(3, 8, 8)] {
                for index in 0..5 {
                    let transform: Transform = text.parse().unwrap();
                    let made = transform.apply(&image, Some(&mut rng(3, "test", index))).unwrap();
                    assert_eq!(made, one_by_one(text, &image, index), "{text}");
                }
            }
        }
    }

    #[test]
    fn extreme_proportions_are_cropped_before_they_are_enlarged() {
        let strip = |height, width| Image { width, height, channels: 3, pixels: vec![200; 3 * height * width] };
        for (height, width) in [(1, 60_000), (60_000, 1), (2, 8000)] {
            for text in ["color resize-short(224) center-crop(224)", "random-resized-crop(224)"] {
                let made = apply(text, &strip(height, width));
                assert!(
                    made.shape() == (3, 224, 224)
                        && made.values.iter().all(|value| (value - 200.0 / 255.0).abs() < 1e-6)
                );
            }
            let transform: Transform = "resize-short(224) random-crop(200,4)".parse().unwrap();
            assert_eq!(
                transform.apply(&strip(height, width), Some(&mut rng(0, "test", 0))).unwrap().shape(),
                (3, 200, 200)
            );
        }
        let whole: Transform = "resize-short(2000) random-flip".parse().unwrap();
        let error = whole.apply(&strip(1, 60_000), None).unwrap_err().to_string();
        assert!(error.contains("makes 120000000x2000 pixels") && error.contains("put center-crop after it"), "{error}");
    }

    #[test]
    fn what_cannot_be_done_says_what_to_change() {
        let error = |text: &str, shape| text.parse::<Transform>().unwrap().shape(shape).unwrap_err().to_string();
        assert!(error("center-crop(200)", (1, 100, 300)).ends_with("put resize before it"));
        assert!(error("gray normalize(mean=0,0,0,std=1,1,1)", (3, 9, 9)).contains("1 channel"));
        let order = "normalize(mean=0,std=1) gray".parse::<Transform>().unwrap_err().to_string();
        assert!(order.ends_with("put normalize last and only once"), "{order}");
    }
}
