//! Drawing tasks: a function of (seed, number of the task), as numbers of images.

use crate::{Count, DataError, Dataset, Result, TaskShape, images_by_class};
use rand::{Rng as _, seq::SliceRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use taper_ops::{Rng, rng};

/// Where the classes of one task come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// From anywhere in the data set.
    All,
    /// From within one group, such as one alphabet.
    Group,
}

impl Scope {
    /// Within groups if the data set has any, else anywhere.
    pub fn default_for(dataset: &dyn Dataset) -> Self {
        if dataset.classes().iter().all(|class| class.group.is_empty()) { Self::All } else { Self::Group }
    }
}

/// One task, as numbers of images and labels that count its classes from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EpisodeIndices {
    /// For each label, the data set's class.
    pub classes: Vec<u32>,
    /// Numbers of the support images, class by class.
    pub support: Vec<usize>,
    /// Their labels.
    pub support_labels: Vec<u32>,
    /// Numbers of the query images, class by class.
    pub query: Vec<usize>,
    /// Their labels.
    pub query_labels: Vec<u32>,
    /// The group, or the data set's name.
    pub source: String,
}

impl EpisodeIndices {
    /// For each query, the same task with only that query: makes transductive methods classify
    /// each query independently.
    pub fn each_query(&self) -> Vec<Self> {
        let single =
            |(&query, &label): (&usize, &u32)| Self { query: vec![query], query_labels: vec![label], ..self.clone() };
        self.query.iter().zip(&self.query_labels).map(single).collect()
    }
}

/// Draws tasks of a shape from some classes of a data set.
#[derive(Debug, Clone)]
pub struct EpisodeSampler {
    pools: Vec<Pool>,
    shape: TaskShape,
}

/// Classes that may occur in one task.
#[derive(Debug, Clone)]
struct Pool {
    source: String,
    /// Class and its images.
    classes: Vec<(u32, Vec<usize>)>,
}

impl EpisodeSampler {
    /// A sampler over `classes` of `dataset`. Groups too small for the shape are skipped.
    ///
    /// # Errors
    /// Returns an error if no group can fill the shape; it names the largest that fits.
    pub fn new(dataset: &dyn Dataset, classes: &[u32], shape: TaskShape, scope: Scope) -> Result<Self> {
        let images = images_by_class(dataset);
        let mut pools: BTreeMap<String, Vec<(u32, Vec<usize>)>> = BTreeMap::new();
        let mut short = Vec::new();
        for &class in classes {
            let Some(named) = dataset.classes().get(class as usize) else {
                return Err(DataError::Invalid(format!("class {class} does not exist in {}", dataset.name())));
            };
            let images = images[class as usize].clone();
            if images.len() < shape.images_per_class() {
                short.push((named.full_name(), images.len()));
                continue;
            }
            let source = match scope {
                Scope::Group if !named.group.is_empty() => named.group.clone(),
                _ => dataset.name().to_string(),
            };
            pools.entry(source).or_default().push((class, images));
        }
        let largest = pools.values().map(Vec::len).max().unwrap_or(0);
        let pools: Vec<Pool> = pools
            .into_iter()
            .filter(|(_, classes)| classes.len() >= shape.ways().low())
            .map(|(source, classes)| Pool { source, classes })
            .collect();
        if pools.is_empty() {
            return Err(unfillable(&shape, &short, largest));
        }
        Ok(Self { pools, shape })
    }

    /// Task number `index` of `seed`. The same numbers give the same task, always.
    pub fn draw(&self, seed: u64, index: u64) -> EpisodeIndices {
        let rng = &mut rng(seed, "episode", index);
        let pool = &self.pools[rng.random_range(0..self.pools.len())];
        let ways = pick(self.shape.ways(), pool.classes.len(), rng);
        let mut drawn = EpisodeIndices {
            classes: Vec::with_capacity(ways),
            support: Vec::new(),
            support_labels: Vec::new(),
            query: Vec::new(),
            query_labels: Vec::new(),
            source: pool.source.clone(),
        };
        let queries = self.shape.queries();
        for (label, &place) in taper_ops::permutation(rng, pool.classes.len())[..ways].iter().enumerate() {
            let (class, images) = &pool.classes[place];
            let shots = pick(self.shape.shots(), images.len() - queries.low(), rng);
            let asked = pick(queries, images.len() - shots, rng);
            let mut order = images.clone();
            let (chosen, _) = order.partial_shuffle(rng, shots + asked);
            drawn.classes.push(*class);
            drawn.support.extend(&chosen[..shots]);
            drawn.support_labels.extend(std::iter::repeat_n(label as u32, shots));
            drawn.query.extend(&chosen[shots..]);
            drawn.query_labels.extend(std::iter::repeat_n(label as u32, asked));
        }
        drawn
    }

