//! Joint training over tasks with one shared head (the seed recipe): not learning to learn, since no
//! step makes the network better at *adapting*, but the baseline that learning to learn must beat.
//!
//! Its objective is [`taper_learn::Supervised`]; what is its own is where batches come from.

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
    /// Splits `classes`, group by group, into tasks of `ways` classes by `seed`; classes left over
    /// are not used.
    ///
    /// Errs when no group has enough classes.
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
                limit: format!("the largest group has {largest}, use --ways {largest} at most"),
            }));
        }
        Ok(Self { tasks, ways })
    }

    /// The tasks' names, in the order that steps take them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tasks.iter().map(|task| task.name.as_str())
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Is there none? There never is none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// `size` images of task `task`, classes and images drawn by `at`.
    pub fn batch(&self, inputs: &dyn Inputs, task: usize, size: usize, at: Draw) -> Result<Batch> {
        let chance = &mut at.rng("shared batch");
        let task = &self.tasks[task % self.tasks.len()];
        let (mut indices, mut labels) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for _ in 0..size {
            let label = chance.random_range(0..self.ways);
            let images = &task.images[label];
            indices.push(images[chance.random_range(0..images.len())]);
            labels.push(label as u32);
        }
        Ok(Batch::new(inputs.inputs(&indices, Some(chance))?, &labels, self.ways)?)
    }
}
