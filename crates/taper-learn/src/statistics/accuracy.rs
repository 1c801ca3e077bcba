//! The accuracy of a method, and the difference between two, over training runs and test tasks.

use super::blame::blame;
use super::fixed_classes::{self, Query};
use super::new_classes::Duels;
use super::runs::Table;
use super::variance::Variance;
use super::{Estimate, Population, ScoredTask};
use crate::{LearnError, Result};
use std::collections::BTreeSet;

/// Mean accuracy over tasks and training runs; `runs` holds each run's answers to the same tasks.
///
/// # Errors
///
/// Returns an error if there is no run or no task, a task has no query or fewer than two classes, or
/// runs answered different tasks.
pub fn accuracy_estimate(runs: &[&[ScoredTask]]) -> Result<Estimate> {
    estimate(&runs.iter().map(|&run| vec![(1.0, run)]).collect::<Vec<_>>(), 0.0)
}

/// Mean accuracy of `a` less that of `b` on the same tasks, over training runs. Run 1 of `a` is paired
/// with run 1 of `b`, and so on; a method with a single run, such as one that does not train, is paired
/// with every run of the other.
///
/// The interval covers the difference on what [`Estimate::population`] says: new classes, or new images
/// of these classes if every task holds the same ones. With several runs it also covers new training
/// runs; with one it is about that run.
///
/// # Errors
///
/// Returns an error if there is no run or no task, a task has no query or fewer than two classes, the
/// tasks differ, or both have several runs but not equally many.
pub fn difference_estimate(a: &[&[ScoredTask]], b: &[&[ScoredTask]]) -> Result<Estimate> {
    let runs = a.len().max(b.len());
    let of = |side: &[&'_ [ScoredTask]]| side.len() == 1 || side.len() == runs;
    if !of(a) || !of(b) {
        return Err(LearnError::Invalid(format!(
            "{} training runs of one method can't be compared with {} of another: train both equally often",
            a.len(),
            b.len()
        )));
    }
    let pairs = (0..runs).map(|run| vec![(1.0, a[run % a.len()]), (-1.0, b[run % b.len()])]);
    estimate(&pairs.collect::<Vec<_>>(), -1.0)
}

/// A weighted sum of mean accuracies on the same tasks, such as the difference of two methods halfway between two
/// numbers of labels.
///
/// # Errors
///
/// Returns an error if there is no part or no task, or the tasks of the parts differ.
pub fn weighted_estimate(parts: &[(f64, &[ScoredTask])]) -> Result<Estimate> {
    estimate(&[parts.to_vec()], -1.0)
}

/// The mean of a signed sum of methods: for each run, signs and answers.
fn estimate(runs: &[Vec<(f64, &[ScoredTask])>], least: f64) -> Result<Estimate> {
    let tasks = checked(runs)?;
    let population = population(tasks);
    let signed = |values: fn(&[ScoredTask]) -> Vec<f64>| -> Vec<Vec<f64>> {
        let sum = |run: &Vec<(f64, &[ScoredTask])>| {
            run.iter()
                .map(|&(sign, answers)| values(answers).into_iter().map(|value| sign * value).collect::<Vec<_>>())
                .reduce(|a, b| a.into_iter().zip(b).map(|(a, b)| a + b).collect())
                .unwrap_or_default()
        };
        runs.iter().map(sum).collect()
    };
    let (mean, variance) = match population {
        Population::NewClasses => {
            let (duels, weights) = duels(tasks);
            let table = Table { weights, runs: signed(duel_scores) };
            table.mean(|residuals| duels.variance(residuals))
        }
        Population::TheseClasses => {
            let (queries, weights) = queries(tasks);
            let parts = &runs[0];
            let total: f64 = parts.iter().map(|(weight, _)| weight.abs()).sum();
            let share = parts.iter().map(|(weight, tasks)| weight.abs() * support_share(tasks)).sum::<f64>() / total;
            let table = Table { weights, runs: signed(query_scores) };
            table.mean(|residuals| fixed_classes::variance(&queries, residuals, share))
        }
    };
    let standard_error = variance.map(|variance| variance.value.sqrt().max(1.0 / images(tasks) as f64));
    Ok(Estimate {
        mean,
        standard_error,
        degrees_of_freedom: variance.map_or(1.0, |Variance { freedom, .. }| freedom.clamp(1.0, 1e6)),
        population,
        runs: runs.len(),
        least,
    })
}

/// The tasks, after checking that all methods answered the same.
fn checked<'a>(runs: &[Vec<(f64, &'a [ScoredTask])>]) -> Result<&'a [ScoredTask]> {
    let mut all = runs.iter().flatten().map(|&(_, answers)| answers);
    let Some(tasks) = all.next().filter(|tasks| !tasks.is_empty()) else {
        return Err(LearnError::Invalid("nothing was scored: score at least one task".into()));
    };
    if tasks.iter().any(|task| task.decisions.is_empty() || task.classes.len() < 2) {
        return Err(LearnError::Invalid("a scored task needs a query and two classes: draw other tasks".into()));
    }
    if all.any(|other| other.len() != tasks.len() || other.iter().zip(tasks).any(|(a, b)| !a.asks_the_same(b))) {
        return Err(LearnError::Invalid(
            "the methods answered different tasks: score all of them on the same tasks".into(),
        ));
    }
    Ok(tasks)
}

