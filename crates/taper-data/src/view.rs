//! A data set seen through a transform.

use crate::{AugmentRngs, Batch, DataError, Dataset, Episode, EpisodeIndices, Inputs, Planes, Result, Transform};
use candle_core::{Device, Tensor};
use rand::Rng as _;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use taper_ops::{Rng, map_in_order};

/// Transformed images are kept in memory if those of the whole data set fit into this many bytes.
const KEPT_BYTES: usize = 128 << 20;

/// A data set's images through a [`Transform`], all of one size: the inputs of networks.
///
/// Images of a fixed transform are kept in memory if all of them fit into 128 MiB, so that each is
/// decoded and transformed once. Otherwise each thread holds one decoded image at a time.
pub struct View {
    dataset: Arc<dyn Dataset>,
    transform: Transform,
    shape: (usize, usize, usize),
    /// One place per image; `None` if they would not fit.
    kept: Option<Vec<OnceLock<Vec<f32>>>>,
}

impl View {
    /// `dataset` through `transform`.
    ///
    /// # Errors
    /// Returns an error if the data set is empty, the transform can't be done on an image, or its images
    /// don't all get the same size; the error names the images and the step to add.
    pub fn new(dataset: Arc<dyn Dataset>, transform: Transform) -> Result<Self> {
        if dataset.vector(0).is_some() && transform.to_string() != "" {
            return Err(DataError::Invalid(format!(
                "{}: holds vectors, which the image steps `{transform}` can't be applied to: use a network for vectors, \
                 such as adapter-64, and no transform",
                dataset.name()
            )));
        }
        let mut sizes = BTreeMap::new();
        for index in 0..dataset.labels().len() {
            sizes.entry(dataset.size(index)?).or_insert(index);
        }
        let mut first: Option<((usize, usize, usize), usize)> = None;
        for (size, index) in sizes {
            let shape = transform.shape(size).map_err(|error| about(dataset.as_ref(), index, &error))?;
            match first {
                Some((other, at)) if other != shape => {
                    return Err(DataError::Invalid(differ(dataset.as_ref(), (at, other), (index, shape))));
                }
                _ => first = first.or(Some((shape, index))),
            }
        }
        let Some((shape, _)) = first else {
            return Err(DataError::Invalid(format!("{} has no images: give a data set with some", dataset.name())));
        };
        let images = dataset.labels().len();
        let bytes =
            [images, shape.0, shape.1, shape.2, size_of::<f32>()].iter().fold(1usize, |a, b| a.saturating_mul(*b));
        let kept = (bytes <= KEPT_BYTES).then(|| (0..images).map(|_| OnceLock::new()).collect());
        Ok(Self { dataset, transform, shape, kept })
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// The transform.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The size of every transformed image, `(c, h, w)`.
    pub fn shape(&self) -> (usize, usize, usize) {
        self.shape
    }

    /// Image number `index`, transformed.
    fn transformed(&self, index: usize, rngs: AugmentRngs) -> Result<Vec<f32>> {
        if let Some(vector) = self.dataset.vector(index) {
            return Ok(vector.to_vec());
        }
        let image = self.dataset.image(index)?;
        let planes: Planes =
            self.transform.apply_in_task(&image, rngs).map_err(|error| about(self.dataset.as_ref(), index, &error))?;
        if planes.shape() != self.shape {
            let text = differ(self.dataset.as_ref(), (0, self.shape), (index, planes.shape()));
            return Err(DataError::Invalid(text));
        }
        Ok(planes.values)
    }
}

impl Inputs for View {
    /// `(n, c, h, w)`. If the transform is random and `rng` is given, one number per row is drawn from
    /// it, in the order of the rows; so rows depend neither on each other nor on threads.
    fn inputs(&self, indices: &[usize], rng: Option<&mut Rng>) -> Result<Tensor> {
        let images = self.dataset.labels().len();
        if let Some(index) = indices.iter().find(|&&index| index >= images) {
            let name = self.dataset.name();
            return Err(DataError::Invalid(format!("{name} has no image {index}: use a number below {images}")));
        }
        let size = self.shape.0 * self.shape.1 * self.shape.2;
        let mut values = Vec::with_capacity(indices.len() * size);
        match (rng.filter(|_| self.transform.is_random()), &self.kept) {
            (Some(rng), _) => {
                let rows: Vec<(usize, u64)> = indices.iter().map(|&index| (index, rng.random())).collect();
                let rows = map_in_order(&rows, |_, &(index, seed)| {
                    self.transformed(index, AugmentRngs::of_image(Some(&mut taper_ops::rng(seed, "view", 0))))
                });
                for row in rows {
                    values.extend(row?);
                }
            }
            (None, Some(kept)) => {
                let mut missing = indices.to_vec();
                missing.retain(|&index| kept[index].get().is_none());
                missing.sort_unstable();
                missing.dedup();
                let found = map_in_order(&missing, |_, &index| self.transformed(index, AugmentRngs::of_image(None)));
                for (&index, row) in missing.iter().zip(found) {
                    let row = row?;
                    kept[index].get_or_init(|| row);
                }
                values.extend(indices.iter().filter_map(|&index| kept[index].get()).flatten());
            }
            (None, None) => {
                for row in map_in_order(indices, |_, &index| self.transformed(index, AugmentRngs::of_image(None))) {
                    values.extend(row?);
                }
            }
        }
        self.tensor(values, indices.len())
    }

