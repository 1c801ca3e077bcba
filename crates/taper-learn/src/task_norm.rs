//! Whose statistics normalize a task.

use crate::{LearnError, Result};
use candle_core::Tensor;
use std::fmt;
use std::str::FromStr;
use taper_models::{Buffers, Forward, Mode, Network, Norm, Params};
use taper_ops::Rng;

/// Whose statistics batch norm uses inside a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskNorm {
    /// The support set's, for support and queries: every query is classified independently.
    Support,
    /// Each batch's own: predictions depend on the other queries (transductive).
    Batch,
    /// The stored ones.
    Stored,
    /// Separate stored ones for every inner step (MAML++).
    PerStep,
}

impl TaskNorm {
    /// The error of a method that does not keep statistics per inner step.
    pub fn per_step_elsewhere() -> LearnError {
        LearnError::Invalid("only maml++ supports the norm `per-step`: use the norm `support`".into())
    }

    /// Returns `true` if predictions depend on the other queries (transductive inference).
    pub fn transductive(self) -> bool {
        self == Self::Batch
    }

    /// A forward pass over the support set, and the statistics to normalize queries
    /// by, tracked (see [`TaskNorm::query`]).
    ///
    /// # Errors
    /// Returns an error if the images don't fit the network.
    pub fn support(
        self,
        network: &Network,
        params: &Params,
        buffers: &Buffers,
        inputs: &Tensor,
        dropout: Option<Rng>,
    ) -> Result<(Forward, Buffers)> {
        let norm = match self {
            Self::Support | Self::Batch => Norm::Batch,
            Self::Stored => Norm::Stored,
            Self::PerStep => return Err(Self::per_step_elsewhere()),
        };
        let forward = network.forward(params, buffers, inputs, Mode { norm, dropout, ..Mode::evaluate() })?;
        let statistics = buffers.merged(&forward.statistics.buffers);
        Ok((forward, statistics))
    }

    /// A forward pass over queries, normalized by what [`TaskNorm::support`] gave.
    ///
    /// # Errors
    /// Returns an error if the images don't fit the network.
    pub fn query(
        self,
        network: &Network,
        params: &Params,
        statistics: &Buffers,
        inputs: &Tensor,
        dropout: Option<Rng>,
    ) -> Result<Forward> {
        let norm = if self == Self::Batch { Norm::Batch } else { Norm::Stored };
        Ok(network.forward(params, statistics, inputs, Mode { norm, dropout, ..Mode::evaluate() })?)
    }
}

impl fmt::Display for TaskNorm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Support => "support",
            Self::Batch => "batch",
            Self::Stored => "stored",
            Self::PerStep => "per-step",
        })
    }
}

impl FromStr for TaskNorm {
    type Err = LearnError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "support" => Ok(Self::Support),
            "batch" => Ok(Self::Batch),
            "stored" => Ok(Self::Stored),
            "per-step" => Ok(Self::PerStep),
            other => {
                Err(LearnError::Invalid(format!("`{other}` is not a norm: use support, batch, stored or per-step")))
            }
        }
    }
}
