//! The second derivatives of batch norm, and their derivatives.

use super::Known;
use super::first::{Moments, gradient, moments, normalized};
use super::shell::{Shell, Ternary, check};
use crate::element::{Element, by_type, values};
use crate::kernels::channels;
use crate::kernels::simd::InstructionSet;
use crate::multiply_per_channel;
use crate::norm::{channel_dot, statistics};
use crate::select::Select;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Layout, Result, Shape, Storage, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// The five sums of (x, G, v): ΣG, ⟨G, x̂⟩, Σv, ⟨v, x̂⟩ and ⟨v, P G⟩, for one channel, where G is g at the selected values.
#[derive(Clone, Copy)]
struct Pair {
    s: f64,
    t: f64,
    sv: f64,
    tv: f64,
    projected: f64,
}

/// These sums for each channel, computed once for all operations on (x, g, v).
#[derive(Clone)]
pub(super) struct Pairs {
    known: Arc<Known>,
    select: Select,
    pairs: Arc<Vec<Pair>>,
    /// Σ v and Σ v · (x − mean).
    moments: Vec<f64>,
}

fn pairs_of<T: Element>(
    [x, g, v]: [(&CpuStorage, &Layout); 3],
    (known, select): (&Arc<Known>, &Select),
    shared: &Moments,
) -> Result<Pairs> {
    let values = |(storage, layout)| values::<T>(storage, layout, SecondGradient::NAME);
    let (x, g, v) = (values(x)?, values(g)?, values(v)?);
    let (c, set) = (known.mean.len(), InstructionSet::best());
    let m = (x.len() / c) as f64;
    let of_g = moments(shared, select, x, known, g)?;
    let of_v = channels::moments(set, x, &known.mean, v, known.step);
    let products = select.moments(v, &vec![0.0; c], g, known.step)?;
    let pair = |k: usize| {
        let (s, t) = (of_g[k], of_g[c + k] * known.inverse[k]);
        let (sv, tv) = (of_v[k], of_v[c + k] * known.inverse[k]);
        Pair { s, t, sv, tv, projected: products[c + k] - (s * sv + t * tv) / m }
    };
    let pairs = Arc::new((0..c).map(pair).collect());
    Ok(Pairs { known: known.clone(), select: select.clone(), pairs, moments: of_v })
}

impl Pairs {
    /// The sums of `x`, `g` at the selected values, and `v`; `shared` holds those of x and g once they are known.
    ///
    /// Fails if the shapes do not fit.
    pub(super) fn of(
        x: &Tensor,
        g: &Tensor,
        v: &Tensor,
        (known, select): (&Arc<Known>, &Select),
        shared: &Moments,
    ) -> Result<Self> {
        let name = SecondGradient::NAME;
        check(name, &select.shape(x.shape()), g.shape())?;
        check(name, x.shape(), v.shape())?;
        let ((x, lx), (g, lg), (v, lv)) = (x.storage_and_layout(), g.storage_and_layout(), v.storage_and_layout());
        let (Storage::Cpu(x), Storage::Cpu(g), Storage::Cpu(v)) = (&*x, &*g, &*v) else {
            bail!("{name}: runs on the CPU: move all inputs there")
        };
        by_type!(x, name, pairs_of([(x, lx), (g, lg), (v, lv)], (known, select), shared))
    }

    /// The sums with `weight (c)` times g.
    pub(super) fn times(&self, weight: &Tensor) -> Result<Self> {
        let weight = weight.detach().to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let scaled =
            |(pair, w): (&Pair, f64)| Pair { s: pair.s * w, t: pair.t * w, projected: pair.projected * w, ..*pair };
        let pairs = self.pairs.iter().zip(weight).map(scaled).collect();
        Ok(Self { pairs: Arc::new(pairs), ..self.clone() })
    }

    /// The moments of (x, v).
    pub(super) fn moments(&self) -> Moments {
        Arc::new(OnceLock::from(self.moments.clone()))
    }
}

/// [`SecondGradient`] of all values.
fn second_of_all(x: &Tensor, g: &Tensor, v: &Tensor, known: &Arc<Known>) -> Result<Tensor> {
    let pairs = Pairs::of(x, g, v, (known, &Select::All), &Moments::default())?;
    x.apply3(g, v, Shell(SecondGradient(pairs)))
}

/// `(c)`: 1/σ · ⟨v, P G⟩, where G is g at the selected values. With all values selected it is symmetric in g and v.
pub(super) struct Projected(pub(super) Pairs);

impl Ternary for Projected {
    const NAME: &'static str = "batch-norm-projected";

    fn forward<T: Element>(&self, _: [&[T]; 3], _: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        let Pairs { known, pairs, .. } = &self.0;
        let sums = pairs.iter().zip(&known.inverse).map(|(p, i)| T::of(p.projected * i));
        Ok((sums.collect(), known.mean.len().into()))
    }

    fn backward(&self, [x, g, v]: [&Tensor; 3], u: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let Pairs { known, select, .. } = &self.0;
        let g = select.spread(g)?;
        let dx = second_of_all(x, &g, &multiply_per_channel(v, u)?, known)?;
        let dg = select.gather(&gradient(x, v, u, known)?)?;
        Ok([Some(dx), Some(dg), Some(gradient(x, &g, u, known)?)])
    }
}

/// −1/(m σ²) · (x̂ ⟨v, P G⟩ + ⟨G, x̂⟩ P v + ⟨v, x̂⟩ P G), where G is g at the selected values. With all values selected it is
/// symmetric in g and v.
pub(super) struct SecondGradient(pub(super) Pairs);

impl Ternary for SecondGradient {
    const NAME: &'static str = "batch-norm-second-gradient";

    fn forward<T: Element>(&self, [x, g, v]: [&[T]; 3], [sx, ..]: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        let Pairs { known, select, pairs, .. } = &self.0;
        let c = known.mean.len();
        let m = (x.len() / c) as f64;
        let (mut by_x, mut by_g, mut by_v, mut shift) = (vec![0.0; c], vec![0.0; c], vec![0.0; c], vec![0.0; c]);
        for (k, &Pair { s, t, sv, tv, projected }) in pairs.iter().enumerate() {
            let factor = -known.inverse[k] * known.inverse[k] / m;
            by_x[k] = factor * known.inverse[k] * (projected - 2.0 * t * tv / m);
            (by_g[k], by_v[k]) = (factor * tv, factor * t);
            shift[k] = -factor * (t * sv + tv * s) / m;
        }
        let dx = select.mix_three((x, &by_x), &known.mean, (g, &by_g), (v, &by_v), &shift)?;
        Ok((dx, sx.clone()))
    }

    /// The operation is k · (x̂ α + β V + γ D) with k = −1/(m σ), D = 1/σ · P g, V = 1/σ · P v,
    /// α = ⟨v, D⟩, β = ⟨g, x̂⟩, γ = ⟨v, x̂⟩, each an operation whose gradient is known; u is propagated
    /// back through it.
    fn backward(&self, [x, g, v]: [&Tensor; 3], u: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let Pairs { known, select, .. } = &self.0;
        let (u, m) = (u.contiguous()?, (x.elem_count() / known.mean.len()) as f64);
        let g = &select.spread(g)?;
        let ones = Tensor::ones(known.mean.len(), x.dtype(), x.device())?;
        let by = multiply_per_channel;
        let dot = |a: &Tensor, b: &Tensor| channel_dot(a, b, known.step);
        let second = |g: &Tensor, v: &Tensor| second_of_all(x, g, v, known);

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
        Ok([Some(dx), Some(select.gather(&dg)?), Some(dv)])
    }
}
