//! Multinomial logistic regression with an L2 penalty: the linear probe. The objective is
//! scikit-learn's: C · Σ loss + ½‖W‖², biases unpenalized, minimized by L-BFGS in f64.

use super::decomposition::{Decomposition, unit_scale};
use super::embedding::TaskEmbedding;
use super::folds::{default_folds, stratified_folds};
use super::lbfgs::minimize;
use super::linear_on_features::LinearOnFeatures;
use super::matrix::{Matrix, dot};
use super::on_features::FeatureHead;
use super::penalty::Penalty;
use crate::{
    Adapt, Classifier, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
    training::Deadline,
};
use candle_core::Tensor;
use taper_data::Batch;
use taper_models::State;
use taper_ops::map_in_order;

/// Logistic regression on the features of an ordinary classifier, in a registry.
pub const LINEAR_PROBE: Registered<LinearProbe> = Registered::new();

method_settings! {
    /// The method whose learner is [`LogisticRegression`] on features.
    pub struct LinearProbe {
        /// Inverse strength of the penalty, or cross-validated.
        pub c: Penalty = Penalty::Fixed(10.0);
    }
}

impl TypedMethod for LinearProbe {
    const INFO: MethodInfo = MethodInfo {
        name: "linear-probe",
        title: "pretrained + linear probe",
        kind: Kind::Transfer,
        paper: "Alain and Bengio 2016",
        transductive: false,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(LogisticRegression::new(self.c), &state))
    }
}

/// The default if cross-validation is not possible: good for few shots of unit features.
const DEFAULT_C: f64 = 10.0;

/// Inverse strengths to choose from, for features of unit length; the strongest penalty first.
const CHOICES: [f64; 5] = [1.0, 10.0, 100.0, 1e3, 1e4];

/// Slopes below this count as 0.
const FLAT: f64 = 1e-6;
/// Iterations for the solution.
const EXACT: usize = 500;
/// Iterations for comparing strengths, each starting from the solution for the stronger penalty.
const ROUGH: usize = 30;

/// A linear probe: logistic regression on a frozen network's features, scaled so that those of the support set
/// have unit length on average.
///
/// With [`Penalty::CrossValidated`] the strength with the least log loss on stratified folds of
/// its labeled images (and nothing else) is chosen; 10 if a class has a single image.
#[derive(Debug, Clone)]
pub struct LogisticRegression {
    penalty: Penalty,
    until: Deadline,
}

impl LogisticRegression {
    /// With this penalty and no deadline.
    pub fn new(penalty: Penalty) -> Self {
        Self { penalty, until: Deadline::default() }
    }

    /// The same, with a deadline.
    pub fn until(self, until: Deadline) -> Self {
        Self { until, ..self }
    }

    /// The solution for `rows (n, d)` with the labels of `support`: weight `(ways, d)` and bias
    /// `(ways)`.
    pub(super) fn solve(&self, rows: &Matrix, support: &Batch, seed: u64) -> Result<(Tensor, Tensor)> {
        let (labels, ways) = (support.labels.to_vec1::<u32>()?, support.ways);
        let thin = Decomposition::new(rows)?;
        let c = match self.penalty {
            Penalty::Fixed(c) => c,
            Penalty::CrossValidated => choose(&thin.scores, (&labels, support.views), ways, seed, self.until)?,
        };
        fitted(&thin, labels, ways, c, self.until)
    }
}

impl FeatureHead for LogisticRegression {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, seed: u64) -> Result<Box<dyn Classifier>> {
        let (rows, scale) = unit_scale(features)?;
        let (weight, bias) = self.solve(&rows, support, seed)?;
        Ok(Box::new(LinearOnFeatures::new(task, (weight / scale)?, bias)))
    }
}

/// The minimizer for rows whose decomposition is `thin`: weight `(ways, d)` and bias `(ways)`.
fn fitted(thin: &Decomposition, labels: Vec<u32>, ways: usize, c: f64, until: Deadline) -> Result<(Tensor, Tensor)> {
    let problem = Problem::new(thin.scores.clone(), labels, ways);
    let solution = problem.solution(c, until)?;
    let (weight, bias) = problem.split(&solution);
    thin.head(&weight, bias)
}

