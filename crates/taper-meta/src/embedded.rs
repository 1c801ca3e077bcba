//! A training episode as features: the starting point of every method that compares features.

use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use taper_data::Episode;
use taper_learn::{Context, Draw, Result, evaluation::accuracy, methods::is_own, training::Gradient};
use taper_models::{Leaves, Params, State};
use taper_ops::cross_entropy;

/// The features of an episode's images, tracked, and all learned parameters as leaves.
pub(crate) struct Embedded {
    /// `(n, d)`.
    pub(crate) support: Tensor,
    /// `(m, d)`.
    pub(crate) query: Tensor,
    /// The state's parameters; those that are learned are tracked.
    pub(crate) params: Params,
    leaves: Leaves,
}

impl Embedded {
    /// Features for learning all parameters except the head's.
    pub(crate) fn new(context: &Context, state: &State, episode: &Episode, at: Draw) -> Result<Self> {
        Self::of(context, state, episode, at, |name| is_own(name) || !context.network.in_head(name))
    }

    /// Features for learning all parameters, including the head's.
    pub(crate) fn with_head(context: &Context, state: &State, episode: &Episode, at: Draw) -> Result<Self> {
        Self::of(context, state, episode, at, |_| true)
    }

    fn of(
        context: &Context,
        state: &State,
        episode: &Episode,
        at: Draw,
        learned: impl Fn(&str) -> bool,
    ) -> Result<Self> {
        let Context { network, norm, .. } = context;
        let leaves = Leaves::new(&state.params.filter(learned))?;
        let params = state.params.merged(&leaves.params());
        let rng = |stream| Some(at.rng(stream));
        let (support, statistics) =
            norm.support(network, &params, &state.buffers, &episode.support.inputs, rng("support dropout"))?;
        let query = norm.query(network, &params, &statistics, &episode.query.inputs, rng("query dropout"))?;
        Ok(Self { support: support.features, query: query.features, params, leaves })
    }

    /// The gradient of the queries' cross-entropy, from their logits `(m, ways)`.
    pub(crate) fn cross_entropy(&self, logits: &Tensor, episode: &Episode) -> Result<Gradient> {
        self.loss(&cross_entropy(logits, &episode.query.labels, 0.0)?, logits, episode)
    }

    /// The gradient of a loss, a scalar.
    pub(crate) fn loss(&self, loss: &Tensor, logits: &Tensor, episode: &Episode) -> Result<Gradient> {
        Ok(Gradient {
            metrics: BTreeMap::from([("accuracy", accuracy(logits, &episode.query.labels)?)]),
            ..Gradient::of(loss.to_dtype(DType::F64)?.to_scalar()?, self.leaves.gradient(loss)?)
        })
    }
}
