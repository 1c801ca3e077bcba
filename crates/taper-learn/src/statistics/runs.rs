//! Training runs crossed with test tasks: a run's effect on all tasks, in addition to the variation of tasks.

use super::variance::Variance;

/// A measure split into rows, the same for every training run.
pub(super) struct Table {
    /// Each row's weight; the weights sum to 1.
    pub(super) weights: Vec<f64>,
    /// For each run and row, the row's weight times its value; a run's sum is the run's mean.
    pub(super) runs: Vec<Vec<f64>>,
}

impl Table {
    /// The mean over all runs, and its variance. `by_tasks` estimates the variance of a sum of rows from
    /// the rows' residuals, as classes, images and tasks make it.
    ///
    /// Runs and classes are crossed, with variance components σ²(run), σ²(class) and σ²(run × class).
    /// Rows averaged over runs show σ²(class)/C + σ²(run × class)/RC. Runs' means show σ²(run)/R with
    /// σ²(run × class)/RC again, which the deviations from the average over runs show, so that it is
    /// subtracted once: the inclusion and exclusion of Cameron, Gelbach and Miller (2011, "Robust
    /// inference with multiway clustering", eq. 2.8) and of the analysis of variance. What runs add is
    /// never less than 0. With one run the variance is that of the run's mean on other tasks.
    pub(super) fn mean(&self, by_tasks: impl Fn(&[f64]) -> Option<Variance>) -> (f64, Option<Variance>) {
        let runs = self.runs.len() as f64;
        let average: Vec<f64> =
            (0..self.weights.len()).map(|row| self.runs.iter().map(|run| run[row]).sum::<f64>() / runs).collect();
        let mean: f64 = average.iter().sum();
        let centered = |values: &mut dyn Iterator<Item = f64>, mean: f64| -> Vec<f64> {
            values.zip(&self.weights).map(|(value, weight)| value - weight * mean).collect()
        };
        let Some(shared) = by_tasks(&centered(&mut average.iter().copied(), mean)) else { return (mean, None) };
        if self.runs.len() < 2 {
            return (mean, Some(shared));
        }
        let means: Vec<f64> = self.runs.iter().map(|run| run.iter().sum()).collect();
        let between = Variance {
            value: means.iter().map(|run| (run - mean).powi(2)).sum::<f64>() / (runs * (runs - 1.0)),
            freedom: runs - 1.0,
        };
        let interactions: Option<Vec<Variance>> = self
            .runs
            .iter()
            .zip(&means)
            .map(|(run, run_mean)| {
                by_tasks(&centered(&mut run.iter().zip(&average).map(|(run, all)| run - all), run_mean - mean))
            })
            .collect();
        let Some(interactions) = interactions else { return (mean, None) };
        let interaction = Variance {
            value: interactions.iter().map(|part| part.value).sum::<f64>() / (runs * (runs - 1.0)),
            freedom: (runs - 1.0) * interactions.iter().map(|part| part.freedom).sum::<f64>() / runs,
        };
        if between.value <= interaction.value {
            return (mean, Some(shared));
        }
        (mean, Some(Variance::sum(&[(1.0, shared), (1.0, between), (-1.0, interaction)])))
    }
}
