//! What follows a batch norm and selects among its values: ReLU, or ReLU with max pooling. The
//! selection does not depend smoothly on the values: to derivatives of any order it
//! is a constant, and applying it, or its transpose, is linear.

use crate::element::{Element, by_type, stored, values};
use crate::kernels::channels::{self, RowsPerChunk};
use crate::kernels::pool;
use crate::kernels::simd::InstructionSet;
use crate::pooling::{PoolIndices, gather, pool_indices, scatter};
use crate::tape::Apply;
use crate::{Window, kernels::pool::Centered};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// What follows a batch norm, computed in the same pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epilogue {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// ReLU, then max pooling.
    ReluPool(Window),
}

/// 1 for each value that was selected.
type Mask = Arc<OnceLock<Vec<u8>>>;

/// An [`Epilogue`] with its selection, filled by [`Select::apply`].
#[derive(Clone)]
pub(crate) enum Select {
    All,
    Positive(Mask),
    Pooled { window: Window, indices: PoolIndices, larger: Shape, smaller: Shape },
}

impl Select {
    /// The selection among values of this shape, not made yet.
    ///
    /// Fails if a window does not fit them.
    pub(crate) fn new(epilogue: Epilogue, shape: &Shape) -> Result<Self> {
        Ok(match epilogue {
            Epilogue::Nothing => Self::All,
            Epilogue::Relu => Self::Positive(Mask::default()),
            Epilogue::ReluPool(window) => {
                let (n, h, w, c) = shape.dims4()?;
                let (oh, ow) = window.output(h, w, "max pooling")?;
                let smaller = (n, oh, ow, c).into();
                Self::Pooled { window, indices: PoolIndices::default(), larger: shape.clone(), smaller }
            }
        })
    }

    /// The shape of the selected values, from values of `shape`.
    pub(crate) fn shape(&self, shape: &Shape) -> Shape {
        match self {
            Self::Pooled { smaller, .. } => smaller.clone(),
            _ => shape.clone(),
        }
    }

    /// Selects among `(x − mean) · scale + shift`, and returns the selected values.
    pub(crate) fn apply<T: Element>(&self, x: &[T], mean: &[f64], scale: &[f64], shift: &[T]) -> Result<Vec<T>> {
        let set = InstructionSet::best();
        Ok(match self {
            Self::All => channels::normalize(set, x, mean, scale, shift),
            Self::Positive(mask) => {
                let (y, positive) = channels::normalize_rectified(set, x, mean, scale, shift);
                let _ = mask.set(positive);
                y
            }
            Self::Pooled { window, indices, larger, .. } => {
                let (y, chosen) = pool::max(set, x, larger.dims4()?, *window, Some(Centered { mean, scale, shift }))?;
                let _ = indices.set(chosen);
                y
            }
        })
    }

    /// Σ G and Σ G · (x − mean) by channel, where G is `g` at the selected values.
    pub(crate) fn moments<T: Element>(&self, x: &[T], mean: &[f64], g: &[T], step: RowsPerChunk) -> Result<Vec<f64>> {
        let set = InstructionSet::best();
        Ok(match self {
            Self::All => channels::moments(set, x, mean, g, step),
            Self::Positive(mask) => channels::masked_moments(set, x, mean, g, made(mask)?),
            Self::Pooled { indices, .. } => pool::moments(set, x, mean, g, pool_indices(indices)?)?,
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
            Self::Pooled { indices, .. } => {
                pool::mix(set, (x, scale), mean, (g, g_scale), pool_indices(indices)?, shift)?
            }
        })
    }

    /// `(x − mean) · scale + G · g_scale + v · v_scale + shift`.
    pub(crate) fn mix_three<T: Element>(
        &self,
        (x, scale): channels::Weighted<T>,
        mean: &[f64],
        (g, g_scale): channels::Weighted<T>,
        (v, v_scale): channels::Weighted<T>,
        shift: &[f64],
    ) -> Result<Vec<T>> {
        let set = InstructionSet::best();
        let mix = |g: &[T]| channels::mix_three(set, (x, scale), mean, (g, g_scale), (v, v_scale), shift);
        Ok(match self {
            Self::All => mix(g),
            Self::Positive(mask) => mix(&masked(g.to_vec(), mask)?),
            Self::Pooled { indices, .. } => {
                let indices = pool_indices(indices)?;
                pool::mix_three(set, (x, scale), mean, (g, g_scale), (v, v_scale), indices, shift)?
            }
        })
    }

    /// `(x − mean) · scale + shift` at the selected values.
    pub(crate) fn normalize_selected<T: Element>(
        &self,
        x: &[T],
        mean: &[f64],
        scale: &[f64],
        shift: &[T],
    ) -> Result<Vec<T>> {
        let set = InstructionSet::best();
        Ok(match self {
            Self::All => channels::normalize(set, x, mean, scale, shift),
            Self::Positive(mask) => masked(channels::normalize(set, x, mean, scale, shift), mask)?,
            Self::Pooled { indices, .. } => {
                pool::normalize_chosen(set, (x, scale), mean, pool_indices(indices)?, shift)?
            }
        })
    }

    /// `(x − mean) · scale + v · v_scale + shift` at the selected values.
    pub(crate) fn mix_selected<T: Element>(
        &self,
        (x, scale): channels::Weighted<T>,
        mean: &[f64],
        (v, v_scale): channels::Weighted<T>,
        shift: &[f64],
    ) -> Result<Vec<T>> {
        let set = InstructionSet::best();
        let mix = || channels::mix_two(set, (x, scale), mean, (v, v_scale), shift);
        Ok(match self {
            Self::All => mix(),
            Self::Positive(mask) => masked(mix(), mask)?,
            Self::Pooled { indices, .. } => {
                pool::mix_chosen(set, (x, scale), mean, (v, v_scale), pool_indices(indices)?, shift)?
            }
        })
    }

    /// G: `g` at the selected values, zeros elsewhere.
    pub(crate) fn spread(&self, g: &Tensor) -> Result<Tensor> {
        match self {
            Self::All => Ok(g.clone()),
            Self::Positive(mask) => g.contiguous()?.apply1(Masked(mask.clone())),
            Self::Pooled { indices, larger, smaller, .. } => scatter(g, indices, larger, smaller),
        }
    }

    /// The transpose: `v` at the selected values.
    pub(crate) fn gather(&self, v: &Tensor) -> Result<Tensor> {
        match self {
            Self::Pooled { indices, larger, smaller, .. } => gather(v, indices, larger, smaller),
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

/// Zeros for values that were not selected.
fn masked<T: Element>(mut values: Vec<T>, mask: &Mask) -> Result<Vec<T>> {
    let mask = made(mask)?;
    if values.len() != mask.len() {
        bail!("relu: {} values do not fit {} selections", values.len(), mask.len());
    }
    for (value, &through) in values.iter_mut().zip(mask) {
        *value = if through != 0 { *value } else { T::ZERO };
    }
    Ok(values)
}

/// Zeros for values that were not selected; it is its own transpose.
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
    Ok(stored::<T>(masked(v.to_vec(), &op.0)?, layout.shape().clone()))
}