/// The strength with the least cross-validated log loss; of equal ones the strongest penalty. The views of an image, one
/// block of rows after the other, are in one fold: they would tell about each other.
fn choose(scores: &Matrix, (labels, views): (&[u32], usize), ways: usize, seed: u64, until: Deadline) -> Result<f64> {
    let of_images = &labels[..labels.len() / views];
    let Some(folds) = default_folds(of_images, ways) else { return Ok(DEFAULT_C) };
    let fold_of = stratified_folds(of_images, folds, seed)?.repeat(views);
    let numbers: Vec<usize> = (0..folds).collect();
    let losses = map_in_order(&numbers, |_, &fold| -> Result<Vec<f64>> {
        let part = |inside: bool| {
            let rows: Vec<usize> = (0..labels.len()).filter(|&row| (fold_of[row] == fold) == inside).collect();
            Problem::new(scores.select(&rows), rows.iter().map(|&row| labels[row]).collect(), ways)
        };
        let (kept, left) = (part(false), part(true));
        let mut unknowns = kept.start();
        let mut losses = Vec::with_capacity(CHOICES.len());
        for c in CHOICES {
            unknowns = kept.solve(c, unknowns, ROUGH, FLAT, until)?;
            losses.push(left.objective(&unknowns, 0.0).cross_entropy);
        }
        Ok(losses)
    });
    let losses: Vec<Vec<f64>> = losses.into_iter().collect::<Result<_>>()?;
    let total = |choice: usize| losses.iter().map(|fold| fold[choice]).sum::<f64>();
    let best = (0..CHOICES.len()).min_by(|&a, &b| total(a).total_cmp(&total(b)));
    Ok(best.map_or(DEFAULT_C, |choice| CHOICES[choice]))
}

/// The largest slope that counts as a solution. The weights grow with about the root of `c`, and so do the slopes that
/// rounding leaves; going below them takes thousands of steps that change nothing.
fn flat(c: f64) -> f64 {
    FLAT * c.sqrt().max(1.0)
}

/// Rows `(n, r)` with labels. Unknowns are the weights `(ways, r)`, then the biases.
struct Problem {
    scores: Matrix,
    labels: Vec<u32>,
    ways: usize,
}

/// The objective at one point.
struct Objective {
    /// Summed, unpenalized.
    cross_entropy: f64,
    /// C times that, and the penalty.
    value: f64,
    gradient: Vec<f64>,
}

impl Problem {
    fn new(scores: Matrix, labels: Vec<u32>, ways: usize) -> Self {
        Self { scores, labels, ways }
    }

    fn start(&self) -> Vec<f64> {
        vec![0.0; self.ways * (self.scores.shape().1 + 1)]
    }

    /// Weights `(ways, r)` and biases.
    fn split<'a>(&self, unknowns: &'a [f64]) -> (Matrix, &'a [f64]) {
        let r = self.scores.shape().1;
        let (weights, biases) = unknowns.split_at(self.ways * r);
        (Matrix::from_fn(self.ways, r, |class, k| weights[class * r + k]), biases)
    }

    /// The minimizer.
    fn solution(&self, c: f64, until: Deadline) -> Result<Vec<f64>> {
        self.solve(c, self.start(), EXACT, flat(c), until)
    }

    fn solve(&self, c: f64, from: Vec<f64>, iterations: usize, flat: f64, until: Deadline) -> Result<Vec<f64>> {
        minimize(from, iterations, flat, |unknowns| {
            until.check()?;
            let at = self.objective(unknowns, c);
            Ok((at.value, at.gradient))
        })
    }

    fn objective(&self, unknowns: &[f64], c: f64) -> Objective {
        let r = self.scores.shape().1;
        let (weights, biases) = unknowns.split_at(self.ways * r);
        let mut gradient: Vec<f64> = weights.iter().copied().chain(std::iter::repeat_n(0.0, self.ways)).collect();
        let mut cross_entropy = 0.0;
        let mut logits = vec![0.0; self.ways];
        for (row, &label) in self.scores.iter().zip(&self.labels) {
            for (class, logit) in logits.iter_mut().enumerate() {
                *logit = biases[class] + dot(&weights[class * r..(class + 1) * r], row);
            }
            let total = log_sum(&logits);
            cross_entropy += total - logits[label as usize];
            for class in 0..self.ways {
                let target = f64::from(u8::from(class == label as usize));
                let slope = c * ((logits[class] - total).exp() - target);
                let slopes = &mut gradient[class * r..(class + 1) * r];
                slopes.iter_mut().zip(row).for_each(|(sum, score)| *sum += slope * score);
                gradient[self.ways * r + class] += slope;
            }
        }
        Objective { cross_entropy, value: c * cross_entropy + 0.5 * dot(weights, weights), gradient }
    }
}

