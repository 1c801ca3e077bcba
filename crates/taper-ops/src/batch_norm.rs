//! Batch norm by the batch's own statistics (Ioffe and Szegedy 2015), as operations with kernels
//! of their own up to the second derivative and composed of each other beyond.
//!
//! With m rows, x̂ = (x − mean)/σ and P the projection P g = g − mean(g) − x̂ · mean(g x̂):
//! - the gradient of `⟨g, x̂ w + b⟩` by x is `w/σ · P g` ([`Gradient`]), by w and b they are
//!   Σ g x̂ and Σ g ([`Sums`]);
//! - the gradient of `⟨v, 1/σ · P g⟩` by x is
//!   `−1/(m σ²) · (x̂ ⟨v, P g⟩ + ⟨g, x̂⟩ P v + ⟨v, x̂⟩ P g)` ([`SecondGradient`]).
//!
//! All statistics count as functions of x.

use crate::composed;
use crate::element::{Element, by_type, stored, values};
use crate::kernels::channels;
use crate::kernels::simd::InstructionSet;
use crate::multiply_per_channel;
use crate::norm::{Statistics, batch_statistics, channel_dot};
use crate::select::{Epilogue, Select};
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// Batch normalization of `x (…, c)` by the statistics of `x` itself, with `weight (c)` and
/// `bias (c)`, and those statistics. Gradients of any order flow through both.
///
/// Errs when shapes don't fit and when the batch is empty.
pub fn batch_norm_by_batch(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Tensor, Statistics)> {
    if composed::needed(x) {
        let statistics = batch_statistics(x)?;
        fits(x, &statistics, weight, bias)?;
        return Ok((composed::batch_norm_by_batch(x, &statistics, weight, bias, eps)?, statistics));
    }
    let x = x.contiguous()?;
    let (known, statistics) = Known::of(&x, weight, bias, eps)?;
    let select = Select::new(Epilogue::Nothing, x.shape())?;
    Ok((x.apply3(&weight.contiguous()?, &bias.contiguous()?, Normalize(known, select))?, statistics))
}

fn fits(x: &Tensor, statistics: &Statistics, weight: &Tensor, bias: &Tensor) -> Result<()> {
    if weight.dims() != statistics.mean.dims() || bias.dims() != weight.dims() {
        bail!("batch norm: {:?} does not fit weight {:?} and bias {:?}", x.dims(), weight.dims(), bias.dims());
    }
    Ok(())
}

/// The statistics' values: what x determines, computed once.
pub(crate) struct Known {
    pub(crate) mean: Vec<f64>,
    /// 1/σ.
    inverse: Vec<f64>,
    eps: f64,
}

impl Known {
    /// Those of `x (…, c)`, and the same as tensors, which depend on x.
    ///
    /// Errs when weight and bias don't fit, and when the batch is empty.
    pub(crate) fn of(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<(Arc<Self>, Statistics)> {
        let statistics = batch_statistics(x)?;
        fits(x, &statistics, weight, bias)?;
        let list = |t: &Tensor| t.detach().to_dtype(DType::F64)?.to_vec1::<f64>();
        let inverse = list(&statistics.variance)?.into_iter().map(|variance| 1.0 / (variance + eps).sqrt()).collect();
        Ok((Arc::new(Self { mean: list(&statistics.mean)?, inverse, eps }), statistics))
    }

    /// What `select` lets through of x̂ · w + b.
    pub(crate) fn normalize<T: Element>(&self, select: &Select, x: &[T], w: &[T], b: &[T]) -> Result<Vec<T>> {
        let scale: Vec<f64> = w.iter().zip(&self.inverse).map(|(w, inverse)| w.to_f64() * inverse).collect();
        select.apply(x, &self.mean, &scale, b)
    }
}

/// Σ g and Σ g · (x − mean) of one (x, g), computed once by whoever needs it first.
type Moments = Arc<OnceLock<Vec<f64>>>;

fn moments<T: Element>(shared: &Moments, select: &Select, x: &[T], known: &Known, g: &[T]) -> Result<Vec<f64>> {
    if let Some(sums) = shared.get() {
        return Ok(sums.clone());
    }
    let sums = select.moments(x, &known.mean, g)?;
    let _ = shared.set(sums.clone());
    Ok(sums)
}

fn wide<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f64()).collect()
}

