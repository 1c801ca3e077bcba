//! The second derivatives of batch norm, and their derivatives.

use super::Known;
use super::first::{gradient, normalized};
use super::shell::{Shell, Ternary, check};
use crate::element::Element;
use crate::kernels::channels;
use crate::kernels::simd::InstructionSet;
use crate::multiply_per_channel;
use crate::norm::{channel_dot, statistics};
use crate::tape::Apply;
use candle_core::{Result, Shape, Tensor};
use std::sync::Arc;

/// The five sums of (x, g, v): Σg, ⟨g, x̂⟩, Σv, ⟨v, x̂⟩ and ⟨v, P g⟩, for one channel.
struct Pair {
    s: f64,
    t: f64,
    sv: f64,
    tv: f64,
    projected: f64,
}

fn pairs<T: Element>(x: &[T], g: &[T], v: &[T], known: &Known) -> Vec<Pair> {
    let c = known.mean.len();
    let m = (x.len() / c) as f64;
    let sums = channels::pair_moments(InstructionSet::best(), x, &known.mean, g, v, known.step);
    let pair = |k: usize| {
        let at = |i: usize| sums[i * c + k];
        let (s, t, sv, tv) = (at(0), at(1) * known.inverse[k], at(2), at(3) * known.inverse[k]);
        Pair { s, t, sv, tv, projected: at(4) - (s * sv + t * tv) / m }
    };
    (0..c).map(pair).collect()
}

/// `(c)`: 1/σ · ⟨v, P g⟩, symmetric in g and v.
pub(super) struct Projected(pub(super) Arc<Known>);

impl Ternary for Projected {
    const NAME: &'static str = "batch-norm-projected";

    fn forward<T: Element>(&self, [x, g, v]: [&[T]; 3], [sx, sg, sv]: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        check(Self::NAME, sx, sg)?;
        check(Self::NAME, sx, sv)?;
        let known = &self.0;
        let pairs = pairs(x, g, v, known);
        let sums: Vec<T> = pairs.iter().zip(&known.inverse).map(|(p, i)| T::of(p.projected * i)).collect();
        Ok((sums, known.mean.len().into()))
    }

    fn backward(&self, [x, g, v]: [&Tensor; 3], u: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let known = &self.0;
        let dx = x.apply3(g, &multiply_per_channel(v, u)?, Shell(SecondGradient(known.clone())))?;
        Ok([Some(dx), Some(gradient(x, v, u, known)?), Some(gradient(x, g, u, known)?)])
    }
}

/// −1/(m σ²) · (x̂ ⟨v, P g⟩ + ⟨g, x̂⟩ P v + ⟨v, x̂⟩ P g), symmetric in g and v.
pub(super) struct SecondGradient(pub(super) Arc<Known>);

impl Ternary for SecondGradient {
    const NAME: &'static str = "batch-norm-second-gradient";

    fn forward<T: Element>(&self, [x, g, v]: [&[T]; 3], [sx, sg, sv]: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        check(Self::NAME, sx, sg)?;
        check(Self::NAME, sx, sv)?;
        let (known, c) = (&self.0, self.0.mean.len());
        let m = (x.len() / c) as f64;
        let (mut by_x, mut by_g, mut by_v, mut shift) = (vec![0.0; c], vec![0.0; c], vec![0.0; c], vec![0.0; c]);
        for (k, Pair { s, t, sv, tv, projected }) in pairs(x, g, v, known).into_iter().enumerate() {
            let factor = -known.inverse[k] * known.inverse[k] / m;
            by_x[k] = factor * known.inverse[k] * (projected - 2.0 * t * tv / m);
            (by_g[k], by_v[k]) = (factor * tv, factor * t);
            shift[k] = -factor * (t * sv + tv * s) / m;
        }
        let set = InstructionSet::best();
        let dx = channels::mix_three(set, (x, &by_x), &known.mean, (g, &by_g), (v, &by_v), &shift);
        Ok((dx, sx.clone()))
    }

    /// The operation is k · (x̂ α + β V + γ D) with k = −1/(m σ), D = 1/σ · P g, V = 1/σ · P v,
    /// α = ⟨v, D⟩, β = ⟨g, x̂⟩, γ = ⟨v, x̂⟩, each an operation whose gradient is known; u is propagated
    /// back through it.
    fn backward(&self, [x, g, v]: [&Tensor; 3], u: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let (known, u, m) = (&self.0, u.contiguous()?, (x.elem_count() / self.0.mean.len()) as f64);
        let ones = Tensor::ones(known.mean.len(), x.dtype(), x.device())?;
        let by = multiply_per_channel;
        let dot = |a: &Tensor, b: &Tensor| channel_dot(a, b, known.step);
        let second = |g: &Tensor, v: &Tensor| x.apply3(g, v, Shell(SecondGradient(known.clone())));

        let hat = normalized(x, &ones, &ones.zeros_like()?, known)?;
        let (d_g, d_v) = (gradient(x, g, &ones, known)?, gradient(x, v, &ones, known)?);
        let inverse = (statistics(x, known.step)?.variance + known.eps)?.sqrt()?.recip()?;
        let k = (&inverse * (-1.0 / m))?;
        let (alpha, beta, gamma) = (dot(v, &d_g)?, dot(g, &hat)?, dot(v, &hat)?);
        let (u_hat, u_v, u_g) = (dot(&u, &hat)?, dot(&u, &d_v)?, dot(&u, &d_g)?);
        let (to_alpha, to_beta, to_gamma) = ((&k * &u_hat)?, (&k * &u_v)?, (&k * &u_g)?);

        let to_hat = ((by(&u, &(&k * &alpha)?)? + by(g, &to_beta)?)? + by(v, &to_gamma)?)?;
        let to_d_v = by(&u, &(&k * &beta)?)?;
        let to_d_g = (by(&u, &(&k * &gamma)?)? + by(v, &to_alpha)?)?;
        let to_k = (((&alpha * &u_hat)? + (&beta * &u_v)?)? + (&gamma * &u_g)?)?;
        // ∂(1/σ)/∂x = −x̂ / (m σ²)
        let to_inverse = (inverse.sqr()? * (to_k * (1.0 / (m * m)))?)?;

        let dx = ((gradient(x, &to_hat, &ones, known)? + second(v, &to_d_v)?)? + second(g, &to_d_g)?)?;
        let dx = (dx + by(&hat, &to_inverse)?)?;
        let dg = (by(&hat, &to_beta)? + gradient(x, &to_d_g, &ones, known)?)?;
        let dv = ((by(&d_g, &to_alpha)? + by(&hat, &to_gamma)?)? + gradient(x, &to_d_v, &ones, known)?)?;
        Ok([Some(dx), Some(dg), Some(dv)])
    }
}