    /// The task that the indices describe. If the transform is random and `rng` is given, steps of the
    /// task and of its classes draw from generators that their images share.
    fn episode(&self, drawn: &EpisodeIndices, rng: Option<&mut Rng>) -> Result<Episode> {
        let ways = drawn.classes.len();
        let Some(rng) = rng.filter(|_| self.transform.is_random()) else {
            return Ok(Episode {
                support: Batch::new(self.inputs(&drawn.support, None)?, &drawn.support_labels, ways)?,
                query: Batch::new(self.inputs(&drawn.query, None)?, &drawn.query_labels, ways)?,
                query_images: drawn.query.clone(),
                classes: drawn.classes.clone(),
                source: drawn.source.clone(),
            });
        };
        let task: u64 = rng.random();
        let classes: Vec<u64> = (0..ways).map(|_| rng.random()).collect();
        let mut part = |indices: &[usize], labels: &[u32]| {
            let rows: Vec<(usize, u64, u64)> = indices
                .iter()
                .zip(labels)
                .map(|(&index, &label)| (index, classes[label as usize], rng.random()))
                .collect();
            let made = map_in_order(&rows, |_, &(index, class, image)| {
                self.transformed(index, AugmentRngs::in_task(task, class, taper_ops::rng(image, "view", 0)))
            });
            let values: Vec<Vec<f32>> = made.into_iter().collect::<Result<_>>()?;
            Batch::new(self.tensor(values.concat(), indices.len())?, labels, ways)
        };
        Ok(Episode {
            support: part(&drawn.support, &drawn.support_labels)?,
            query: part(&drawn.query, &drawn.query_labels)?,
            query_images: drawn.query.clone(),
            classes: drawn.classes.clone(),
            source: drawn.source.clone(),
        })
    }
}

impl View {
    /// Transformed images as `(n, c, h, w)`.
    fn tensor(&self, values: Vec<f32>, images: usize) -> Result<Tensor> {
        let (channels, height, width) = self.shape;
        Ok(Tensor::from_vec(values, (images, channels, height, width), &Device::Cpu)?)
    }
}

/// `error` with the name of the image.
fn about(dataset: &dyn Dataset, index: usize, error: &DataError) -> DataError {
    DataError::Invalid(format!("{}: {error}", dataset.image_name(index)))
}

/// Two images of different sizes, and the step that would give them the same size.
fn differ(
    dataset: &dyn Dataset,
    (first, (channels, height, width)): (usize, (usize, usize, usize)),
    (second, (other_channels, other_height, other_width)): (usize, (usize, usize, usize)),
) -> String {
    let (first, second) = (dataset.image_name(first), dataset.image_name(second));
    if (height, width) == (other_height, other_width) {
        return format!(
            "{first} has {channels} channel(s) and {second} has {other_channels}: add gray or color to the transform"
        );
    }
    format!(
        "{first} becomes {width}x{height} and {second} {other_width}x{other_height}: add resize to the transform, such as resize({width}x{height})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Class, Hash, Image};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use taper_ops::{in_pool, rng};

    /// Images of these sizes (c, h, w), sample = place in the image + 7 · number, and how often
    /// one was decoded.
    struct Toy {
        sizes: Vec<(usize, usize, usize)>,
        labels: Vec<u32>,
        decoded: AtomicUsize,
    }

    impl Dataset for Toy {
        fn name(&self) -> &str {
            "toy"
        }
        fn classes(&self) -> &[Class] {
            &[]
        }
        fn labels(&self) -> &[u32] {
            &self.labels
        }
        fn image(&self, index: usize) -> Result<Image> {
            self.decoded.fetch_add(1, Ordering::Relaxed);
            let (channels, height, width) = self.sizes[index];
            let pixels = (0..channels * height * width).map(|place| (place + 7 * index) as u8).collect();
            Ok(Image { width, height, channels, pixels })
        }
        fn size(&self, index: usize) -> Result<(usize, usize, usize)> {
            Ok(self.sizes[index])
        }
        fn content_hash(&self, index: usize) -> Result<Hash> {
            Ok(Hash::of(&index.to_le_bytes()))
        }
    }

    fn toy(sizes: &[(usize, usize, usize)]) -> Arc<Toy> {
        Arc::new(Toy { sizes: sizes.to_vec(), labels: vec![0; sizes.len()], decoded: AtomicUsize::new(0) })
    }

    fn rows(tensor: Tensor) -> Vec<Vec<f32>> {
        tensor.flatten_from(1).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn rows_are_the_transformed_images_in_the_asked_order() {
        let toy = toy(&[(1, 3, 4); 5]);
        let transform: Transform = "center-crop(2) normalize(mean=0.5,std=0.5)".parse().unwrap();
        let view = View::new(toy.clone(), transform.clone()).unwrap();
        let tensor = view.inputs(&[3, 0, 3], None).unwrap();
        assert_eq!((tensor.dims(), view.shape()), (&[3, 1, 2, 2][..], (1, 2, 2)));
        let image = |index| transform.apply(&toy.image(index).unwrap(), None).unwrap().values;
        assert_eq!(rows(tensor), [image(3), image(0), image(3)]);
        assert_eq!(view.inputs(&[], None).unwrap().dims(), [0, 1, 2, 2]);
    }

    #[test]
    fn fixed_transforms_decode_an_image_once() {
        let toy = toy(&[(1, 4, 4); 4]);
        let view = View::new(toy.clone(), "resize(2)".parse().unwrap()).unwrap();
        let first = rows(view.inputs(&[0, 1, 2, 2], None).unwrap());
        assert_eq!(rows(view.inputs(&[2, 1, 0], Some(&mut rng(0, "test", 0))).unwrap())[0], first[2]);
        assert_eq!(toy.decoded.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn random_rows_depend_on_the_generator_and_not_on_threads() {
        let toy = toy(&[(1, 9, 9); 8]);
        let view = View::new(toy, "random-crop(4,2) random-flip".parse().unwrap()).unwrap();
        let draw = |threads, index| {
            in_pool(threads, || rows(view.inputs(&[0, 1, 2, 3, 3], Some(&mut rng(5, "test", index))).unwrap())).unwrap()
        };
        assert_eq!(draw(1, 0), draw(3, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        let drawn = draw(1, 0);
        assert_ne!(drawn[3], drawn[4], "two rows of one image are drawn apart");
        let fixed = rows(view.inputs(&[3, 3], None).unwrap());
        assert_eq!(fixed[0], fixed[1]);
    }

    #[test]
    fn different_sizes_are_an_error_that_names_the_step_to_add() {
        let error = |sizes: &[_], text: &str| View::new(toy(sizes), text.parse().unwrap()).err().unwrap().to_string();
        let sizes = error(&[(3, 4, 4), (3, 4, 5)], "");
        assert!(sizes.contains("toy image 1") && sizes.contains("add resize"), "{sizes}");
        assert!(error(&[(3, 4, 4), (1, 4, 4)], "resize(9)").contains("add gray or color"));
        assert!(error(&[(3, 4, 4), (3, 2, 2)], "center-crop(3)").contains("toy image 1: `center-crop(3)` is larger"));
        assert!(error(&[], "").contains("no images"));
        assert!(View::new(toy(&[(3, 4, 4), (1, 4, 5)]), "gray resize(2)".parse().unwrap()).is_ok());
    }
}
