//! What transformers need.

use crate::kernels::smooth::Gelu;
use crate::sigmoid;
use candle_core::{D, Result, Tensor};

const QUICK: f64 = 1.702;

/// φ(x), the density of the normal distribution.
fn density(x: &Tensor) -> Result<Tensor> {
    (x.sqr()? * -0.5)?.exp()? * (2.0 * std::f64::consts::PI).sqrt().recip()
}

/// The product with the distribution function, or with a sigmoid.
pub(crate) fn gelu(x: &Tensor, form: Gelu) -> Result<Tensor> {
    match form {
        Gelu::Exact => x.mul(&(x * std::f64::consts::FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?),
        Gelu::Quick => x.mul(&sigmoid(&(x * QUICK)?)?),
    }
}

/// The second derivative: φ(x) (2 - x²), or of x σ(b x) with σ' = σ (1 - σ): b σ' (2 + b x (1 - 2 σ)).
pub(crate) fn gelu_curvature(x: &Tensor, form: Gelu) -> Result<Tensor> {
    match form {
        Gelu::Exact => density(x)?.mul(&x.sqr()?.affine(-1.0, 2.0)?),
        Gelu::Quick => {
            let share = sigmoid(&(x * QUICK)?)?;
            let slope = (&share - share.sqr()?)?;
            (slope * QUICK)?.mul(&((x * QUICK)?.mul(&share.affine(-2.0, 1.0)?)? + 2.0)?)
        }
    }
}

/// Each row over its last dimension to mean 0 and variance 1.
pub(crate) fn normalize(x: &Tensor, eps: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    centered.broadcast_mul(&(variance + eps)?.sqrt()?.recip()?)
}

/// Attention of `q (n, m, d)` to keys and values `kv (n, t, 2 d)`.
pub(crate) fn attention(q: &Tensor, kv: &Tensor, heads: usize) -> Result<Tensor> {
    let ((n, m, d), t) = (q.dims3()?, kv.dim(1)?);
    let by_head = |x: &Tensor, rows| x.reshape((n, rows, heads, d / heads))?.transpose(1, 2)?.contiguous();
    let (k, v) = (kv.narrow(2, 0, d)?.contiguous()?, kv.narrow(2, d, d)?.contiguous()?);
    let (q, k, v) = (by_head(q, m)?, by_head(&k, t)?, by_head(&v, t)?);
    let scores = (crate::matmul_nt(&q, &k)? * ((d / heads) as f64).sqrt().recip())?;
    // a constant for each row does not change the shares
    let shares = scores.broadcast_sub(&scores.detach().max_keepdim(D::Minus1)?)?.exp()?;
    let shares = shares.broadcast_div(&shares.sum_keepdim(D::Minus1)?)?;
    crate::matmul(&shares, &v)?.transpose(1, 2)?.contiguous()?.reshape((n, m, d))
}