/// The population of the tasks: new classes if they differ in their classes.
fn population(tasks: &[ScoredTask]) -> Population {
    let classes = |task: &ScoredTask| task.classes.iter().copied().collect::<BTreeSet<u32>>();
    let first = classes(&tasks[0]);
    match tasks.iter().all(|task| classes(task) == first) {
        true => Population::TheseClasses,
        false => Population::NewClasses,
    }
}

/// How many different query images there are.
fn images(tasks: &[ScoredTask]) -> usize {
    tasks.iter().flat_map(|task| &task.decisions).map(|decision| decision.image).collect::<BTreeSet<_>>().len()
}

/// Weight of each query of a task among `tasks`: tasks count equally.
fn query_weight(tasks: &[ScoredTask], task: &ScoredTask) -> f64 {
    1.0 / (tasks.len() as f64 * task.decisions.len() as f64)
}

/// Each query with each other class of its task, and its weight.
fn duels(tasks: &[ScoredTask]) -> (Duels, Vec<f64>) {
    let (mut rows, mut weights) = (Vec::new(), Vec::new());
    for (number, task) in tasks.iter().enumerate() {
        let weight = query_weight(tasks, task) / (task.classes.len() - 1) as f64;
        for decision in &task.decisions {
            for &other in task.classes.iter().filter(|&&other| other != decision.class) {
                rows.push((number, decision.class, other));
                weights.push(weight);
            }
        }
    }
    (Duels::new(&rows, &weights), weights)
}

/// Weighted scores of the duels, in the order of [`duels`]: a query that is classified correctly scores 1
/// in all, and an error counts against the classes that caused it. The class that was predicted bears the
/// share of it that [`blame`] estimates. The rest would be wrong without that class too, and is divided
/// equally among the other classes of the task.
fn duel_scores(tasks: &[ScoredTask]) -> Vec<f64> {
    let blame = blame(tasks);
    let mut scores = Vec::new();
    for task in tasks {
        let (weight, others) = (query_weight(tasks, task), task.classes.len() as f64 - 1.0);
        for decision in &task.decisions {
            let error = 1.0 - decision.correct(task.classes.len());
            for &other in task.classes.iter().filter(|&&other| other != decision.class) {
                let share = match decision.predicted {
                    Some(predicted) if predicted == other => blame + (1.0 - blame) / others,
                    Some(_) => (1.0 - blame) / others,
                    None => 1.0 / others,
                };
                scores.push(weight * (1.0 / others - error * share));
            }
        }
    }
    scores
}

/// Each query and its weight.
fn queries(tasks: &[ScoredTask]) -> (Vec<Query>, Vec<f64>) {
    let mut all = (Vec::new(), Vec::new());
    for (number, task) in tasks.iter().enumerate() {
        for decision in &task.decisions {
            all.0.push(Query { task: number, class: decision.class, image: decision.image });
            all.1.push(query_weight(tasks, task));
        }
    }
    all
}

/// Weighted scores of the queries, in the order of [`queries`].
fn query_scores(tasks: &[ScoredTask]) -> Vec<f64> {
    let weighted = |task: &ScoredTask| {
        let (weight, ways) = (query_weight(tasks, task), task.classes.len());
        task.decisions.iter().map(|decision| weight * decision.correct(ways)).collect::<Vec<_>>()
    };
    tasks.iter().flat_map(weighted).collect()
}

