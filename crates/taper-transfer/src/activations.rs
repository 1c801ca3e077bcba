//! What the frozen lower part of a network makes of images, computed once.

use candle_core::{Device, Tensor};
use std::sync::Arc;
use taper_data::{DataError, Inputs, View};
use taper_learn::Result;
use taper_models::{Mode, Network, State};
use taper_ops::Rng;

/// Activations `(n, h, w, c)` at a cut: [`Inputs`] for the part above, without the cost of that
/// below.
#[derive(Debug, Clone)]
pub struct Activations {
    /// One tensor `(h, w, c)` an image that has been computed.
    rows: Vec<Option<Tensor>>,
}

/// Images a forward pass.
const BATCH: usize = 16;

impl Activations {
    /// Those of the images `indices` of `view`, whose transform must not be random, below `stage`.
    pub fn compute(view: &View, indices: &[usize], network: &Network, state: &State, stage: &str) -> Result<Self> {
        if view.transform().is_random() {
            return Err(DataError::Invalid(
                "activations of randomly changed images can't be kept: leave out random transforms".into(),
            )
            .into());
        }
        let mut rows = vec![None; view.dataset().labels().len()];
        let mut mode = Mode { packed: Some(Arc::default()), ..Mode::evaluate() };
        for images in indices.chunks(BATCH) {
            let inputs = view.inputs(images, None)?;
            let (params, buffers) = (&state.params, &state.buffers);
            let made = network.backbone().below(params, buffers, &inputs, &mut mode, stage)?.detach();
            for (row, &image) in images.iter().enumerate() {
                // a copy: a slice would keep the whole batch alive
                rows[image] = Some(made.get(row)?.copy()?);
            }
        }
        Ok(Self { rows })
    }
}

impl Inputs for Activations {
    fn inputs(&self, indices: &[usize], _chance: Option<&mut Rng>) -> taper_data::Result<Tensor> {
        let rows: Vec<&Tensor> = indices
            .iter()
            .map(|&index| {
                let row = self.rows.get(index).and_then(Option::as_ref);
                row.ok_or_else(|| DataError::Invalid(format!("image {index} has no activations: compute them first")))
            })
            .collect::<taper_data::Result<_>>()?;
        if rows.is_empty() {
            return Ok(Tensor::zeros(0, candle_core::DType::F32, &Device::Cpu)?);
        }
        Ok(Tensor::stack(&rows, 0)?)
    }
}