/// ln Σ eˣ, without overflow.
fn log_sum(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heads::golden::{Golden, assert_close, golden};

    #[test]
    fn solutions_are_scikit_learns() {
        let Golden { features, labels, ways, logistic, .. } = golden();
        let thin = Decomposition::new(&features).unwrap();
        let problem = Problem::new(thin.scores.clone(), labels, ways);
        for expected in &logistic {
            let solution = problem.solution(expected.c, Deadline::default()).unwrap();
            let (weight, bias) = problem.split(&solution);
            let (weight, bias) = thin.head(&weight, bias).unwrap();
            assert_close(&weight, &expected.weight);
            // the softmax does not depend on what all biases share
            let centered = |bias: Vec<f64>| {
                let mean = bias.iter().sum::<f64>() / bias.len() as f64;
                bias.into_iter().map(|value| value - mean).collect::<Vec<_>>()
            };
            let ours = centered(bias.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect());
            let theirs = centered(expected.bias.clone());
            assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-4), "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn a_weak_penalty_costs_hundreds_of_evaluations_and_gives_what_thousands_do() {
        let Golden { features, labels, ways, .. } = golden();
        let thin = Decomposition::new(&features).unwrap();
        let problem = Problem::new(thin.scores, labels, ways);
        let solve = |flat: f64| {
            let calls = std::cell::Cell::new(0);
            let found = minimize(problem.start(), EXACT, flat, |unknowns| {
                calls.set(calls.get() + 1);
                let at = problem.objective(unknowns, 1e4);
                Ok((at.value, at.gradient))
            });
            (found.unwrap(), calls.get())
        };
        let ((ours, few), (exact, many)) = (solve(flat(1e4)), solve(0.0));
        let length = dot(&exact, &exact).sqrt();
        let apart = ours.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(
            apart < 1e-5 * length && few < 500 && 3 * few < many,
            "{few} of {many} calls, {apart} apart of {length}"
        );
    }

    #[test]
    fn the_loss_has_the_gradient_it_claims() {
        let scores = Matrix::from_fn(3, 2, |i, j| [0.3, -1.0, 1.2, 0.4, -0.5, 0.1][2 * i + j]);
        let problem = Problem::new(scores, vec![0, 2, 1], 3);
        let at: Vec<f64> = (0..9).map(|i| f64::from(i) * 0.1 - 0.4).collect();
        let gradient = problem.objective(&at, 2.0).gradient;
        for k in 0..at.len() {
            let moved = |h: f64| {
                let mut w = at.clone();
                w[k] += h;
                problem.objective(&w, 2.0).value
            };
            assert!((gradient[k] - (moved(1e-6) - moved(-1e-6)) / 2e-6).abs() < 1e-7);
        }
    }

    #[test]
    fn noisy_labels_get_a_stronger_penalty_than_clean_ones() {
        let scores = Matrix::from_fn(60, 8, |i, j| (((i * 7 + j * 13 + i * j) % 11) as f64 - 5.0) / 10.0);
        let clean: Vec<u32> = (0..60).map(|i| u32::from(scores.row(i)[0] > 0.0)).collect();
        let noisy: Vec<u32> = (0..60).map(|i| (i * i / 3 % 2) as u32).collect();
        let chosen = |labels: &[u32]| choose(&scores, (labels, 1), 2, 0, Deadline::default()).unwrap();
        assert!(chosen(&noisy) < chosen(&clean));
    }

    #[test]
    fn the_penalty_is_not_chosen_on_other_views_of_the_same_images() {
        // as many numbers as images, which say nothing about the labels
        let scores =
            Matrix::from_fn(300, 60, |i, j| ((i % 60 * 7919 + j * 104_729 + i % 60 * j * 31) % 97) as f64 / 97.0);
        let noisy: Vec<u32> = (0..300).map(|i| (i % 60 * 7907 % 101 % 2) as u32).collect();
        let first: Vec<usize> = (0..60).collect();
        let once = choose(&scores.select(&first), (&noisy[..60], 1), 2, 0, Deadline::default()).unwrap();
        let chosen = |views| choose(&scores, (&noisy, views), 2, 0, Deadline::default()).unwrap();
        assert_eq!(chosen(5), once);
        assert!(chosen(1) > once);
    }
}
