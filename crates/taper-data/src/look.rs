//! What a data set's images look like, from a sample spread over all of it.

use crate::{Dataset, Result, images_by_class};
use rayon::prelude::*;

/// The images of a [`sample`], at most.
const SAMPLE: usize = 60;

/// What a data set's images look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// 3 if any image has color, else 1; of vectors, their length.
    pub channels: usize,
    /// Whether most images are dark on a light background.
    pub dark_on_light: bool,
}

impl Look {
    /// Examines the channels of every image until one has color, and the pixels of a [`sample`].
    ///
    /// # Errors
    ///
    /// Returns an error if one of these images can't be read.
    pub fn of(dataset: &dyn Dataset) -> Result<Self> {
        if let Some(vector) = dataset.vector(0) {
            return Ok(Self { channels: vector.len(), dark_on_light: false });
        }
        let mut channels = 1;
        for index in 0..dataset.labels().len() {
            channels = channels.max(dataset.size(index)?.0);
            if channels > 1 {
                break;
            }
        }
        let sample = sample(dataset);
        let light = |&index: &usize| -> Result<bool> {
            let image = dataset.image(index)?;
            let mean = image.pixels.iter().map(|&v| f64::from(v)).sum::<f64>() / image.pixels.len().max(1) as f64;
            Ok(mean > 127.5)
        };
        let light = sample.par_iter().map(light).collect::<Result<Vec<bool>>>()?;
        Ok(Self { channels, dark_on_light: 2 * light.iter().filter(|&&light| light).count() > sample.len() })
    }
}

/// Up to 60 images, spread evenly over the classes and over the images of each, in order.
pub fn sample(dataset: &dyn Dataset) -> Vec<usize> {
    spread(dataset, SAMPLE)
}

/// Up to `most` images, spread evenly over classes and over the images of each class, in order.
fn spread(dataset: &dyn Dataset, most: usize) -> Vec<usize> {
    let classes: Vec<Vec<usize>> = images_by_class(dataset).into_iter().filter(|images| !images.is_empty()).collect();
    let chosen = even(classes.len(), most);
    let each = most.checked_div(chosen.len()).unwrap_or(0).max(1);
    let mut sample: Vec<usize> = chosen
        .iter()
        .flat_map(|&class| even(classes[class].len(), each).into_iter().map(move |place| (class, place)))
        .map(|(class, place)| classes[class][place])
        .collect();
    sample.sort_unstable();
    sample
}

/// Up to `most` of `count` numbers at even distances, each in the middle of its interval.
fn even(count: usize, most: usize) -> Vec<usize> {
    let chosen = count.min(most);
    (0..chosen).map(|place| (2 * place + 1) * count / (2 * chosen)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::toy::Toy;

    /// Two classes of 50 images; these are in color, and all dark but these.
    fn toy(color: Vec<usize>, light: Vec<usize>) -> Toy {
        let image = |index: usize| {
            let channels = if color.contains(&index) { 3 } else { 1 };
            let level = if light.contains(&index) { 200 } else { 10 };
            Image { width: 1, height: 1, channels, pixels: vec![level; channels] }
        };
        Toy::new(&[("", "a"), ("", "b")], (0..100).map(|index| (image(index), index as u32 / 50)))
    }

    #[test]
    fn the_first_image_of_each_class_does_not_decide() {
        let color = (0..100).filter(|image| image % 50 != 0).collect();
        assert_eq!(Look::of(&toy(color, vec![0, 50])).unwrap(), Look { channels: 3, dark_on_light: false });
        assert_eq!(Look::of(&toy(vec![77], vec![])).unwrap().channels, 3, "color where any image has it");
        assert_eq!(Look::of(&toy(vec![], (5..100).collect())).unwrap(), Look { channels: 1, dark_on_light: true });
    }

    #[test]
    fn a_sample_is_spread_over_classes_and_images() {
        assert_eq!(even(10, 2), [2, 7]);
        assert_eq!(even(3, 9), [0, 1, 2]);
        assert_eq!(spread(&toy(vec![], vec![]), 4), [12, 37, 62, 87]);
    }
}
