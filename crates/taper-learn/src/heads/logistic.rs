//! Multinomial logistic regression with an L2 penalty, by L-BFGS (Liu and Nocedal 1989), in f64:
//! the linear probe. The objective is scikit-learn's: C · Σ loss + ½‖W‖², biases unpenalised.

use super::embedding::Embedding;
use super::linear_on_features::LinearOnFeatures;
use crate::{Adapt, Classifier, Kind, LearnError, Method, Result, Setting, TaskNorm, Training};
use candle_core::{DType, Device, Tensor};
use std::collections::VecDeque;
use taper_data::Batch;

/// Logistic regression on the features of an ordinary classifier.
pub const LINEAR_PROBE: Method = Method {
    name: "linear-probe",
    title: "pretrained + linear probe",
    kind: Kind::Transfer,
    paper: "Alain and Bengio 2016",
    transductive: false,
    norm: TaskNorm::Stored,
    settings: &[Setting { name: "c", default: 10.0, about: "inverse strength of the penalty" }],
    training: Training::Pretraining,
    learner: |setup, state| {
        Ok(Box::new(LogisticRegression::new(Embedding::of(setup, state), setup.settings.get("c")?)))
    },
};

/// A linear probe: logistic regression on a frozen network's features, scaled so that the support's
/// have unit length on average.
#[derive(Debug, Clone)]
pub struct LogisticRegression {
    embedding: Embedding,
    c: f64,
}

impl LogisticRegression {
    /// On the features of `embedding`, with `c` the inverse strength of the penalty (10 is good for
    /// few shots of unit features).
    pub fn new(embedding: Embedding, c: f64) -> Self {
        Self { embedding, c }
    }
}

impl Adapt for LogisticRegression {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let features = features.to_dtype(DType::F64)?;
        let length = features.sqr()?.sum(1)?.mean_all()?.to_scalar::<f64>()?.sqrt().max(1e-12);
        let rows = (features / length)?.to_vec2::<f64>()?;
        let labels = support.labels.to_vec1::<u32>()?;
        let (weight, bias) = fit_logistic(&rows, &labels, support.ways, self.c)?;
        Ok(Box::new(LinearOnFeatures::new(task, (weight / length)?, bias)))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

/// The minimiser over `features` (rows of equal length), as weight `(ways, d)` and bias `(ways)`,
/// f32.
///
/// Errs when there are no features.
pub fn fit_logistic(features: &[Vec<f64>], labels: &[u32], ways: usize, c: f64) -> Result<(Tensor, Tensor)> {
    let Some(d) = features.first().map(Vec::len) else {
        return Err(LearnError::Invalid("logistic regression needs at least one labelled image".into()));
    };
    let objective = |weights: &[f64]| loss_and_gradient(weights, features, labels, ways, c);
    let solution = lbfgs(vec![0.0; ways * (d + 1)], objective);
    let tensor =
        |part: &[f64], shape: &[usize]| Tensor::from_vec(part.iter().map(|&v| v as f32).collect(), shape, &Device::Cpu);
    Ok((tensor(&solution[..ways * d], &[ways, d])?, tensor(&solution[ways * d..], &[ways])?))
}

/// `weights` is the `(ways, d)` matrix, then the biases.
fn loss_and_gradient(weights: &[f64], features: &[Vec<f64>], labels: &[u32], ways: usize, c: f64) -> (f64, Vec<f64>) {
    let d = features[0].len();
    let (matrix, biases) = weights.split_at(ways * d);
    let mut gradient: Vec<f64> = matrix.iter().copied().chain(std::iter::repeat_n(0.0, ways)).collect();
    let mut loss = 0.5 * matrix.iter().map(|w| w * w).sum::<f64>();
    let mut scores = vec![0.0; ways];
    for (row, &label) in features.iter().zip(labels) {
        for (k, score) in scores.iter_mut().enumerate() {
            *score = biases[k] + dot(&matrix[k * d..(k + 1) * d], row);
        }
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
        loss += c * (top + total.ln() - scores[label as usize]);
        for k in 0..ways {
            let slope = c * ((scores[k] - top).exp() / total - f64::from(u8::from(k == label as usize)));
            for (g, x) in gradient[k * d..(k + 1) * d].iter_mut().zip(row) {
                *g += slope * x;
            }
            gradient[ways * d + k] += slope;
        }
    }
    (loss, gradient)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Minimises a smooth convex function from `x`: two-loop recursion over ten pairs, with a
/// backtracking line search (Armijo).
fn lbfgs(mut x: Vec<f64>, f: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    const MEMORY: usize = 10;
    let (mut value, mut gradient) = f(&x);
    let mut pairs: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    for _ in 0..500 {
        if gradient.iter().all(|g| g.abs() < 1e-6) {
            break;
        }
        let direction = two_loop(&gradient, &pairs);
        let slope = -dot(&direction, &gradient);
        let mut rate = if pairs.is_empty() { 1.0 / (1.0 + dot(&gradient, &gradient).sqrt()) } else { 1.0 };
        let moved = loop {
            let candidate: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x - rate * d).collect();
            let (next, next_gradient) = f(&candidate);
            if next <= value + 1e-4 * rate * slope {
                break Some((candidate, next, next_gradient));
            }
            rate *= 0.5;
            if rate < 1e-12 {
                break None;
            }
        };
        let Some((next_x, next, next_gradient)) = moved else { break };
        let s: Vec<f64> = next_x.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        if dot(&s, &y) > 1e-14 {
            pairs.push_back((s, y));
            if pairs.len() > MEMORY {
                pairs.pop_front();
            }
        }
        (x, value, gradient) = (next_x, next, next_gradient);
    }
    x
}

/// The quasi-Newton direction: an approximate inverse Hessian times the gradient.
fn two_loop(gradient: &[f64], pairs: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut alphas = Vec::with_capacity(pairs.len());
    for (s, y) in pairs.iter().rev() {
        let alpha = dot(s, &q) / dot(s, y);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    if let Some((s, y)) = pairs.back() {
        let scale = dot(s, y) / dot(y, y);
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y), alpha) in pairs.iter().zip(alphas.iter().rev()) {
        let beta = dot(y, &q) / dot(s, y);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_vanishes_at_the_solution_and_the_data_is_fitted() {
        let features: Vec<Vec<f64>> =
            (0..12).map(|i| vec![f64::from(i % 3) - 1.0, f64::from(i) / 12.0, f64::from(i * i % 5)]).collect();
        let labels: Vec<u32> = (0..12).map(|i| i % 3).collect();
        let objective = |w: &[f64]| loss_and_gradient(w, &features, &labels, 3, 1.0);
        let solution = lbfgs(vec![0.0; 12], objective);
        let (value, gradient) = objective(&solution);
        assert!(gradient.iter().all(|g| g.abs() < 1e-5) && value < objective(&[0.0; 12]).0);
    }

    #[test]
    fn the_loss_has_the_gradient_it_claims() {
        let features = vec![vec![0.3, -1.0], vec![1.2, 0.4], vec![-0.5, 0.1]];
        let at: Vec<f64> = (0..9).map(|i| f64::from(i) * 0.1 - 0.4).collect();
        let objective = |w: &[f64]| loss_and_gradient(w, &features, &[0, 2, 1], 3, 2.0);
        let gradient = objective(&at).1;
        for k in 0..at.len() {
            let moved = |h: f64| {
                let mut w = at.clone();
                w[k] += h;
                objective(&w).0
            };
            assert!((gradient[k] - (moved(1e-6) - moved(-1e-6)) / 2e-6).abs() < 1e-7);
        }
    }
}
