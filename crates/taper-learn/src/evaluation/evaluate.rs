//! The one evaluator.

use crate::ranks::{OneProcess, Ranks, map_over};
use crate::statistics::{Decision, Estimate, ScoredTask, accuracy_estimate, difference_estimate};
use crate::{Adapt, Interval, LearnError, Result, statistics::mean_interval};
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;
use taper_data::Episode;
use taper_ops::rng;

/// Seconds per task, each on one thread.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// From support set to classifier.
    pub adapt_seconds: f64,
    /// To classify all queries.
    pub predict_seconds: f64,
}

/// A method's answers on one task, with what they cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskScore {
    /// The answers to its queries.
    pub answers: ScoredTask,
    /// Where its classes come from.
    pub source: String,
    /// Seconds on one thread.
    pub cost: Cost,
}

/// How well a method does on many tasks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of queries classified correctly, per task.
    pub accuracies: Vec<f64>,
    /// The source of each task.
    pub sources: Vec<String>,
    /// The answers to each task's queries.
    pub tasks: Vec<ScoredTask>,
    /// Tasks on which the method's inner loop diverged or its logits were NaN. Their queries count as
    /// guesses, so a report has to name them.
    pub diverged: usize,
    /// Mean cost per task.
    pub cost: Cost,
}

impl Evaluation {
    /// The evaluation on tasks with these scores, in their order.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no task.
    pub fn of(scores: Vec<TaskScore>) -> Result<Self> {
        let count = scores.len() as f64;
        if scores.is_empty() {
            return Err(LearnError::Invalid("0 test tasks measure nothing: score 1 or more, such as 200".into()));
        }
        let mut evaluation = Self::default();
        for TaskScore { answers, source, cost } in scores {
            evaluation.accuracies.push(answers.accuracy());
            evaluation.sources.push(source);
            evaluation.diverged += usize::from(answers.decisions.iter().any(|decision| decision.predicted.is_none()));
            evaluation.tasks.push(answers);
            evaluation.cost.adapt_seconds += cost.adapt_seconds / count;
            evaluation.cost.predict_seconds += cost.predict_seconds / count;
        }
        Ok(evaluation)
    }

    /// Mean accuracy over tasks with its 95% interval, which covers new classes like these, or new
    /// images of these classes if every task holds the same ones.
    pub fn accuracy(&self) -> Interval {
        accuracy(&self.tasks, &self.accuracies)
    }

    /// Mean accuracy over tasks and training runs of one method, with what its interval is computed from.
    ///
    /// # Errors
    ///
    /// Returns an error if `runs` is empty or the runs were scored on different tasks.
    pub fn mean_accuracy(runs: &[Self]) -> Result<Estimate> {
        let estimate = accuracy_estimate(&tasks(runs))?;
        let of_run = |run: &Self| run.accuracies.iter().sum::<f64>() / run.accuracies.len() as f64;
        Ok(Estimate { mean: runs.iter().map(of_run).sum::<f64>() / runs.len() as f64, ..estimate })
    }

    /// Mean accuracy of `a` less that of `b`, each a method's evaluations of its training runs, all on the
    /// same tasks.
    ///
    /// # Errors
    ///
    /// Returns an error if one is empty, the tasks differ, or both have several runs but not equally many.
    pub fn difference(a: &[Self], b: &[Self]) -> Result<Estimate> {
        difference_estimate(&tasks(a), &tasks(b))
    }

    /// Pools evaluations of one method on several data sets; `None` if `parts` is empty. Classes and
    /// images of different parts remain distinct.
    pub fn together(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(|mut all, part| {
            let (before, more) = (all.accuracies.len() as f64, part.accuracies.len() as f64);
            let mean = |a: f64, b: f64| (a * before + b * more) / (before + more).max(1.0);
            all.cost.adapt_seconds = mean(all.cost.adapt_seconds, part.cost.adapt_seconds);
            all.cost.predict_seconds = mean(all.cost.predict_seconds, part.cost.predict_seconds);
            let class = all.tasks.iter().flat_map(|task| &task.classes).max().map_or(0, |class| class + 1);
            let decisions = all.tasks.iter().flat_map(|task| &task.decisions);
            let image = decisions.map(|decision| decision.image + 1).max().unwrap_or(0);
            all.tasks.extend(part.tasks.into_iter().map(|task| task.shifted(class, image)));
            all.accuracies.extend(part.accuracies);
            all.sources.extend(part.sources);
            all.diverged += part.diverged;
            all
        })
    }

    /// Mean accuracy of each source's tasks, with its 95% interval.
    pub fn by_source(&self) -> BTreeMap<&str, Interval> {
        let mut parts: BTreeMap<&str, (Vec<ScoredTask>, Vec<f64>)> = BTreeMap::new();
        for ((source, &accuracy), task) in self.sources.iter().zip(&self.accuracies).zip(&self.tasks) {
            let part = parts.entry(source).or_default();
            part.0.push(task.clone());
            part.1.push(accuracy);
        }
        parts.into_iter().map(|(source, (tasks, accuracies))| (source, accuracy(&tasks, &accuracies))).collect()
    }
}

