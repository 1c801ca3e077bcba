//! What follows a batch norm and picks among its values: ReLU, or ReLU with max pooling. Which
//! values get through depends on them, but not smoothly: to derivatives of any order the choice is
//! a constant, and applying it, or its transpose, is linear.

use crate::element::{Element, by_type, stored, values};
use crate::kernels::channels;
use crate::kernels::pool;
use crate::kernels::simd::InstructionSet;
use crate::pooling::{Winners, gather, scatter, won};
use crate::tape::Apply;
use crate::{Window, kernels::pool::Centerd};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// What follows a batch norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// ReLU, then max pooling.
    ReluPool(Window),
}

/// 1 where a value got through.
type Mask = Arc<OnceLock<Vec<u8>>>;

/// A [`Epilogue`] with the choice that it made, filled by [`Select::apply`].
#[derive(Clone)]
pub(crate) enum Select {
    All,
    Positive(Mask),
    Winners { window: Window, winners: Winners, larger: Shape, smaller: Shape },
}

impl Select {
    /// The choice, not yet made, among values of that shape.
    ///
    /// Errs when a window does not fit them.
    pub(crate) fn new(epilogue: Epilogue, shape: &Shape) -> Result<Self> {
        Ok(match epilogue {
            Epilogue::Nothing => Self::All,
            Epilogue::Relu => Self::Positive(Mask::default()),
            Epilogue::ReluPool(window) => {
                let (n, h, w, c) = shape.dims4()?;
                let (oh, ow) = window.output(h, w, "max pooling")?;
                let smaller = (n, oh, ow, c).into();
                Self::Winners { window, winners: Winners::default(), larger: shape.clone(), smaller }
            }
        })
    }

    /// The shape of what gets through, from values of `shape`.
    pub(crate) fn shape(&self, shape: &Shape) -> Shape {
        match self {
            Self::Winners { smaller, .. } => smaller.clone(),
            _ => shape.clone(),
        }
    }

    /// Makes the choice among `(x − mean) · scale + shift`, and gives what gets through.
    pub(crate) fn apply<T: Element>(&self, x: &[T], mean: &[f64], scale: &[f64], shift: &[T]) -> Result<Vec<T>> {
        let set = InstructionSet::best();
        Ok(match self {
            Self::All => channels::normalize(set, x, mean, scale, shift),
            Self::Positive(mask) => {
                let (y, positive) = channels::normalize_rectified(set, x, mean, scale, shift);
                let _ = mask.set(positive);
                y
            }
            Self::Winners { window, winners, larger, .. } => {
                let (y, chosen) = pool::max(set, x, larger.dims4()?, *window, Some(Centerd { mean, scale, shift }))?;
                let _ = winners.set(chosen);
                y
            }
        })
    }

    /// Σ G and Σ G · (x − mean) by channel, where G is `g` at the values that got through.
    pub(crate) fn moments<T: Element>(&self, x: &[T], mean: &[f64], g: &[T]) -> Result<Vec<f64>> {
        let set = InstructionSet::best();
        Ok(match self {
            Self::All => channels::moments(set, x, mean, g),
            Self::Positive(mask) => channels::masked_moments(set, x, mean, g, made(mask)?),
            Self::Winners { winners, .. } => pool::moments(set, x, mean, g, won(winners)?)?,
        })
    }

    /// `(x − mean) · scale + G · g_scale + shift`.
    pub(crate) fn mix<T: Element>(
        &self,
        (x, scale): channels::Weighted<T>,
        mean: &[f64],
        (g, g_scale): channels::Weighted<T>,
        shift: &[f64],
    ) -> Result<Vec<T>> {
        let set = InstructionSet::best();
        Ok(match self {
            Self::All => channels::mix_two(set, (x, scale), mean, (g, g_scale), shift),
            Self::Positive(mask) => channels::masked_mix_two(set, (x, scale), mean, (g, g_scale), made(mask)?, shift),
            Self::Winners { winners, .. } => pool::mix(set, (x, scale), mean, (g, g_scale), won(winners)?, shift)?,
        })
    }

    /// G: `g` at the values that got through, zeros elsewhere.
    pub(crate) fn spread(&self, g: &Tensor) -> Result<Tensor> {
        match self {
            Self::All => Ok(g.clone()),
            Self::Positive(mask) => g.contiguous()?.apply1(Masked(mask.clone())),
            Self::Winners { winners, larger, smaller, .. } => scatter(g, winners, larger, smaller),
        }
    }

    /// The transpose: `v` at the values that got through.
    pub(crate) fn gather(&self, v: &Tensor) -> Result<Tensor> {
        match self {
            Self::Winners { winners, larger, smaller, .. } => gather(v, winners, larger, smaller),
            _ => self.spread(v),
        }
    }
}

fn made(mask: &Mask) -> Result<&[u8]> {
    match mask.get() {
        Some(mask) => Ok(mask),
        None => bail!("relu: its backward pass ran before its forward pass"),
    }
}

/// Zeros where nothing got through: its own transpose.
struct Masked(Mask);

impl CustomOp1 for Masked {
    fn name(&self) -> &'static str {
        "relu-mask"
    }

    fn cpu_fwd(&self, v: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!(v, self.name(), masked_kernel(v, layout, self))
    }

    fn bwd(&self, _v: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(gradient.contiguous()?.apply1(Masked(self.0.clone()))?))
    }
}

fn masked_kernel<T: Element>(v: &CpuStorage, layout: &Layout, op: &Masked) -> Result<(CpuStorage, Shape)> {
    let v = values::<T>(v, layout, op.name())?;
    let mask = made(&op.0)?;
    if v.len() != mask.len() {
        bail!("{}: {:?} does not fit {} choices", op.name(), layout.dims(), mask.len());
    }
    let y = v.iter().zip(mask).map(|(&v, &through)| if through != 0 { v } else { T::ZERO }).collect();
    Ok(stored::<T>(y, layout.shape().clone()))
}
