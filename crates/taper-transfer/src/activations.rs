//! Activations of the frozen lower part of a network, computed once.

use candle_core::{Device, Tensor};
use std::sync::Arc;
use taper_data::{DataError, Inputs, View};
use taper_learn::Result;
use taper_models::{Backbone, Mode, Network, State, Upper};
use taper_ops::Rng;

/// Activations `(n, h, w, c)` at a split point: [`Inputs`] for the part above, without the cost of the part
/// below.
#[derive(Debug, Clone)]
pub struct Activations {
    /// One tensor `(h, w, c)` per computed image.
    rows: Vec<Option<Tensor>>,
}

/// Images per forward pass.
const BATCH: usize = 16;

impl Activations {
    /// Those of the images `indices` of `view`, whose transform must not be random, below each of
    /// `stages`, cuts from the lowest to the highest: one pass gives them all. `progress` hears how many
    /// images of how many are done.
    ///
    /// # Errors
    /// Returns an error if the transform is random, the network can't be cut there, an image can't be read, or
    /// `progress` returns one.
    pub fn compute(
        view: &View,
        indices: &[usize],
        network: &Network,
        state: &State,
        stages: &[String],
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Vec<Self>> {
        if view.transform().is_random() {
            return Err(DataError::Invalid(
                "activations of randomly transformed images can't be kept: use no random transforms".into(),
            )
            .into());
        }
        let mut parts: Vec<Arc<dyn Backbone>> = vec![network.backbone().clone()];
        for stage in stages {
            parts.push(Arc::new(Upper::new(network.backbone().clone(), stage)?));
        }
        let nothing = Self { rows: vec![None; view.dataset().labels().len()] };
        let mut made = vec![nothing; stages.len()];
        let mut mode = Mode { packed: Some(Arc::default()), ..Mode::evaluate() };
        let State { params, buffers } = state;
        for (batch, images) in indices.chunks(BATCH).filter(|_| !stages.is_empty()).enumerate() {
            let mut x = view.inputs(images, None)?;
            for ((part, stage), Self { rows }) in parts.iter().zip(stages).zip(&mut made) {
                x = part.forward_to(params, buffers, &x, &mut mode, stage)?.detach();
                for (row, &image) in images.iter().enumerate() {
                    // a slice would keep the whole batch alive, and so would `copy`, which copies the slice's storage whole
                    rows[image] = Some(x.get(row)?.force_contiguous()?);
                }
            }
            progress(batch * BATCH + images.len(), indices.len())?;
        }
        Ok(made)
    }

    /// Bytes per image below `stage`.
    ///
    /// # Errors
    /// Returns an error if the network has no such stage.
    pub fn bytes_per_image(view: &View, network: &Network, state: &State, stage: &str) -> Result<usize> {
        let State { params, buffers } = state;
        let image = view.inputs(&[0], None)?;
        let made = network.backbone().forward_to(params, buffers, &image, &mut Mode::evaluate(), stage)?;
        Ok(made.elem_count() * made.dtype().size_in_bytes())
    }
}

impl Inputs for Activations {
    fn inputs(&self, indices: &[usize], _rng: Option<&mut Rng>) -> taper_data::Result<Tensor> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;
    use candle_core::Storage;

    #[test]
    fn each_image_has_memory_for_its_own_activations_alone() {
        let problem = Toy::new(&[6, 6]).problem(0);
        let (view, network, state) = (problem.view(), problem.network(), problem.state());
        let images = &problem.training().images;
        let stages = ["layer3".to_string()];
        let made = Activations::compute(view, images, network, state, &stages, |_, _| Ok(())).unwrap();
        for row in made[0].rows.iter().flatten() {
            let (storage, _) = row.storage_and_layout();
            let Storage::Cpu(storage) = &*storage else { panic!("not in memory") };
            assert_eq!(storage.as_slice::<f32>().unwrap().len(), row.elem_count());
        }
    }
}
