//! A frozen backbone's features of a data set, computed once.

use crate::{Activations, FeatureCache};
use candle_core::{Device, Tensor};
use taper_data::{DataError, Hash, Inputs, View};
use taper_learn::{LearnError, Result};
use taper_models::{Frozen, Network, State};
use taper_ops::{Rng, map_in_order};

/// Features `(n, d)` of images: [`Inputs`] like the images themselves, without the backbone's cost.
#[derive(Debug, Clone)]
pub struct Features {
    rows: Tensor,
    /// For each image, its row.
    row_of: Vec<Option<u32>>,
}

/// Images a forward pass.
const BATCH: usize = 16;

impl Features {
    /// The features of the images `indices` of `view`, whose transform must not be random. Those
    /// that `cache` holds are read, the others computed and added to it.
    pub fn compute(
        view: &View,
        indices: &[usize],
        network: &Network,
        state: &State,
        cache: Option<&FeatureCache>,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Self> {
        if view.transform().is_random() {
            return Err(DataError::Invalid(
                "features of randomly changed images can't be kept: leave out random transforms".into(),
            )
            .into());
        }
        let width = network.backbone().width();
        let backbone = network.backbone();
        let key = format!("{} {}: {}", backbone.name(), fingerprint(network, state)?, view.transform());
        let mut store = cache.map(|cache| Ok::<_, LearnError>((cache, cache.open(&key, width)?))).transpose()?;
        let hashes: Vec<Hash> = match &store {
            Some(_) => map_in_order(indices, |_, &index| view.dataset().content_hash(index))
                .into_iter()
                .collect::<taper_data::Result<_>>()?,
            None => Vec::new(),
        };
        let mut values = vec![0f32; indices.len() * width];
        let mut missing = Vec::new();
        for place in 0..indices.len() {
            let row = &mut values[place * width..(place + 1) * width];
            if !store.as_ref().is_some_and(|(_, store)| store.read(&hashes[place], row)) {
                missing.push(place);
            }
        }
        let frozen = Frozen::new(backbone.clone(), state.clone());
        for (batch, places) in missing.chunks(BATCH).enumerate() {
            let images: Vec<usize> = places.iter().map(|&place| indices[place]).collect();
            let inputs = view.inputs(&images, None)?;
            let rows = frozen.features(&inputs)?.to_vec2::<f32>()?;
            for (&place, row) in places.iter().zip(&rows) {
                values[place * width..(place + 1) * width].copy_from_slice(row);
            }
            if let Some((cache, store)) = &mut store {
                store.add(cache, places.iter().map(|&place| hashes[place]).zip(rows.iter().map(Vec::as_slice)))?;
            }
            progress((batch * BATCH + places.len()).min(missing.len()), missing.len());
        }
        Ok(Self::new(Tensor::from_vec(values, (indices.len(), width), &Device::Cpu)?, indices))
    }

    /// The features of the images `indices` that the upper part `network` of a network makes of
    /// `activations` at its lower end.
    pub fn of_activations(
        activations: &Activations,
        indices: &[usize],
        network: &Network,
        state: &State,
    ) -> Result<Self> {
        let frozen = Frozen::new(network.backbone().clone(), state.clone());
        let made = indices.chunks(BATCH).map(|images| Ok(frozen.features(&activations.inputs(images, None)?)?));
        Ok(Self::new(Tensor::cat(&made.collect::<Result<Vec<_>>>()?, 0)?, indices))
    }

    /// `rows (n, d)` of the images `indices`.
    fn new(rows: Tensor, indices: &[usize]) -> Self {
        let mut row_of = vec![None; indices.iter().max().map_or(0, |last| last + 1)];
        for (row, &index) in indices.iter().enumerate() {
            row_of[index] = Some(row as u32);
        }
        Self { rows, row_of }
    }
}

impl Inputs for Features {
    fn inputs(&self, indices: &[usize], _chance: Option<&mut Rng>) -> taper_data::Result<Tensor> {
        let rows: Vec<u32> = indices
            .iter()
            .map(|&index| {
                let row = self.row_of.get(index).copied().flatten();
                row.ok_or_else(|| DataError::Invalid(format!("image {index} has no features: compute them first")))
            })
            .collect::<taper_data::Result<_>>()?;
        let rows = Tensor::from_slice(&rows, rows.len(), &Device::Cpu)?;
        Ok(self.rows.index_select(&rows, 0)?)
    }
}

/// Fingerprint of a network with its numbers, the head left out.
pub fn fingerprint(network: &Network, state: &State) -> Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(network.backbone().name().as_bytes());
    for (name, tensor) in state.params.iter().chain(state.buffers.iter()) {
        if network.in_head(name) {
            continue;
        }
        hasher.update(name.as_bytes());
        for value in tensor.flatten_all()?.to_vec1::<f32>()? {
            hasher.update(&value.to_le_bytes());
        }
    }
    Ok(Hash(*hasher.finalize().as_bytes()))
}