fn rows(x: &Tensor) -> Result<f64> {
    Ok((x.elem_count() / x.dim(candle_core::D::Minus1)?) as f64)
}

fn check(name: &str, x: &Shape, other: &Layout) -> Result<()> {
    if x.dims() != other.dims() {
        bail!("{name}: {x:?} does not fit {:?}", other.dims());
    }
    Ok(())
}

/// What gets through of x̂ · w + b.
struct Normalize(Arc<Known>, Select);

impl Normalize {
    fn kernel<T: Element>(
        &self,
        [x, w, b]: [&CpuStorage; 3],
        [lx, lw, lb]: [&Layout; 3],
    ) -> Result<(CpuStorage, Shape)> {
        let name = self.name();
        let (x, w, b) = (values::<T>(x, lx, name)?, values::<T>(w, lw, name)?, values::<T>(b, lb, name)?);
        Ok(stored::<T>(self.0.normalize(&self.1, x, w, b)?, self.1.shape(lx.shape())))
    }
}

impl CustomOp3 for Normalize {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match x.dtype() {
            DType::F32 => self.kernel::<f32>([x, w, b], [lx, lw, lb]),
            DType::F64 => self.kernel::<f64>([x, w, b], [lx, lw, lb]),
            other => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        g: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let norm = weight.track_op() || bias.track_op();
        let Derivatives { x, norm } = derivatives(x, g, weight, &self.0, &self.1, (x.track_op(), norm))?;
        let (dw, db) = match norm {
            Some(sums) => (Some(sums.get(1)?), Some(sums.get(0)?)),
            None => (None, None),
        };
        Ok((x, dw, db))
    }
}

/// What a norm's result tells about its inputs.
pub(crate) struct Derivatives {
    /// By x.
    pub(crate) x: Option<Tensor>,
    /// `(2, c)`: by the bias, then by the weight.
    pub(crate) norm: Option<Tensor>,
}

/// The derivatives of ⟨g, what gets through of x̂ · w + b⟩, those that are wanted of x and of norm.
pub(crate) fn derivatives(
    x: &Tensor,
    g: &Tensor,
    weight: &Tensor,
    known: &Arc<Known>,
    select: &Select,
    wanted: (bool, bool),
) -> Result<Derivatives> {
    let (shared, g, weight) = (Moments::default(), g.contiguous()?, weight.contiguous()?);
    let norm = match wanted.1 {
        true => Some(x.apply2(&g, Sums(known.clone(), select.clone(), shared.clone()))?),
        false => None,
    };
    let x = match wanted.0 {
        true => Some(x.apply3(&g, &weight, Gradient(known.clone(), select.clone(), shared))?),
        false => None,
    };
    Ok(Derivatives { x, norm })
}

fn normalized(x: &Tensor, weight: &Tensor, bias: &Tensor, known: &Arc<Known>) -> Result<Tensor> {
    x.apply3(&weight.contiguous()?, &bias.contiguous()?, Normalize(known.clone(), Select::All))
}

/// w/σ · P g.
fn gradient(x: &Tensor, g: &Tensor, weight: &Tensor, known: &Arc<Known>) -> Result<Tensor> {
    let op = Gradient(known.clone(), Select::All, Moments::default());
    x.apply3(&g.contiguous()?, &weight.contiguous()?, op)
}

/// `(2, c)`: Σ G, then Σ G x̂, where G is g at the values that got through.
struct Sums(Arc<Known>, Select, Moments);

fn sums_kernel<T: Element>(
    op: &Sums,
    x: &CpuStorage,
    lx: &Layout,
    g: &CpuStorage,
    lg: &Layout,
) -> Result<(CpuStorage, Shape)> {
    check(op.name(), &op.1.shape(lx.shape()), lg)?;
    let (x, g) = (values::<T>(x, lx, op.name())?, values::<T>(g, lg, op.name())?);
    let (known, c) = (&op.0, op.0.mean.len());
    let sums = moments(&op.2, &op.1, x, known, g)?;
    let scaled = sums.iter().enumerate().map(|(k, &sum)| T::of(if k < c { sum } else { sum * known.inverse[k - c] }));
    Ok(stored::<T>(scaled.collect(), (2, c)))
}

