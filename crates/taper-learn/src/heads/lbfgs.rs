//! L-BFGS (Liu and Nocedal 1989), in f64.

use super::matrix::dot;
use crate::Result;
use std::collections::VecDeque;

/// Minimizes a smooth convex function from `x`, until no slope is steeper than `flat`, in at most
/// `iterations`: two-loop recursion over ten pairs, with a backtracking line search (Armijo).
///
/// # Errors
/// Returns an error if the function does.
pub(crate) fn minimize(
    mut x: Vec<f64>,
    iterations: usize,
    flat: f64,
    f: impl Fn(&[f64]) -> Result<(f64, Vec<f64>)>,
) -> Result<Vec<f64>> {
    const MEMORY: usize = 10;
    let (mut value, mut gradient) = f(&x)?;
    let mut pairs: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
    for _ in 0..iterations {
        if gradient.iter().all(|g| g.abs() < flat) {
            break;
        }
        let direction = two_loop(&gradient, &pairs);
        let slope = -dot(&direction, &gradient);
        let mut rate = if pairs.is_empty() { 1.0 / (1.0 + dot(&gradient, &gradient).sqrt()) } else { 1.0 };
        let moved = loop {
            let candidate: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x - rate * d).collect();
            let (next, next_gradient) = f(&candidate)?;
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
    Ok(x)
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
    fn the_valley_of_a_badly_scaled_quadratic_is_found() {
        let f = |x: &[f64]| {
            let (a, b) = (x[0] - 3.0, x[1] + 1.0);
            Ok((a * a + 1e4 * b * b + a * b, vec![2.0 * a + b, 2e4 * b + a]))
        };
        let x = minimize(vec![0.0, 0.0], 100, 1e-6, f).unwrap();
        assert!((x[0] - 3.0).abs() < 1e-6 && (x[1] + 1.0).abs() < 1e-6, "{x:?}");
    }
}
