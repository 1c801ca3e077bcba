//! Fresh variables made from parameters, to differentiate with respect to.

use crate::{ModelError, Params, Result};
use candle_core::Tensor;
use std::collections::BTreeMap;
use taper_ops::{Gradients, Tape};

/// Variables with the values of some [`Params`]: what a loss is differentiated with respect to.
///
/// They are detached from earlier computations, so that each inner step's graph ends here. Only they can
/// differentiate what is computed from them: candle's `backward` does not find them.
#[derive(Debug)]
pub struct Leaves {
    tape: Tape,
    vars: BTreeMap<String, Tensor>,
}

impl Leaves {
    /// Fresh variables with the values of `params`.
    pub fn new(params: &Params) -> Result<Self> {
        let tape = Tape::default();
        let vars =
            params.iter().map(|(name, tensor)| Ok((name.to_string(), tape.leaf(tensor)?))).collect::<Result<_>>()?;
        Ok(Self { tape, vars })
    }

    /// The variables as parameters, tracked.
    pub fn params(&self) -> Params {
        self.vars.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
    }

    /// ∇loss, detached: a value without a graph.
    ///
    /// # Errors
    ///
    /// Returns an error if the loss does not depend on one of the variables.
    pub fn gradient(&self, loss: &Tensor) -> Result<Params> {
        Ok(self.named(&self.tape.gradients(loss)?, |_| true)?.detached())
    }

    /// ∇loss, still tracked, to be differentiated again.
    ///
    /// # Errors
    ///
    /// Returns an error if the loss does not depend on one of the variables.
    pub fn tracked_gradient(&self, loss: &Tensor) -> Result<Params> {
        self.tracked_gradient_of(loss, |_| true)
    }

    /// The part of ∇loss whose names satisfy the condition, still tracked.
    ///
    /// # Errors
    ///
    /// Returns an error if the loss does not depend on one of those variables.
    pub fn tracked_gradient_of(&self, loss: &Tensor, asked: impl Fn(&str) -> bool) -> Result<Params> {
        self.named(&self.tape.tracked_gradients(loss)?, asked)
    }

    fn named(&self, grads: &Gradients, asked: impl Fn(&str) -> bool) -> Result<Params> {
        self.vars
            .iter()
            .filter(|(name, _)| asked(name))
            .map(|(name, var)| match grads.get(var) {
                Some(gradient) => Ok((name.clone(), gradient.clone())),
                None => Err(ModelError::NoGradient(name.clone())),
            })
            .collect()
    }

    /// ∇loss, detached; zeros for variables that the loss does not depend on.
    pub fn gradient_or_zeros(&self, loss: &Tensor) -> Result<Params> {
        self.or_zeros(&self.tape.gradients(loss)?)
    }

    /// ∇⟨gradient, v⟩, detached: for a `gradient` tracked by [`Leaves::tracked_gradient`], the
    /// Hessian's product with `v`. Zeros for variables that the inner product does not depend on.
    pub fn vector_product(&self, gradient: &Params, v: &Params) -> Result<Params> {
        let pairs = gradient.iter().map(|(name, slope)| Ok((slope.clone(), v.get(name)?.clone())));
        self.or_zeros(&self.tape.vector_products(&pairs.collect::<Result<Vec<_>>>()?)?)
    }

    fn or_zeros(&self, grads: &Gradients) -> Result<Params> {
        self.vars
            .iter()
            .map(|(name, var)| {
                let gradient = match grads.get(var) {
                    Some(gradient) => gradient.detach(),
                    None => var.detach().zeros_like()?,
                };
                Ok((name.clone(), gradient))
            })
            .collect()
    }
}