impl CustomOp2 for Sums {
    fn name(&self) -> &'static str {
        "batch-norm-sums"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout, g: &CpuStorage, lg: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(x, self.name(), sums_kernel(self, x, lx, g, lg))
    }

    fn bwd(&self, x: &Tensor, g: &Tensor, _result: &Tensor, u: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (plain, weighted) = (u.get(0)?, u.get(1)?);
        let dx = derivatives(x, g, &weighted, &self.0, &self.1, (x.track_op(), false))?.x;
        let dg = match g.track_op() {
            true => Some(self.1.gather(&normalized(x, &weighted, &plain, &self.0)?)?),
            false => None,
        };
        Ok((dx, dg))
    }
}

/// w/σ · P G, where G is g at the values that got through.
struct Gradient(Arc<Known>, Select, Moments);

impl Gradient {
    fn kernel<T: Element>(
        &self,
        [x, g, w]: [&CpuStorage; 3],
        [lx, lg, lw]: [&Layout; 3],
    ) -> Result<(CpuStorage, Shape)> {
        let name = self.name();
        check(name, &self.1.shape(lx.shape()), lg)?;
        let (x, g, w) = (values::<T>(x, lx, name)?, values::<T>(g, lg, name)?, wide(values::<T>(w, lw, name)?));
        let (known, c) = (&self.0, w.len());
        let (m, sums) = ((x.len() / c) as f64, moments(&self.2, &self.1, x, known, g)?);
        let (mut by_x, mut by_g, mut shift) = (w.clone(), w.clone(), w);
        for k in 0..c {
            let (inverse, s, t) = (known.inverse[k], sums[k], sums[c + k]);
            by_g[k] *= inverse;
            by_x[k] = -by_g[k] * inverse * inverse * t / m;
            shift[k] = -by_g[k] * s / m;
        }
        let dx = self.1.mix((x, &by_x), &known.mean, (g, &by_g), &shift)?;
        Ok(stored::<T>(dx, lx.shape().clone()))
    }
}

impl CustomOp3 for Gradient {
    fn name(&self) -> &'static str {
        "batch-norm-gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        g: &CpuStorage,
        lg: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match x.dtype() {
            DType::F32 => self.kernel::<f32>([x, g, w], [lx, lg, lw]),
            DType::F64 => self.kernel::<f64>([x, g, w], [lx, lg, lw]),
            other => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        g: &Tensor,
        weight: &Tensor,
        _result: &Tensor,
        v: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (known, select, v) = (&self.0, &self.1, v.contiguous()?);
        let spread = select.spread(g)?;
        let dx = if x.track_op() {
            Some(x.apply3(&spread, &multiply_per_channel(&v, weight)?, SecondGradient(known.clone()))?)
        } else {
            None
        };
        let dg = if g.track_op() { Some(select.gather(&gradient(x, &v, weight, known)?)?) } else { None };
        let dw = if weight.track_op() { Some(x.apply3(&spread, &v, Projected(known.clone()))?) } else { None };
        Ok((dx, dg, dw))
    }
}

/// The five sums of (x, g, v), in words: Σg, ⟨g, x̂⟩, Σv, ⟨v, x̂⟩ and ⟨v, P g⟩, for one channel.
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
    let sums = channels::pair_moments(InstructionSet::best(), x, &known.mean, g, v);
    let pair = |k: usize| {
        let at = |i: usize| sums[i * c + k];
        let (s, t, sv, tv) = (at(0), at(1) * known.inverse[k], at(2), at(3) * known.inverse[k]);
        Pair { s, t, sv, tv, projected: at(4) - (s * sv + t * tv) / m }
    };
    (0..c).map(pair).collect()
}

