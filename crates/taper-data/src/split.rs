//! Splitting a data set's classes for training, validation and test.

use crate::Dataset;
use std::collections::BTreeMap;
use taper_ops::{permutation, rng};

/// Classes for training, validation and test; no class is in two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Classes that learners are trained on.
    pub train: Vec<u32>,
    /// Classes that choices are made on.
    pub validation: Vec<u32>,
    /// Classes that are scored, once.
    pub test: Vec<u32>,
}

/// Splits the classes by `seed`: whole groups where there are at least three, so that test groups
/// are new too, single classes otherwise. About a fifth of them goes to validation and three
/// tenths to test, at least one each.
pub fn split_classes(dataset: &dyn Dataset, seed: u64) -> Split {
    let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (class, named) in dataset.classes().iter().enumerate() {
        groups.entry(named.group.clone()).or_default().push(class as u32);
    }
    let units: Vec<Vec<u32>> = if groups.len() >= 3 {
        groups.into_values().collect()
    } else {
        (0..dataset.classes().len() as u32).map(|class| vec![class]).collect()
    };
    let order = permutation(&mut rng(seed, "split", 0), units.len());
    let share = |part: f64| (units.len() as f64 * part).round().max(1.0) as usize;
    let test = share(0.3).min(units.len());
    let validation = share(0.2).min(units.len() - test);
    let part = |places: &[usize]| {
        let mut classes: Vec<u32> = places.iter().flat_map(|&place| units[place].iter().copied()).collect();
        classes.sort_unstable();
        classes
    };
    Split {
        test: part(&order[..test]),
        validation: part(&order[test..test + validation]),
        train: part(&order[test + validation..]),
    }
}