/// The tasks of each run.
fn tasks(runs: &[Evaluation]) -> Vec<&[ScoredTask]> {
    runs.iter().map(|run| run.tasks.as_slice()).collect()
}

/// The interval over classes, images and draws; over tasks only if the tasks do not allow one.
fn accuracy(tasks: &[ScoredTask], accuracies: &[f64]) -> Interval {
    // the plain mean: its last bits depend only on the order of the tasks
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    let estimate = accuracy_estimate(&[tasks]).map(|estimate| Estimate { mean, ..estimate });
    estimate.map_or_else(|_| mean_interval(accuracies), |estimate| estimate.interval())
}

/// Scores `method` on episodes 0 to `episodes`, in parallel over episodes; `episode` makes the one with
/// that number. The result does not depend on the number of threads. A task whose inner loop diverges, or
/// whose logits are NaN, counts as guesses ([`Evaluation::diverged`]).
///
/// # Errors
///
/// Returns an error if there is no episode, or making or adapting one fails for another reason.
///
/// ```
/// use std::sync::Arc;
/// use taper_data::{EpisodeSampler, Glyphs, GlyphsSize, Inputs, Scope, TaskShape, View};
/// use taper_learn::{evaluate, heads::NearestNeighbor};
///
/// let glyphs = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 3 })?);
/// let sampler = EpisodeSampler::new(glyphs.as_ref(), &[0, 1, 2], TaskShape::fixed(3, 1, 2)?, Scope::All)?;
/// let view = View::new(glyphs, "gray resize(16x16)".parse()?)?;
/// let task = |number| Ok(view.episode(&sampler.draw(0, number), None)?);
/// let accuracy = evaluate(&NearestNeighbor, 10, 0, task)?.accuracy();
/// assert!(accuracy.low <= accuracy.mean && accuracy.mean <= accuracy.high);
/// # Ok::<(), taper_learn::LearnError>(())
/// ```
pub fn evaluate(
    method: &dyn Adapt,
    episodes: u64,
    seed: u64,
    episode: impl Fn(u64) -> Result<Episode> + Sync,
) -> Result<Evaluation> {
    evaluate_over(&OneProcess, method, episodes, seed, episode)
}

/// The same, with the episodes divided among the processes that share the job; all of them get the result.
///
/// # Errors
///
/// Returns an error if there is no episode, or making or adapting one fails for another reason, on every process.
pub fn evaluate_over(
    ranks: &dyn Ranks,
    method: &dyn Adapt,
    episodes: u64,
    seed: u64,
    episode: impl Fn(u64) -> Result<Episode> + Sync,
) -> Result<Evaluation> {
    let numbers: Vec<u64> = (0..episodes).collect();
    Evaluation::of(score_tasks(ranks, method, &numbers, seed, episode)?)
}

/// The scores of `method` on the episodes with these numbers, in their order, divided among the processes that share
/// the job. An episode's score depends on its number, not on which others are scored.
///
/// # Errors
///
/// Returns an error if making or adapting an episode fails other than by a diverged inner loop, on every process.
pub fn score_tasks(
    ranks: &dyn Ranks,
    method: &dyn Adapt,
    numbers: &[u64],
    seed: u64,
    episode: impl Fn(u64) -> Result<Episode> + Sync,
) -> Result<Vec<TaskScore>> {
    map_over(ranks, numbers, |_, &number| {
        use rand::Rng as _;
        let task = episode(number)?;
        let seed: u64 = rng(seed, "adapt", number).random();
        let start = Instant::now();
        let mut cost = Cost::default();
        let logits = method.adapt(&task.support, seed).and_then(|classifier| {
            cost.adapt_seconds = start.elapsed().as_secs_f64();
            classifier.logits(&task.query.inputs)
        });
        let predicted = match logits {
            Ok(logits) => predictions(&logits)?,
            Err(LearnError::InnerDiverged { .. }) => vec![None; task.query.len()],
            Err(error) => return Err(error),
        };
        let seconds = start.elapsed().as_secs_f64();
        match cost.adapt_seconds > 0.0 {
            true => cost.predict_seconds = seconds - cost.adapt_seconds,
            false => cost.adapt_seconds = seconds,
        }
        Ok(TaskScore { answers: scored_task(&task, &predicted)?, source: task.source, cost })
    })
}

/// The label with the largest of each row of `logits (n, ways)`; `None` for a row with a NaN.
fn predictions(logits: &Tensor) -> Result<Vec<Option<u32>>> {
    let labels = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    // NaN is the only value that differs from itself
    let valid = logits.eq(logits)?.min(D::Minus1)?.to_vec1::<u8>()?;
    Ok(labels.into_iter().zip(valid).map(|(label, valid)| (valid == 1).then_some(label)).collect())
}

