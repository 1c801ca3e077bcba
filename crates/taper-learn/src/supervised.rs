//! Ordinary supervised learning: the cross-entropy of a batch, of the parameters that are trained.

use crate::{Draw, Gradient, Objective, Result, accuracy};
use std::collections::BTreeMap;
use taper_data::Batch;
use taper_models::{Buffers, Leaves, Mode, Network, Norm, State};
use taper_ops::cross_entropy;

/// Cross-entropy of a network on batches.
#[derive(Debug, Clone)]
pub struct Supervised {
    /// The network.
    pub network: Network,
    /// Is its head all that is trained?
    pub head_only: bool,
    /// By the batch's statistics (running ones follow), or by the stored ones, which stay.
    pub norm: Norm,
    /// Label smoothing, 0 for none.
    pub smoothing: f64,
}

impl Objective for Supervised {
    type Item = Batch;

    fn gradient(&self, state: &State, batch: &Batch, at: Draw) -> Result<Gradient> {
        let trained = state.params.filter(|name| !self.head_only || self.network.in_head(name));
        let leaves = Leaves::new(&trained)?;
        let params = state.params.merged(&leaves.params());
        let mode = Mode { norm: self.norm, dropout: Some(at.rng("dropout")), ..Mode::evaluate() };
        let forward = self.network.forward(&params, &state.buffers, &batch.inputs, mode)?;
        let loss = cross_entropy(&forward.output, &batch.labels, self.smoothing)?;
        let buffers = match self.norm {
            Norm::Batch => state.buffers.moved(&forward.statistics)?,
            Norm::Stored => Buffers::default(),
        };
        Ok(Gradient {
            loss: loss.to_dtype(candle_core::DType::F64)?.to_scalar()?,
            metrics: BTreeMap::from([("accuracy", accuracy(&forward.output, &batch.labels)?)]),
            params: leaves.gradient(&loss)?,
            buffers,
        })
    }
}
