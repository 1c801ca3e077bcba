//! First-order optimizers that keep their state as values, so that a checkpoint can hold it.
//! Each follows PyTorch's arithmetic.

use crate::{LearnError, Result};
use serde::{Deserialize, Serialize};
use taper_models::Params;
use taper_ops::{over_root, weighted_square, weighted_sum};

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum (Sutskever et al. 2013).
    Sgd {
        /// Momentum, 0 for none.
        momentum: f64,
        /// Whether it is Nesterov's variant.
        nesterov: bool,
        /// L2 penalty added to the gradient.
        weight_decay: f64,
    },
    /// Adam (Kingma and Ba 2015), betas 0.9 and 0.999, ε 1e-8.
    Adam {
        /// L2 penalty added to the gradient.
        weight_decay: f64,
    },
    /// AdamW (Loshchilov and Hutter 2019), betas 0.9 and 0.999, ε 1e-8.
    AdamW {
        /// Decay of the weights, times the learning rate.
        weight_decay: f64,
    },
}

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// What an optimizer remembers between steps.
#[derive(Debug, Clone, Default)]
pub struct OptimizerState {
    /// Steps taken.
    pub step: u64,
    /// Running mean of gradients, or momentum; empty before the first step.
    pub first: Params,
    /// Running mean of squared gradients; empty if the optimizer has none.
    pub second: Params,
}

impl Optimizer {
    /// Adam without weight decay.
    pub fn adam() -> Self {
        Self::Adam { weight_decay: 0.0 }
    }

    /// The parameters after one step of `rate` along `gradient`, and the new optimizer state. Parameters
    /// that the gradient does not name don't change.
    ///
    /// # Errors
    /// Returns an error if the moments belong to other parameters, or the gradient names parameters
    /// that do not exist.
    pub fn step(
        &self,
        params: &Params,
        gradient: &Params,
        moments: &OptimizerState,
        rate: f64,
    ) -> Result<(Params, OptimizerState)> {
        if gradient.iter().any(|(name, _)| params.get(name).is_err()) {
            return Err(LearnError::Invalid(
                "the gradient names parameters that the state does not have: compute it at this state".into(),
            ));
        }
        let moved = params.filter(|name| gradient.get(name).is_ok());
        let step = moments.step + 1;
        let (moved, first, second) = match *self {
            Self::Sgd { momentum, nesterov, weight_decay } => {
                sgd(&moved, gradient, moments, rate, momentum, nesterov, weight_decay)?
            }
            Self::Adam { weight_decay } => {
                let gradient =
                    if weight_decay == 0.0 { gradient.clone() } else { gradient.plus(weight_decay, &moved)? };
                adam(&moved, &gradient, moments, step, rate)?
            }
            Self::AdamW { weight_decay } => {
                adam(&moved.scaled(1.0 - rate * weight_decay)?, gradient, moments, step, rate)?
            }
        };
        Ok((
            params.merged(&moved.detached()),
            OptimizerState { step, first: first.detached(), second: second.detached() },
        ))
    }
}

fn sgd(
    params: &Params,
    gradient: &Params,
    moments: &OptimizerState,
    rate: f64,
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
) -> Result<(Params, Params, Params)> {
    let gradient = if weight_decay == 0.0 { gradient.clone() } else { gradient.plus(weight_decay, params)? };
    if momentum == 0.0 {
        return Ok((params.minus(rate, &gradient)?, Params::default(), Params::default()));
    }
    let velocity = if moments.first.is_empty() { gradient.clone() } else { gradient.plus(momentum, &moments.first)? };
    let direction = if nesterov { gradient.plus(momentum, &velocity)? } else { velocity.clone() };
    Ok((params.minus(rate, &direction)?, velocity, Params::default()))
}