/// `(c)`: 1/σ · ⟨v, P g⟩, symmetric in g and v.
struct Projected(Arc<Known>);

impl Projected {
    fn kernel<T: Element>(
        &self,
        [x, g, v]: [&CpuStorage; 3],
        [lx, lg, lv]: [&Layout; 3],
    ) -> Result<(CpuStorage, Shape)> {
        let name = self.name();
        check(name, lx.shape(), lg)?;
        check(name, lx.shape(), lv)?;
        let (x, g, v) = (values::<T>(x, lx, name)?, values::<T>(g, lg, name)?, values::<T>(v, lv, name)?);
        let known = &self.0;
        let sums: Vec<T> =
            pairs(x, g, v, known).iter().zip(&known.inverse).map(|(p, i)| T::of(p.projected * i)).collect();
        Ok(stored::<T>(sums, known.mean.len()))
    }
}

impl CustomOp3 for Projected {
    fn name(&self) -> &'static str {
        "batch-norm-projected"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        g: &CpuStorage,
        lg: &Layout,
        v: &CpuStorage,
        lv: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match x.dtype() {
            DType::F32 => self.kernel::<f32>([x, g, v], [lx, lg, lv]),
            DType::F64 => self.kernel::<f64>([x, g, v], [lx, lg, lv]),
            other => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        g: &Tensor,
        v: &Tensor,
        _result: &Tensor,
        u: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let known = &self.0;
        let dx = x.apply3(g, &multiply_per_channel(v, u)?, SecondGradient(known.clone()))?;
        Ok((Some(dx), Some(gradient(x, v, u, known)?), Some(gradient(x, g, u, known)?)))
    }
}

/// −1/(m σ²) · (x̂ ⟨v, P g⟩ + ⟨g, x̂⟩ P v + ⟨v, x̂⟩ P g), symmetric in g and v.
struct SecondGradient(Arc<Known>);

impl SecondGradient {
    fn kernel<T: Element>(
        &self,
        [x, g, v]: [&CpuStorage; 3],
        [lx, lg, lv]: [&Layout; 3],
    ) -> Result<(CpuStorage, Shape)> {
        let name = self.name();
        check(name, lx.shape(), lg)?;
        check(name, lx.shape(), lv)?;
        let (x, g, v) = (values::<T>(x, lx, name)?, values::<T>(g, lg, name)?, values::<T>(v, lv, name)?);
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
        Ok(stored::<T>(dx, lx.shape().clone()))
    }
}

