//! Joint training over tasks with one shared head (the seed recipe): not meta-learning, because no
//! step makes the network better at *adapting*, but the baseline that meta-learning must beat.
//!
//! Its objective is [`taper_learn::training::Supervised`]; what is its own is where batches come from.

use rand::Rng as _;
use std::collections::BTreeMap;
use taper_data::{Batch, DataError, Dataset, Inputs, images_by_class};
use taper_learn::{Draw, LearnError, Result};
use taper_ops::{permutation, rng};

/// Fixed tasks of equally many classes that share one head: each class keeps its place in its task.
#[derive(Debug, Clone)]
pub struct SharedTasks {
    tasks: Vec<SharedTask>,
    ways: usize,
}

#[derive(Debug, Clone)]
struct SharedTask {
    name: String,
    /// For each place in the head, the images of its class.
    images: Vec<Vec<usize>>,
}

impl SharedTasks {
    /// Splits `classes`, group by group, into tasks of `ways` classes by `seed`; remaining classes
    /// are not used.
    ///
    /// # Errors
    /// Returns an error if no group has enough classes.
    pub fn new(dataset: &dyn Dataset, classes: &[u32], ways: usize, seed: u64) -> Result<Self> {
        let images = images_by_class(dataset);
        let mut groups: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for &class in classes {
            groups.entry(&dataset.classes()[class as usize].group).or_default().push(class);
        }
        let largest = groups.values().map(Vec::len).max().unwrap_or(0);
        let mut tasks = Vec::new();
        for (number, (group, members)) in groups.into_iter().enumerate() {
            let order = permutation(&mut rng(seed, "shared tasks", number as u64), members.len());
            for (part, places) in order.chunks_exact(ways).enumerate() {
                let name = if group.is_empty() { dataset.name() } else { group };
                tasks.push(SharedTask {
                    name: if members.len() < 2 * ways { name.to_string() } else { format!("{name} {}", part + 1) },
                    images: places.iter().map(|&place| images[members[place] as usize].clone()).collect(),
                });
            }
        }
        if tasks.is_empty() {
            return Err(LearnError::Data(DataError::Unfillable {
                asked: format!("{ways} classes"),
                limit: format!("the largest group has {largest}: use tasks of at most {largest} classes"),
                ways: Some(largest),
            }));
        }
        Ok(Self { tasks, ways })
    }

    /// The same tasks on two parts of their images: a share of each class is held out for
    /// testing, at least one image if there are two.
    pub fn split(&self, share: f64, seed: u64) -> (Self, Self) {
        let (mut training, mut test) = (self.clone(), self.clone());
        for (number, task) in self.tasks.iter().enumerate() {
            for (place, images) in task.images.iter().enumerate() {
                let address = (number * self.ways + place) as u64;
                let order = permutation(&mut rng(seed, "shared test images", address), images.len());
                let apart = ((images.len() as f64 * share).round() as usize).clamp(1, images.len());
                let part = |places: &[usize]| places.iter().map(|&place| images[place]).collect::<Vec<_>>();
                test.tasks[number].images[place] = part(&order[..apart]);
                // a single image serves both
                training.tasks[number].images[place] =
                    part(if apart < images.len() { &order[apart..] } else { &order });
            }
        }
        (training, test)
    }

    /// The tasks' names, in the order that steps take them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tasks.iter().map(|task| task.name.as_str())
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Always `false`: [`Self::new`] requires a task.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// `size` images of task `task`, classes and images drawn by `at`.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn batch(&self, inputs: &dyn Inputs, task: usize, size: usize, at: Draw) -> Result<Batch> {
        let rng = &mut at.rng("shared batch");
        let task = &self.tasks[task % self.tasks.len()];
        let (mut indices, mut labels) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for _ in 0..size {
            let label = rng.random_range(0..self.ways);
            let images = &task.images[label];
            indices.push(images[rng.random_range(0..images.len())]);
            labels.push(label as u32);
        }
        Ok(Batch::new(inputs.inputs(&indices, Some(rng))?, &labels, self.ways)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_data::{Glyphs, GlyphsSize};

    #[test]
    fn test_images_are_not_training_images_and_none_is_lost() {
        let glyphs = Glyphs::new(0, GlyphsSize { alphabets: 2, characters: 6, drawings: 5 }).unwrap();
        let classes: Vec<u32> = (0..12).collect();
        let whole = SharedTasks::new(&glyphs, &classes, 3, 1).unwrap();
        let (training, test) = whole.split(0.25, 1);
        assert_eq!(whole.len(), 4);
        for ((whole, training), test) in whole.tasks.iter().zip(&training.tasks).zip(&test.tasks) {
            for ((whole, training), test) in whole.images.iter().zip(&training.images).zip(&test.images) {
                assert_eq!((training.len(), test.len()), (4, 1));
                let mut both = [training.as_slice(), test].concat();
                both.sort_unstable();
                assert_eq!(&both, whole);
            }
        }
    }
}
