//! Activations. Conditions are detached: candle has no gradient for them, and fails if one is requested.

use candle_core::{Result, Tensor};

/// `then` where `x` is at most 0, otherwise `other`; NaN counts as greater.
fn where_at_most_zero(x: &Tensor, then: &Tensor, other: &Tensor) -> Result<Tensor> {
    x.detach().le(0.0)?.where_cond(then, other)
}

pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    where_at_most_zero(x, &x.zeros_like()?, x)
}

pub(crate) fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    relu(&(a + b)?)
}

pub(crate) fn relu6(x: &Tensor) -> Result<Tensor> {
    let sixes = x.zeros_like()?.affine(0.0, 6.0)?;
    relu(&x.detach().ge(6.0)?.where_cond(&sixes, x)?)
}

pub(crate) fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    // not 0 · x, which is NaN at infinity
    if slope == 0.0 { relu(x) } else { where_at_most_zero(x, &x.affine(slope, 0.0)?, x) }
}

/// By e = exp(−|x|), which never overflows: 1 / (1 + e) on the right, e / (1 + e) on the left.
pub(crate) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    let e = where_at_most_zero(x, x, &x.neg()?)?.exp()?;
    where_at_most_zero(x, &e, &e.ones_like()?)?.div(&e.affine(1.0, 1.0)?)
}

pub(crate) fn swish(x: &Tensor) -> Result<Tensor> {
    x.mul(&sigmoid(x)?)
}

/// max(x, 0) + log(1 + exp(−|x|)): the exponential never overflows. The derivative at 0 is that of
/// the left side, as both sides' are: ½.
pub(crate) fn softplus(x: &Tensor) -> Result<Tensor> {
    let e = where_at_most_zero(x, x, &x.neg()?)?.exp()?;
    relu(x)? + e.affine(1.0, 1.0)?.log()?
}