/// The answers to a task, in the data set's classes.
fn scored_task(task: &Episode, predicted: &[Option<u32>]) -> Result<ScoredTask> {
    let labels = task.query.labels.to_vec1::<u32>()?;
    if labels.is_empty() || labels.len() != predicted.len() || labels.len() != task.query_images.len() {
        return Err(LearnError::Invalid(format!(
            "a task of {} queries has {} image indices and {} predictions: give each query one of each",
            labels.len(),
            task.query_images.len(),
            predicted.len()
        )));
    }
    let class = |label: u32| {
        task.classes.get(label as usize).copied().ok_or_else(|| {
            let ways = task.classes.len();
            LearnError::Invalid(format!(
                "label {label} was predicted in a task of {ways} classes: give logits for each"
            ))
        })
    };
    let decisions = labels.iter().zip(predicted).zip(&task.query_images).map(|((&label, &predicted), &image)| {
        Ok(Decision { image, class: class(label)?, predicted: predicted.map(class).transpose()? })
    });
    Ok(ScoredTask {
        classes: task.classes.clone(),
        support_images: task.support.len(),
        pool_images: None,
        decisions: decisions.collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Classifier;
    use crate::heads::NearestNeighbor;
    use candle_core::Device;
    use taper_data::Batch;

    /// A 2-way task of numbers: classes 7 and 4, at 0 and 10, with a query each.
    fn episode(number: u64) -> Episode {
        let batch = |values: [f32; 2]| {
            Batch::new(Tensor::new(&values, &Device::Cpu).unwrap().unsqueeze(1).unwrap(), &[0, 1], 2)
        };
        Episode {
            support: batch([0.0, 10.0]).unwrap(),
            query: batch([1.0, if number == 0 { 9.0 } else { 2.0 }]).unwrap(),
            query_images: vec![30, 40 + number as usize],
            classes: vec![7, 4],
            source: "numbers".into(),
        }
    }

    /// A method that fails on every task in one way.
    struct Failing(fn() -> Result<Tensor>);

    struct Fixed(Tensor);

    impl Classifier for Fixed {
        fn logits(&self, _: &Tensor) -> Result<Tensor> {
            Ok(self.0.clone())
        }
    }

    impl Adapt for Failing {
        fn adapt(&self, _: &Batch, _: u64) -> Result<Box<dyn Classifier>> {
            Ok(Box::new(Fixed((self.0)()?)))
        }
    }

    #[test]
    fn a_decision_names_the_data_sets_image_and_classes() {
        let scored = evaluate(&NearestNeighbor, 2, 0, |number| Ok(episode(number))).unwrap();
        assert_eq!(scored.tasks[1].classes, [7, 4]);
        assert_eq!(scored.tasks[1].decisions[1], Decision { image: 41, class: 4, predicted: Some(7) });
        assert_eq!((scored.accuracies.as_slice(), scored.diverged), ([1.0, 0.5].as_slice(), 0));
    }

    #[test]
    fn a_task_that_diverges_counts_as_guesses_and_ends_nothing() {
        let diverge = || Err(LearnError::InnerDiverged { task: "numbers".into(), step: 1, loss: f64::NAN });
        let nan = || Ok(Tensor::new(&[[0f32, f32::NAN], [1.0, 0.0]], &Device::Cpu)?);
        let scored = evaluate(&Failing(diverge), 3, 0, |number| Ok(episode(number))).unwrap();
        assert_eq!((scored.accuracies.as_slice(), scored.diverged), ([0.5; 3].as_slice(), 3));
        // the first query is a guess, the second is wrong
        let scored = evaluate(&Failing(nan), 2, 0, |number| Ok(episode(number))).unwrap();
        assert_eq!((scored.accuracies.as_slice(), scored.diverged), ([0.25; 2].as_slice(), 2));
    }

    #[test]
    fn other_failures_and_no_tasks_are_errors() {
        let fail = || Err(LearnError::Invalid("no".into()));
        assert!(evaluate(&Failing(fail), 1, 0, |number| Ok(episode(number))).is_err());
        assert!(evaluate(&NearestNeighbor, 0, 0, |number| Ok(episode(number))).is_err());
    }

    #[test]
    fn pooled_data_sets_keep_their_classes_and_images_apart() {
        let scored = evaluate(&NearestNeighbor, 2, 0, |number| Ok(episode(number))).unwrap();
        let all = Evaluation::together([scored.clone(), scored.clone()]).unwrap();
        assert_eq!(all.tasks[2].classes, [15, 12]);
        assert_eq!(all.tasks[3].decisions[1], Decision { image: 83, class: 12, predicted: Some(15) });
        assert_eq!(all.accuracy().mean, scored.accuracy().mean);
    }
}
