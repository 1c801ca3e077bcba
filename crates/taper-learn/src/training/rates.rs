//! Learning rates that differ between parts of a network.

use crate::Result;
use taper_models::Params;

/// Factors of the learning rate by prefix of the parameters' names; 1 for all others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rates(Vec<(String, f64)>);

impl Rates {
    /// From pairs of a prefix (`"layer4"`, which names `layer4.…`) and its factor.
    pub fn new(factors: Vec<(String, f64)>) -> Self {
        Self(factors)
    }

    fn factor(&self, name: &str) -> f64 {
        let under = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        self.0.iter().find(|(prefix, _)| under(prefix)).map_or(1.0, |&(_, factor)| factor)
    }

    /// `after` with each step from `before` multiplied by its factor. All our optimizers' steps are
    /// linear in the rate, so this is the step at the rate times the factor.
    pub(crate) fn applied(&self, before: &Params, after: Params) -> Result<Params> {
        if self.0.is_empty() {
            return Ok(after);
        }
        after
            .iter()
            .map(|(name, after)| {
                let (factor, before) = (self.factor(name), before.get(name)?);
                let slowed = if factor == 1.0 { after.clone() } else { (before + ((after - before)? * factor)?)? };
                Ok((name.to_string(), slowed.detach()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{Optimizer, OptimizerState};
    use candle_core::{Device, Tensor};

    #[test]
    fn a_factor_is_a_learning_rate_of_its_own() {
        let tensor = |value: f64| Tensor::new(&[value], &Device::Cpu).unwrap();
        let named = |value: f64| -> Params {
            ["layer1.w", "layer10.w"].into_iter().map(|name| (name.to_string(), tensor(value))).collect()
        };
        let rates = Rates::new(vec![("layer1".into(), 0.25)]);
        let sgd = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
        for optimizer in [Optimizer::AdamW { weight_decay: 0.1 }, Optimizer::adam(), sgd] {
            let step =
                |rate: f64| optimizer.step(&named(2.0), &named(0.3), &OptimizerState::default(), rate).unwrap().0;
            let slowed = rates.applied(&named(2.0), step(0.1)).unwrap();
            let value = |params: &Params, name: &str| params.get(name).unwrap().to_vec1::<f64>().unwrap()[0];
            assert!((value(&slowed, "layer1.w") - value(&step(0.025), "layer1.w")).abs() < 1e-12);
            assert_eq!(value(&slowed, "layer10.w"), value(&step(0.1), "layer10.w"));
        }
    }
}