    /// Where tasks come from: groups, or the data set.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().map(|pool| pool.source.as_str())
    }

    /// The shape of the tasks.
    pub fn shape(&self) -> &TaskShape {
        &self.shape
    }
}

fn pick(count: Count, most: usize, rng: &mut Rng) -> usize {
    rng.random_range(count.low()..=count.high().min(most).max(count.low()))
}

fn unfillable(shape: &TaskShape, short: &[(String, usize)], largest: usize) -> DataError {
    let asked = shape.to_string();
    if let Some((name, images)) = short.iter().min_by_key(|(_, images)| images)
        && largest < shape.ways().low()
    {
        let fit = if *images >= 2 {
            format!("{} shots with {} queries would fit", 1, images - 1)
        } else {
            "it needs at least 2".to_string()
        };
        let count = short.len();
        let limit = format!(
            "{count} class(es) have too few images, `{name}` has {images} and {fit}; take fewer shots or queries"
        );
        return DataError::Unfillable { asked, limit, ways: None };
    }
    let limit =
        format!("the largest group has {largest} classes with enough images: use tasks of at most {largest} classes");
    DataError::Unfillable { asked, limit, ways: Some(largest) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use crate::toy::Toy;

    /// Two groups of 6 and 3 classes, 4 images each.
    fn toy() -> Toy {
        let names: Vec<String> = (0..9).map(|i| format!("c{i}")).collect();
        let classes: Vec<(&str, &str)> =
            (0..9).map(|i| (if i < 6 { "large" } else { "small" }, names[i].as_str())).collect();
        let image = |i: u8| Image { width: 1, height: 1, channels: 1, pixels: vec![i] };
        Toy::new(&classes, (0..36).map(|i| (image(i), u32::from(i) / 4)))
    }

    #[test]
    fn support_and_query_never_share_an_image() {
        let (toy, all) = (toy(), (0..9).collect::<Vec<u32>>());
        let sampler = EpisodeSampler::new(&toy, &all, TaskShape::fixed(5, 2, 2).unwrap(), Scope::All).unwrap();
        for index in 0..50 {
            let task = sampler.draw(3, index);
            let mut seen: Vec<usize> = task.support.iter().chain(&task.query).copied().collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 20);
            for (&image, &label) in task.support.iter().zip(&task.support_labels) {
                assert_eq!(toy.labels[image], task.classes[label as usize]);
            }
        }
    }

    #[test]
    fn tasks_within_a_group_stay_there_and_small_groups_are_left_out() {
        let sampler =
            EpisodeSampler::new(&toy(), &(0..9).collect::<Vec<_>>(), TaskShape::fixed(5, 1, 1).unwrap(), Scope::Group)
                .unwrap();
        assert!((0..20).all(|i| sampler.draw(0, i).classes.iter().all(|&class| class < 6)));
    }

    #[test]
    fn the_same_number_draws_the_same_task() {
        let sampler = EpisodeSampler::new(
            &toy(),
            &[0, 1, 2, 3],
            "2-4".parse().and_then(|ways| TaskShape::new(ways, Count::fixed(1), Count::fixed(2))).unwrap(),
            Scope::All,
        )
        .unwrap();
        assert_eq!(sampler.draw(1, 700), sampler.draw(1, 700));
        assert_ne!(sampler.draw(1, 700), sampler.draw(1, 701));
    }

    #[test]
    fn a_shape_that_nothing_fills_says_what_would() {
        let all: Vec<u32> = (0..9).collect();
        let shape = TaskShape::fixed(8, 1, 1).unwrap();
        let error = EpisodeSampler::new(&toy(), &all, shape, Scope::Group).unwrap_err().to_string();
        assert!(error.contains("at most 6 classes"), "{error}");
        let shape = TaskShape::fixed(2, 3, 2).unwrap();
        let error = EpisodeSampler::new(&toy(), &all, shape, Scope::Group).unwrap_err().to_string();
        assert!(error.contains("`large/c0` has 4"), "{error}");
    }
}
