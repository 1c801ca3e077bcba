//! A frozen network as a map from inputs to features.

use crate::{Context, LearnError, Result, TaskNorm, methods::network_part};
use candle_core::Tensor;
use taper_models::{Buffers, Head, Network, Params, State};

/// A frozen network's features, normalized by the task's norm. Inputs `(n, d)`, which are already
/// features, pass through.
#[derive(Debug, Clone)]
pub struct Embedding {
    network: Network,
    state: State,
    norm: TaskNorm,
}

impl Embedding {
    /// The features of `network` with `state`.
    pub fn new(network: Network, state: State, norm: TaskNorm) -> Self {
        Self { network, state, norm }
    }

    /// The features of a method's trained network.
    pub fn of(context: &Context, state: &State) -> Self {
        Self::new(context.network.clone(), network_part(state), context.norm)
    }

    /// Whose statistics it uses.
    pub fn norm(&self) -> TaskNorm {
        self.norm
    }

    /// Features of a support set, and the map for this task's queries.
    ///
    /// # Errors
    /// Returns an error if the images don't fit the network.
    pub fn support(&self, inputs: &Tensor) -> Result<(Tensor, TaskEmbedding)> {
        let (forward, statistics) =
            self.norm.support(&self.network, &self.state.params, &self.state.buffers, inputs, None)?;
        let task = TaskEmbedding { embedding: self.clone(), statistics: statistics.detached() };
        Ok((forward.features.detach(), task))
    }
}

/// An [`Embedding`] bound to one task's statistics.
#[derive(Debug, Clone)]
pub struct TaskEmbedding {
    embedding: Embedding,
    statistics: Buffers,
}

impl TaskEmbedding {
    /// The network that makes the features.
    pub(crate) fn network(&self) -> &Network {
        &self.embedding.network
    }

    /// Features `(n, d)` of queries.
    ///
    /// # Errors
    /// Returns an error if the images don't fit the network.
    pub fn query(&self, inputs: &Tensor) -> Result<Tensor> {
        let Embedding { network, state, norm } = &self.embedding;
        Ok(norm.query(network, &state.params, &self.statistics, inputs, None)?.features.detach())
    }

    /// The network with a linear head of `weight (ways, d)` and `bias (ways)` on these features.
    ///
    /// # Errors
    /// Returns an error for transductive features, because no network computes them for a single image.
    pub fn with_linear_head(&self, weight: &Tensor, bias: &Tensor) -> Result<(Network, State)> {
        let name = self.embedding.network.backbone().head_name();
        let head: Params = [(format!("{name}.weight"), weight.detach()), (format!("{name}.bias"), bias.detach())]
            .into_iter()
            .collect();
        self.with_head(Head::Linear { outputs: weight.dim(0)? }, &head)
    }

    /// The network with a head of these parameters on these features.
    ///
    /// # Errors
    /// Returns an error for transductive features, because no network computes them for a single image.
    pub fn with_head(&self, head: Head, params: &Params) -> Result<(Network, State)> {
        let Embedding { network, state, norm } = &self.embedding;
        if norm.transductive() {
            return Err(LearnError::Invalid(
                "a transductive learner can't be kept as a classifier of single images: train with the norm `support`"
                    .into(),
            ));
        }
        let params = state.params.filter(|name| !network.in_head(name)).merged(params);
        Ok((network.with_head(head), State { params, buffers: self.statistics.clone() }))
    }
}