/// Support images of a task as a share of the images that tasks draw from.
fn support_share(tasks: &[ScoredTask]) -> f64 {
    let asked = images(tasks);
    let share = |task: &ScoredTask| task.support_images as f64 / task.pool_images.unwrap_or(asked) as f64;
    tasks.iter().map(share).sum::<f64>() / tasks.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::{Decision, Interval};

    /// Tasks of `classes`, two queries per class; `predict` gives (task, class, image) its prediction.
    fn tasks(sets: &[&[u32]], predict: impl Fn(usize, u32, usize) -> Option<u32>) -> Vec<ScoredTask> {
        let task = |(number, classes): (usize, &&[u32])| {
            let queries =
                classes.iter().flat_map(|&class| [(class, 2 * class as usize), (class, 2 * class as usize + 1)]);
            ScoredTask {
                classes: classes.to_vec(),
                support_images: classes.len(),
                pool_images: None,
                decisions: queries
                    .map(|(class, image)| Decision { image, class, predicted: predict(number, class, image) })
                    .collect(),
            }
        };
        sets.iter().enumerate().map(task).collect()
    }

    const PAIRS: [&[u32]; 6] = [&[0, 1], &[0, 2], &[0, 3], &[1, 2], &[1, 3], &[2, 3]];

    fn other(task: usize, class: u32) -> u32 {
        PAIRS[task].iter().copied().find(|&other| other != class).unwrap()
    }

    #[test]
    fn the_mean_is_that_of_the_tasks_accuracies() {
        let answers = tasks(&PAIRS, |task, class, image| Some(if image % 3 == 0 { other(task, class) } else { class }));
        let estimate = accuracy_estimate(&[&answers]).unwrap();
        let mean = answers.iter().map(ScoredTask::accuracy).sum::<f64>() / 6.0;
        assert!((estimate.mean - mean).abs() < 1e-12 && estimate.population == Population::NewClasses);
        assert!(difference_estimate(&[&answers], &[&answers]).unwrap().mean.abs() < 1e-12);
    }

    #[test]
    fn more_tasks_of_the_same_classes_do_not_make_an_interval_narrow() {
        // class 0 is never correct, all others always
        let margin = |times: usize| {
            let sets = PAIRS.repeat(times);
            let answers = tasks(&sets, |task, class, _| Some(if class == 0 { other(task % 6, 0) } else { class }));
            accuracy_estimate(&[&answers]).unwrap().interval().margin()
        };
        let (once, often) = (margin(1), margin(50));
        assert!(often > 0.8 * once && often > 0.2, "{once} {often}");
    }

    #[test]
    fn a_pairs_errors_in_both_directions_are_one_error_seen_twice() {
        // classes 0 and 1 are confused with each other; clustering by one class would see two independent failures
        let answers = tasks(&PAIRS, |task, class, _| Some(if task == 0 { 1 - class } else { class }));
        let estimate = accuracy_estimate(&[&answers]).unwrap();
        // of six pairs, one is 0 and five are 1: the standard error of their mean is 1/6
        assert!(estimate.standard_error.unwrap() >= 1.0 / 6.0 - 1e-9, "{estimate:?}");
    }

    #[test]
    fn a_guess_counts_as_chance() {
        let answers = tasks(&PAIRS, |_, _, _| None);
        let estimate = accuracy_estimate(&[&answers]).unwrap();
        assert!((estimate.mean - 0.5).abs() < 1e-12);
        assert!((answers[0].accuracy() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn tasks_that_hold_the_same_classes_speak_about_these_classes() {
        let answers = tasks(&[[0, 1, 2].as_slice(); 4], |_, class, image| Some(if image == 0 { 1 } else { class }));
        let estimate = accuracy_estimate(&[&answers]).unwrap();
        assert_eq!(estimate.population, Population::TheseClasses);
        assert!((estimate.mean - 5.0 / 6.0).abs() < 1e-12 && estimate.standard_error.unwrap() > 0.1);
    }

    #[test]
    fn runs_that_differ_widen_the_interval() {
        let right = tasks(&PAIRS, |_, class, _| Some(class));
        let half = tasks(&PAIRS, |task, class, image| Some(if image % 2 == 0 { other(task, class) } else { class }));
        let alike = accuracy_estimate(&[&half, &half, &half]).unwrap();
        let apart = accuracy_estimate(&[&right, &half, &half]).unwrap();
        assert_eq!(apart.runs, 3);
        // the means of the runs are 1, 1/2 and 1/2: their standard error is 1/6
        assert!((apart.standard_error.unwrap() - 1.0 / 6.0).abs() < 0.03, "{apart:?}");
        assert!(apart.interval().margin() > 2.0 * alike.interval().margin(), "{alike:?} {apart:?}");
    }

    #[test]
    fn methods_that_never_err_are_not_known_better_than_to_one_image() {
        let right = tasks(&PAIRS, |_, class, _| Some(class));
        let estimate = difference_estimate(&[&right], &[&right]).unwrap();
        assert_eq!(estimate.standard_error, Some(1.0 / 8.0));
        let Interval { mean, low, high } = estimate.interval();
        assert!(mean == 0.0 && low < -0.2 && high > 0.2);
    }

    #[test]
    fn different_tasks_or_run_counts_are_refused() {
        let right = tasks(&PAIRS, |_, class, _| Some(class));
        let fewer = tasks(&PAIRS[1..], |_, class, _| Some(class));
        assert!(difference_estimate(&[&right], &[&fewer]).unwrap_err().to_string().contains("different tasks"));
        assert!(
            difference_estimate(&[right.as_slice(); 2], &[right.as_slice(); 3])
                .unwrap_err()
                .to_string()
                .contains("equally often")
        );
        assert!(accuracy_estimate(&[]).is_err() && accuracy_estimate(&[&[]]).is_err());
        assert_eq!(difference_estimate(&[right.as_slice(); 3], &[&right]).unwrap().runs, 3);
    }
}
