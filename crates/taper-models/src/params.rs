//! Parameters and running statistics as values.

use crate::{ModelError, ParamSpec, Result};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use taper_ops::{dot, weighted_sum};

/// Named tensors that are differentiated. A value: learning makes new ones.
#[derive(Debug, Clone, Default)]
pub struct Params(BTreeMap<String, Tensor>);

/// Named tensors that are never differentiated: running means and variances.
#[derive(Debug, Clone, Default)]
pub struct Buffers(BTreeMap<String, Tensor>);

/// The values of a network.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// What learning changes.
    pub params: Params,
    /// Running statistics.
    pub buffers: Buffers,
}

macro_rules! named_tensors {
    ($name:ident) => {
        impl $name {
            /// The tensor of that name.
            ///
            /// # Errors
            ///
            /// Returns an error if there is no such tensor.
            pub fn get(&self, name: &str) -> Result<&Tensor> {
                self.0.get(name).ok_or_else(|| ModelError::Missing(name.to_string()))
            }

            /// Names and tensors, by name.
            pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
                self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
            }

            /// How many tensors there are.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether it is empty.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The total number of elements.
            pub fn count(&self) -> usize {
                self.0.values().map(Tensor::elem_count).sum()
            }

            /// `f` of every tensor.
            pub fn map(&self, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Self> {
                self.0.iter().map(|(name, tensor)| Ok((name.clone(), f(tensor)?))).collect()
            }

            /// `f` of every tensor and the other's tensor of the same name.
            ///
            /// # Errors
            ///
            /// Returns an error if the other lacks a tensor.
            pub fn zip(
                &self,
                other: &Self,
                f: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
            ) -> Result<Self> {
                self.0.iter().map(|(name, tensor)| Ok((name.clone(), f(tensor, other.get(name)?)?))).collect()
            }

            /// The same values, detached from the gradient graph.
            pub fn detached(&self) -> Self {
                self.0.iter().map(|(name, tensor)| (name.clone(), tensor.detach())).collect()
            }

            /// The same in another element type.
            pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
                self.map(|tensor| tensor.to_dtype(dtype))
            }

            /// The tensors whose names satisfy the condition.
            pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
                self.0
                    .iter()
                    .filter(|(name, _)| keep(name))
                    .map(|(name, tensor)| (name.clone(), tensor.clone()))
                    .collect()
            }

            /// The tensors under `prefix.`, named without it.
            pub fn under(&self, prefix: &str) -> Self {
                self.iter()
                    .filter_map(|(name, tensor)| {
                        let rest = name.strip_prefix(prefix)?.strip_prefix('.')?;
                        Some((rest.to_string(), tensor.clone()))
                    })
                    .collect()
            }

            /// All tensors, named `prefix.name`.
            pub fn prefixed(&self, prefix: &str) -> Self {
                self.iter().map(|(name, tensor)| (format!("{prefix}.{name}"), tensor.clone())).collect()
            }

            /// The union of both; the other's tensors win.
            pub fn merged(&self, other: &Self) -> Self {
                self.0.iter().chain(&other.0).map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
            }
        }

        impl FromIterator<(String, Tensor)> for $name {
            fn from_iter<I: IntoIterator<Item = (String, Tensor)>>(pairs: I) -> Self {
                Self(pairs.into_iter().collect())
            }
        }
    };
}
named_tensors!(Params);
named_tensors!(Buffers);

impl Params {
    /// `self − rate · direction`.
    pub fn minus(&self, rate: f64, direction: &Self) -> Result<Self> {
        self.zip(direction, |value, step| weighted_sum(1.0, value, -rate, step))
    }

    /// `self + rate · direction`.
    pub fn plus(&self, rate: f64, direction: &Self) -> Result<Self> {
        self.minus(-rate, direction)
    }

    /// `factor · self`.
    pub fn scaled(&self, factor: f64) -> Result<Self> {
        self.map(|tensor| tensor * factor)
    }

    /// Zeros of the same shapes.
    pub fn zeros(&self) -> Result<Self> {
        self.map(Tensor::zeros_like)
    }

    /// Euclidean norm of all elements together, summed in f64.
    pub fn norm(&self) -> Result<f64> {
        let mut total = 0.0;
        for (_, tensor) in self.iter() {
            let tensor = tensor.detach();
            total += dot(&tensor, &tensor)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        }
        Ok(total.sqrt())
    }
}

/// The statistics of one batch in every normalization of a network, still tracked.
#[derive(Debug, Clone, Default)]
pub struct BatchStatistics {
    /// `….running_mean` and `….running_var` (biased) of this batch.
    pub buffers: Buffers,
    /// The number of rows of each layer's statistics, by the layer's name.
    pub rows: BTreeMap<String, usize>,
}

impl BatchStatistics {
    /// Adds the statistics of one layer.
    pub fn record(&mut self, layer: &str, statistics: &taper_ops::Statistics, rows: usize) {
        self.buffers.0.insert(format!("{layer}.running_mean"), statistics.mean.clone());
        self.buffers.0.insert(format!("{layer}.running_var"), statistics.variance.clone());
        self.rows.insert(layer.to_string(), rows);
    }

    /// The same values, detached from their graph, which keeps a whole forward pass alive.
    pub fn detached(&self) -> Self {
        Self { buffers: self.buffers.detached(), rows: self.rows.clone() }
    }
}

/// How far running statistics move toward those of a batch, as in PyTorch.
const MOMENTUM: f64 = 0.1;

impl Buffers {
    /// Running statistics moved a tenth of the way toward those of a batch, with the variance's unbiased
    /// estimate, as in PyTorch. Buffers without batch statistics stay the same. The result is detached.
    pub fn moved(&self, batch: &BatchStatistics) -> Result<Self> {
        let mut moved = self.clone();
        for (layer, &rows) in &batch.rows {
            let unbiased = rows as f64 / (rows as f64 - 1.0).max(1.0);
            for (kind, factor) in [("running_mean", 1.0), ("running_var", unbiased)] {
                let name = format!("{layer}.{kind}");
                let old = (self.get(&name)? * (1.0 - MOMENTUM))?;
                let new = (batch.buffers.get(&name)?.detach() * (MOMENTUM * factor))?;
                moved.0.insert(name, (old + new)?);
            }
        }
        Ok(moved.detached())
    }

    /// Whether a parameter is the scale or shift of a norm that has running statistics here.
    pub fn normalize(&self, parameter: &str) -> bool {
        let layer = parameter.rsplit_once('.').map_or("", |(layer, _)| layer);
        self.get(&format!("{layer}.running_mean")).is_ok()
    }
}

impl State {
    /// Adds the tensor of a spec.
    pub(crate) fn insert(&mut self, slot: &ParamSpec, tensor: Tensor) {
        let tensors = if slot.buffer { &mut self.buffers.0 } else { &mut self.params.0 };
        tensors.insert(slot.name.clone(), tensor);
    }

    /// The same values in another element type.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self { params: self.params.to_dtype(dtype)?, buffers: self.buffers.to_dtype(dtype)? })
    }
}