impl CustomOp3 for SecondGradient {
    fn name(&self) -> &'static str {
        "batch-norm-second-gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        g: &CpuStorage,
        lg: &Layout,
        v: &CpuStorage,
        lv: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        match x.dtype() {
            DType::F32 => self.kernel::<f32>([x, g, v], [lx, lg, lv]),
            DType::F64 => self.kernel::<f64>([x, g, v], [lx, lg, lv]),
            other => bail!("{}: takes f32 or f64, not {other:?}", self.name()),
        }
    }

    /// The operation is k · (x̂ α + β V + γ D) with k = −1/(m σ), D = 1/σ · P g, V = 1/σ · P v,
    /// α = ⟨v, D⟩, β = ⟨g, x̂⟩, γ = ⟨v, x̂⟩, each an operation whose gradient is known; u runs
    /// back through it.
    fn bwd(
        &self,
        x: &Tensor,
        g: &Tensor,
        v: &Tensor,
        _result: &Tensor,
        u: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (known, u, m) = (&self.0, u.contiguous()?, rows(x)?);
        let ones = Tensor::ones(known.mean.len(), x.dtype(), x.device())?;
        let by = multiply_per_channel;
        let second = |g: &Tensor, v: &Tensor| x.apply3(g, v, SecondGradient(known.clone()));

        let hat = normalized(x, &ones, &ones.zeros_like()?, known)?;
        let (d_g, d_v) = (gradient(x, g, &ones, known)?, gradient(x, v, &ones, known)?);
        let inverse = (batch_statistics(x)?.variance + known.eps)?.sqrt()?.recip()?;
        let k = (&inverse * (-1.0 / m))?;
        let (alpha, beta, gamma) = (channel_dot(v, &d_g)?, channel_dot(g, &hat)?, channel_dot(v, &hat)?);
        let (u_hat, u_v, u_g) = (channel_dot(&u, &hat)?, channel_dot(&u, &d_v)?, channel_dot(&u, &d_g)?);
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
        Ok((Some(dx), Some(dg), Some(dv)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_norm;
    use crate::test_support::{check_derivatives, check_gradients, near, random};
    use proptest::prelude::*;

    fn known(x: &Tensor) -> Arc<Known> {
        let statistics = batch_statistics(x).unwrap();
        let inverse = statistics.variance.to_vec1::<f64>().unwrap().iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
        Arc::new(Known { mean: statistics.mean.to_vec1().unwrap(), inverse, eps: 1e-5 })
    }

    fn list(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn batch_norm_and_its_statistics_have_right_derivatives(n in 1usize..4, h in 1usize..4, c in 1usize..6) {
            let inputs = [random("x", (n + 1, h, 2, c)), random("weight", c), random("bias", c)];
            check_gradients(&inputs, |v| {
                let (y, statistics) = batch_norm_by_batch(&v[0], &v[1], &v[2], 1e-5)?;
                y.powf(3.0)?.broadcast_mul(&statistics.mean)?.broadcast_add(&statistics.variance)
            });
        }

        #[test]
        fn the_fused_norm_equals_the_composed_one(n in 1usize..4, h in 1usize..9, c in 1usize..40) {
            let (x, weight, bias) = (random("x", (n, h, h, c)), random("weight", c), random("bias", c));
            let right = batch_norm(&x, &batch_statistics(&x).unwrap(), &weight, &bias, 1e-3).unwrap();
            let (y, _) = batch_norm_by_batch(&x, &weight, &bias, 1e-3).unwrap();
            near(&list(&y), &list(&right), 1e-12);
            let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
            let (y, _) = batch_norm_by_batch(&narrow(&x), &narrow(&weight), &narrow(&bias), 1e-3).unwrap();
            near(&list(&y), &list(&right), 1e-5);
        }
    }

    #[test]
    fn its_gradient_is_differentiable_twice_more() {
        let inputs = [random("x", (3, 2, 2, 3)), random("g", (3, 2, 2, 3)), random("v", (3, 2, 2, 3)), random("w", 3)];
        check_derivatives(&inputs, |v| gradient(&v[0], &v[1], &v[3], &known(&v[0]))?.powf(2.0));
        check_derivatives(&inputs, |v| {
            v[0].apply2(&v[1], Sums(known(&v[0]), Select::All, Moments::default()))?.powf(2.0)
        });
        check_derivatives(&inputs, |v| v[0].apply3(&v[1], &v[2], Projected(known(&v[0])))?.powf(2.0));
        check_derivatives(&inputs, |v| v[0].apply3(&v[1], &v[2], SecondGradient(known(&v[0])))?.powf(2.0));
    }

    #[test]
    fn channels_without_variance_give_the_bias_and_nan_spreads_in_its_channel_only() {
        let x = Tensor::new(&[[3f32, 1.0], [3.0, f32::NAN]], &candle_core::Device::Cpu).unwrap();
        let (ones, halves) = (x.ones_like().unwrap().get(0).unwrap(), Tensor::new(&[0.5f32, 0.5], x.device()).unwrap());
        let (y, _) = batch_norm_by_batch(&x, &ones, &halves, 1e-5).unwrap();
        let y = y.to_vec2::<f32>().unwrap();
        assert_eq!([y[0][0], y[1][0]], [0.5, 0.5]);
        assert!(y[0][1].is_nan() && y[1][1].is_nan());
    }

    #[test]
    fn weights_that_do_not_fit_are_an_error_that_names_both() {
        let error = batch_norm_by_batch(&random("x", (2, 3)), &random("w", 4), &random("b", 4), 1e-5).unwrap_err();
        assert!(error.to_string().contains("[2, 3]") && error.to_string().contains("[4]"), "{error}");
    }
}
