//! Fresh variables made from parameters, to differentiate with respect to.

use crate::{ModelError, Params, Result};
use candle_core::{Tensor, Var, backprop::GradStore};
use std::collections::BTreeMap;
use taper_ops::dot;

/// Variables with the values of some [`Params`]: what a loss is differentiated with respect to.
///
/// They share nothing with the past, so that each inner step's graph ends here.
#[derive(Debug)]
pub struct Leaves {
    vars: BTreeMap<String, Var>,
}

impl Leaves {
    /// Fresh variables with the values of `params`.
    pub fn new(params: &Params) -> Result<Self> {
        let vars = params
            .iter()
            .map(|(name, tensor)| Ok((name.to_string(), Var::from_tensor(&tensor.detach())?)))
            .collect::<Result<_>>()?;
        Ok(Self { vars })
    }

    /// The variables as parameters, tracked.
    pub fn params(&self) -> Params {
        self.vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
    }

    /// ∇loss, detached: a value without a graph.
    ///
    /// Errs when the loss does not depend on one of the variables.
    pub fn gradient(&self, loss: &Tensor) -> Result<Params> {
        Ok(self.tracked_gradient(loss)?.detached())
    }

    /// ∇loss, still tracked, to be differentiated again.
    ///
    /// Errs when the loss does not depend on one of the variables.
    pub fn tracked_gradient(&self, loss: &Tensor) -> Result<Params> {
        self.tracked_gradient_of(loss, |_| true)
    }

    /// The part of ∇loss whose names satisfy the condition, still tracked.
    ///
    /// Errs when the loss does not depend on one of those variables.
    pub fn tracked_gradient_of(&self, loss: &Tensor, asked: impl Fn(&str) -> bool) -> Result<Params> {
        let grads = loss.backward()?;
        self.vars
            .iter()
            .filter(|(name, _)| asked(name))
            .map(|(name, var)| match grads.get(var) {
                Some(gradient) => Ok((name.clone(), gradient.clone())),
                None => Err(ModelError::NoGradient(name.clone())),
            })
            .collect()
    }

    /// ∇loss, detached; zeros where the loss does not depend on a variable.
    pub fn gradient_or_zeros(&self, loss: &Tensor) -> Result<Params> {
        self.or_zeros(&loss.backward()?)
    }

    /// ∇⟨gradient, v⟩, detached: for a `gradient` tracked by [`Leaves::tracked_gradient`], the
    /// Hessian's product with `v`. Where the inner product does not depend on a variable, zeros.
    pub fn vector_product(&self, gradient: &Params, v: &Params) -> Result<Params> {
        let mut product: Option<Tensor> = None;
        for (name, slope) in gradient.iter() {
            let term = dot(slope, v.get(name)?)?;
            product = Some(match product {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        let grads = match &product {
            Some(product) => product.backward()?,
            None => return Ok(Params::default()),
        };
        self.or_zeros(&grads)
    }

    fn or_zeros(&self, grads: &GradStore) -> Result<Params> {
        self.vars
            .iter()
            .map(|(name, var)| {
                let gradient = match grads.get(var) {
                    Some(gradient) => gradient.detach(),
                    None => var.as_tensor().detach().zeros_like()?,
                };
                Ok((name.clone(), gradient))
            })
            .collect()
    }
}