fn adam(
    params: &Params,
    gradient: &Params,
    moments: &OptimizerState,
    step: u64,
    rate: f64,
) -> Result<(Params, Params, Params)> {
    let zeros = || gradient.zeros();
    let first = if moments.first.is_empty() { zeros()? } else { moments.first.clone() };
    let second = if moments.second.is_empty() { zeros()? } else { moments.second.clone() };
    let first = first.zip(gradient, |m, g| weighted_sum(BETA1, m, 1.0 - BETA1, g))?;
    let second = second.zip(gradient, |v, g| weighted_square(BETA2, v, 1.0 - BETA2, g))?;
    let (correct1, correct2) = (1.0 - BETA1.powf(step as f64), 1.0 - BETA2.powf(step as f64));
    let update = first.zip(&second, |m, v| over_root(1.0 / correct1, m, 1.0 / correct2, v, EPS))?;
    Ok((params.minus(rate, &update)?, first, second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};

    fn one(values: &[f64]) -> Params {
        [("w".to_string(), Tensor::new(values, &Device::Cpu).unwrap())].into_iter().collect()
    }

    fn values(params: &Params) -> Vec<f64> {
        params.get("w").unwrap().to_vec1().unwrap()
    }

    #[derive(Deserialize)]
    struct Golden {
        start: Vec<f64>,
        curvature: Vec<f64>,
        optimizers: Vec<Trajectory>,
    }

    #[derive(Deserialize)]
    struct Trajectory {
        optimizer: Optimizer,
        rate: f64,
        points: Vec<Vec<f64>>,
    }

    #[test]
    fn trajectories_are_pytorchs_over_100_steps() {
        let Golden { start, curvature, optimizers } =
            serde_json::from_str(include_str!("../../golden/optimizers.json")).unwrap();
        for Trajectory { optimizer, rate, points } in optimizers {
            let (mut params, mut moments) = (one(&start), OptimizerState::default());
            for step in 0..100u32 {
                let slope = |(w, c): (f64, &f64)| c * w + f64::from((f64::from(step) as f32).sin());
                let gradient: Vec<f64> = values(&params).into_iter().zip(&curvature).map(slope).collect();
                (params, moments) = optimizer.step(&params, &one(&gradient), &moments, rate).unwrap();
                if step % 10 == 9 {
                    let expected = &points[step as usize / 10];
                    let far = values(&params).iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(far < 1e-5, "{optimizer:?} at {step}: {far}");
                }
            }
        }
    }

    #[test]
    fn adams_first_step_is_the_learning_rate_in_every_direction() {
        let (moved, moments) =
            Optimizer::adam().step(&one(&[1.0, 1.0]), &one(&[100.0, -0.001]), &OptimizerState::default(), 0.1).unwrap();
        let moved = values(&moved);
        assert!((moved[0] - 0.9).abs() < 1e-6 && (moved[1] - 1.1).abs() < 1e-5);
        assert_eq!(moments.step, 1);
    }

    #[test]
    fn momentum_gathers_speed() {
        let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        let (a, moments) = sgd.step(&one(&[0.0]), &one(&[1.0]), &OptimizerState::default(), 1.0).unwrap();
        let (b, _) = sgd.step(&a, &one(&[1.0]), &moments, 1.0).unwrap();
        assert!((values(&a)[0] + 1.0).abs() < 1e-12 && (values(&b)[0] + 2.9).abs() < 1e-12);
    }

    #[test]
    fn parameters_without_gradient_stay() {
        let frozen: Params =
            [("frozen".to_string(), Tensor::new(&[3.0f64], &Device::Cpu).unwrap())].into_iter().collect();
        let params = one(&[1.0]).merged(&frozen);
        let (moved, _) = Optimizer::AdamW { weight_decay: 0.1 }
            .step(&params, &one(&[1.0]), &OptimizerState::default(), 0.1)
            .unwrap();
        assert_eq!(moved.get("frozen").unwrap().to_vec1::<f64>().unwrap(), [3.0]);
    }
}
