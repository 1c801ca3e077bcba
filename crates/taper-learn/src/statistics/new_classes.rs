//! The variance over new classes, from tasks that share classes.

use super::variance::Variance;
use std::collections::BTreeMap;

/// Satterthwaite's degrees of freedom of a difference of variances are too few if the difference happens
/// to be small; they are at least this share of those of the classes. The share is what covers in
/// simulation (`docs/guide/verdict.md`).
const LEAST_FREEDOM: f64 = 0.85;

/// Queries of tasks, each against every other class of its task: the rows that a mean over tasks is
/// made of, task by task.
#[derive(Debug, Clone, Default)]
pub(super) struct Duels {
    /// Each row's pair: the query's class and the other class, as a number from 0.
    pairs: Vec<usize>,
    /// Each pair's two classes, as numbers from 0.
    classes: Vec<(usize, usize)>,
    /// Each task's first row.
    tasks: Vec<usize>,
    /// The effective number of classes.
    effective_classes: f64,
}

impl Duels {
    /// From each row's task (in ascending order), its two classes and its weight; the weights sum to 1.
    pub(super) fn new(rows: &[(usize, u32, u32)], weights: &[f64]) -> Self {
        let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
        let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut duels = Self::default();
        for (row, &(task, query, other)) in rows.iter().enumerate() {
            let [first, second] = [query.min(other), query.max(other)].map(|class| {
                let next = numbers.len();
                *numbers.entry(class).or_insert(next)
            });
            let next = pairs.len();
            let pair = *pairs.entry((first, second)).or_insert(next);
            if pair == next {
                duels.classes.push((first, second));
            }
            duels.pairs.push(pair);
            if row == 0 || rows[row - 1].0 != task {
                duels.tasks.push(row);
            }
        }
        let mut shares = vec![0.0; numbers.len()];
        for (&pair, weight) in duels.pairs.iter().zip(weights) {
            shares[duels.classes[pair].0] += weight;
            shares[duels.classes[pair].1] += weight;
        }
        // each row counts for two classes
        duels.effective_classes = 4.0 / shares.iter().map(|share| share * share).sum::<f64>();
        duels
    }

    /// The variance of the rows' sum over new classes and new tasks, from the rows' residuals.
    ///
    /// A query's error has two classes: its own and the one it was confused with. Two rows therefore
    /// depend on each other if they share either class, whichever tasks they are of, or if they share a
    /// task.
    ///
    /// Rows that share a class: pairs of classes with an effect of each class and one of the pair are the
    /// half diallel of Griffing (1956, "Concept of general and specific combining ability in relation to
    /// diallel crossing systems", method 4). With n classes and `U` the sums of residuals of classes and
    /// of pairs, the unbiased variance of the mean is
    /// n(n−1)/(n−2)² Σ U_class² − n(n−1)/((n−2)(n−3)) (Σ U_pair² − Σ U_class²/(n−2)), which for many
    /// classes is the dyadic cluster-robust variance of Aronow, Samii and Assenova (2015, "Cluster-robust
    /// variance estimation for dyadic data"). It is at least the variance without an effect of classes.
    /// If classes take part unequally, n is their effective number.
    ///
    /// Rows of a task that share no class: the products of their residuals, as Cameron, Gelbach and Miller
    /// (2011, "Robust inference with multiway clustering") add a second clustering; never less than 0.
    ///
    /// `None` with fewer than three classes.
    pub(super) fn variance(&self, residuals: &[f64]) -> Option<Variance> {
        let n = self.effective_classes;
        if n < 2.5 {
            return None;
        }
        let mut sums = vec![0.0; self.classes.len()];
        self.pairs.iter().zip(residuals).for_each(|(&pair, residual)| sums[pair] += residual);
        let (classes, pairs) = self.squares(sums.into_iter().enumerate());
        let between = Variance { value: n * (n - 1.0) / (n - 2.0).powi(2) * classes, freedom: n - 1.0 };
        let mut shared = between;
        if n > 3.5 {
            let within = Variance {
                value: n * (n - 1.0) / ((n - 2.0) * (n - 3.0)) * (pairs - classes / (n - 2.0)).max(0.0),
                freedom: n * (n - 3.0) / 2.0,
            };
            shared = Variance::sum(&[(1.0, between), (-1.0, within)]);
            shared.freedom = shared.freedom.max(LEAST_FREEDOM * (n - 1.0));
            let count = n * (n - 1.0) / 2.0;
            let floor = pairs * count / (count - 1.0);
            if shared.value < floor {
                shared = Variance { value: floor, freedom: LEAST_FREEDOM * (n - 1.0) };
            }
        }
        let ends = self.tasks.iter().skip(1).copied().chain([residuals.len()]);
        let of_task = |(&start, end): (&usize, usize)| {
            let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
            for (pair, residual) in self.pairs[start..end].iter().zip(&residuals[start..end]) {
                *sums.entry(*pair).or_default() += residual;
            }
            let (classes, pairs) = self.squares(sums.into_iter());
            residuals[start..end].iter().sum::<f64>().powi(2) - classes + pairs
        };
        let products: f64 = self.tasks.iter().zip(ends).map(of_task).sum();
        let tasks = Variance { value: products.max(0.0), freedom: (self.tasks.len() as f64 - 1.0).max(1.0) };
        Some(Variance::sum(&[(1.0, shared), (1.0, tasks)]))
    }

    /// Sums of squares of the sums over classes, and over pairs, from the pairs' sums.
    fn squares(&self, pairs: impl Iterator<Item = (usize, f64)>) -> (f64, f64) {
        let mut classes: BTreeMap<usize, f64> = BTreeMap::new();
        let mut squares = 0.0;
        for (pair, sum) in pairs {
            let (first, second) = self.classes[pair];
            *classes.entry(first).or_default() += sum;
            *classes.entry(second).or_default() += sum;
            squares += sum * sum;
        }
        (classes.into_values().map(|sum| sum * sum).sum(), squares)
    }
}
