//! The first derivatives of batch norm: with respect to x, and to weight and bias.

use super::second::{Pairs, Projected, SecondGradient};
use super::selected::{GradientSelected, NormalizeSelected};
use super::shell::{Shell, Ternary, check};
use super::{Known, Normalize};
use crate::element::{Element, by_type, stored, values};
use crate::multiply_per_channel;
use crate::select::Select;
use crate::tape::Apply;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use std::sync::{Arc, OnceLock};

/// Σ g and Σ g · (x − mean) of one (x, g), computed once by whichever operation needs it first.
pub(super) type Moments = Arc<OnceLock<Vec<f64>>>;

pub(super) fn moments<T: Element>(
    shared: &Moments,
    select: &Select,
    x: &[T],
    known: &Known,
    g: &[T],
) -> Result<Vec<f64>> {
    if let Some(sums) = shared.get() {
        return Ok(sums.clone());
    }
    let sums = select.moments(x, &known.mean, g, known.step)?;
    let _ = shared.set(sums.clone());
    Ok(sums)
}

/// The derivatives of a norm with respect to its inputs.
pub(crate) struct Derivatives {
    /// With respect to x.
    pub(crate) x: Option<Tensor>,
    /// `(2, c)`: with respect to the bias, then to the weight.
    pub(crate) norm: Option<Tensor>,
}

/// The derivatives of ⟨g, the selected values of x̂ · w + b⟩, as needed for x and for the norm.
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
        true => Some(x.apply3(&g, &weight, Shell(Gradient(known.clone(), select.clone(), shared)))?),
        false => None,
    };
    Ok(Derivatives { x, norm })
}

/// x̂ · w + b.
pub(super) fn normalized(x: &Tensor, weight: &Tensor, bias: &Tensor, known: &Arc<Known>) -> Result<Tensor> {
    x.apply3(&weight.contiguous()?, &bias.contiguous()?, Shell(Normalize(known.clone(), Select::All)))
}

/// w/σ · P g.
pub(super) fn gradient(x: &Tensor, g: &Tensor, weight: &Tensor, known: &Arc<Known>) -> Result<Tensor> {
    let op = Shell(Gradient(known.clone(), Select::All, Moments::default()));
    x.apply3(&g.contiguous()?, &weight.contiguous()?, op)
}

/// `(2, c)`: Σ G, then Σ G x̂, where G is g at the selected values.
pub(super) struct Sums(pub(super) Arc<Known>, pub(super) Select, pub(super) Moments);

fn sums_kernel<T: Element>(
    op: &Sums,
    x: &CpuStorage,
    lx: &Layout,
    g: &CpuStorage,
    lg: &Layout,
) -> Result<(CpuStorage, Shape)> {
    check(op.name(), &op.1.shape(lx.shape()), lg.shape())?;
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
            true => {
                let op = NormalizeSelected(self.0.clone(), self.1.clone());
                Some(x.apply3(&weighted.contiguous()?, &plain.contiguous()?, Shell(op))?)
            }
            false => None,
        };
        Ok((dx, dg))
    }
}

/// w/σ · P G, where G is g at the selected values.
pub(super) struct Gradient(pub(super) Arc<Known>, pub(super) Select, pub(super) Moments);

impl Ternary for Gradient {
    const NAME: &'static str = "batch-norm-gradient";

    fn forward<T: Element>(&self, [x, g, w]: [&[T]; 3], [sx, sg, _]: [&Shape; 3]) -> Result<(Vec<T>, Shape)> {
        check(Self::NAME, &self.1.shape(sx), sg)?;
        let known = &self.0;
        let Factors { x: by_x, g: by_g, shift } =
            Factors::of(known, w, x.len() / w.len(), &moments(&self.2, &self.1, x, known, g)?);
        let dx = self.1.mix((x, &by_x), &known.mean, (g, &by_g), &shift)?;
        Ok((dx, sx.clone()))
    }

    fn backward(&self, [x, g, weight]: [&Tensor; 3], v: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let (known, select, v) = (&self.0, &self.1, v.contiguous()?);
        let pairs = Pairs::of(x, g, &v, (known, select), &self.2)?;
        // symmetric and linear in g and v: the weight goes to g, which may be smaller
        let dx = match x.track_op() {
            true => {
                let weighted = multiply_per_channel(g, weight)?;
                Some(x.apply3(&weighted, &v, Shell(SecondGradient(pairs.times(weight)?)))?)
            }
            false => None,
        };
        let dg = match g.track_op() {
            true => {
                Some(x.apply3(&v, weight, Shell(GradientSelected(known.clone(), select.clone(), pairs.moments())))?)
            }
            false => None,
        };
        let dw = match weight.track_op() {
            true => Some(x.apply3(g, &v, Shell(Projected(pairs)))?),
            false => None,
        };
        Ok([dx, dg, dw])
    }
}

/// What a gradient `w/σ · P g` takes of x, of g, and of 1, by channel.
pub(super) struct Factors {
    pub(super) x: Vec<f64>,
    pub(super) g: Vec<f64>,
    pub(super) shift: Vec<f64>,
}

impl Factors {
    /// The factors for `rows` rows of x, whose moments are `sums`.
    pub(super) fn of<T: Element>(known: &Known, weight: &[T], rows: usize, sums: &[f64]) -> Self {
        let (c, m) = (weight.len(), rows as f64);
        let g: Vec<f64> = weight.iter().zip(&known.inverse).map(|(w, inverse)| w.to_f64() * inverse).collect();
        let x = (0..c).map(|k| -g[k] * known.inverse[k] * known.inverse[k] * sums[c + k] / m).collect();
        let shift = (0..c).map(|k| -g[k] * sums[k] / m).collect();
        Self { x, g, shift }
    }
}
