//! Features of a data set by a frozen backbone, computed once.

use crate::feature_cache::Store;
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
    /// The row of each image.
    row_of: Vec<Option<u32>>,
    warning: Option<String>,
}

/// Images per forward pass.
const BATCH: usize = 16;

/// The version of the code that computes features: decoders, transforms, networks and their kernels.
/// Increase it when a change affects a feature's bits, so that older features are not reused.
const COMPUTATION: u32 = 4;

impl Features {
    /// The features of the images `indices` of `view`, whose transform must not be random. Features
    /// in `cache` are read, the others computed and added to it. If the cache can't be used,
    /// there is a [`Features::warning`].
    ///
    /// # Errors
    /// Returns an error if the transform is random or an image can't be read or transformed.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use taper_data::{Glyphs, GlyphsSize, Inputs, View};
    /// use taper_models::{Architecture, Head, Network};
    /// use taper_transfer::Features;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let glyphs = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 2 })?);
    /// let view = View::new(glyphs, "gray resize(16x16) invert".parse()?)?;
    /// let network = Network::new("conv4-8".parse::<Architecture>()?.backbone(view.shape())?, Head::Identity);
    /// let state = network.init(0)?; // or pretrained weights
    /// let features = Features::compute(&view, &[0, 2, 4], &network, &state, None, |_, _| Ok(()))?;
    /// assert_eq!(features.inputs(&[4], None)?.dims(), [1, network.backbone().width()]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn compute(
        view: &View,
        indices: &[usize],
        network: &Network,
        state: &State,
        cache: Option<&FeatureCache>,
        mut progress: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        if view.transform().is_random() {
            return Err(DataError::Invalid(
                "features of randomly transformed images can't be kept: use no random transforms".into(),
            )
            .into());
        }
        let width = network.backbone().width();
        let backbone = network.backbone();
        let key = key(network, state, view, env!("CARGO_PKG_VERSION"), COMPUTATION)?;
        let (mut store, mut warning) = opened(cache, &key, width);
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
                let rows = places.iter().map(|&place| hashes[place]).zip(rows.iter().map(Vec::as_slice));
                if let Err(error) = store.add(cache, rows) {
                    warning = Some(not_cached(&error));
                }
            }
            if warning.is_some() {
                store = None;
            }
            progress((batch * BATCH + places.len()).min(missing.len()), missing.len())?;
        }
        let features = Self::new(Tensor::from_vec(values, (indices.len(), width), &Device::Cpu)?, indices);
        Ok(Self { warning, ..features })
    }

    /// How many of the images `indices` have no features in `cache`; all of them if it can't be used.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn missing(
        view: &View,
        indices: &[usize],
        network: &Network,
        state: &State,
        cache: &FeatureCache,
    ) -> Result<usize> {
        let width = network.backbone().width();
        let key = key(network, state, view, env!("CARGO_PKG_VERSION"), COMPUTATION)?;
        let (Some((_, store)), _) = opened(Some(cache), &key, width) else { return Ok(indices.len()) };
        let mut row = vec![0f32; width];
        let hashes = map_in_order(indices, |_, &index| view.dataset().content_hash(index));
        hashes.into_iter().try_fold(0, |missing, hash| Ok(missing + usize::from(!store.read(&hash?, &mut row))))
    }

    /// Why features were not kept in the cache, for the user; `None` if they were.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// The features of the images `indices` that the upper part `network` of a network computes from
    /// `activations` at its input.
    ///
    /// # Errors
    /// Returns an error if an image has no activations, or they don't fit the network.
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

    /// Others made of these, row by row, for the images `indices`.
    ///
    /// # Errors
    /// Returns an error if an image has no features, or `make` returns one.
    pub(crate) fn map(
        &self,
        indices: &[usize],
        make: impl FnOnce(&Tensor) -> taper_models::Result<Tensor>,
    ) -> Result<Self> {
        Ok(Self::new(make(&self.inputs(indices, None)?)?, indices))
    }

    /// `rows (n, d)` of the images `indices`.
    fn new(rows: Tensor, indices: &[usize]) -> Self {
        let mut row_of = vec![None; indices.iter().max().map_or(0, |last| last + 1)];
        for (row, &index) in indices.iter().enumerate() {
            row_of[index] = Some(row as u32);
        }
        Self { rows, row_of, warning: None }
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

/// Everything that features depend on besides the image: network, parameters, transform, and the code.
fn key(network: &Network, state: &State, view: &View, version: &str, computation: u32) -> Result<String> {
    let name = network.backbone().name();
    let fingerprint = fingerprint(network, state)?;
    Ok(format!("{name} {fingerprint}: {} [taper {version}, features {computation}]", view.transform()))
}

/// The cache with the features of `key`, or a warning if it can't be used.
fn opened<'a>(
    cache: Option<&'a FeatureCache>,
    key: &str,
    width: usize,
) -> (Option<(&'a FeatureCache, Store)>, Option<String>) {
    match cache.map(|cache| cache.open(key, width).map(|store| (cache, store))) {
        None => (None, None),
        Some(Ok(store)) => (Some(store), None),
        Some(Err(error)) => (None, Some(not_cached(&error))),
    }
}

fn not_cached(error: &LearnError) -> String {
    format!("features are not kept for the next time: {error}")
}

/// Fingerprint of a network and its parameters without the head.
///
/// # Errors
/// Returns an error if a parameter can't be read.
pub fn fingerprint(network: &Network, state: &State) -> Result<Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(network.backbone().name().as_bytes());
    for (name, tensor) in state.params.iter().chain(state.buffers.iter()) {
        if network.in_head(name) {
            continue;
        }
        hasher.update(name.as_bytes());
        // many bytes at once: four at a time, hashing takes longer than reading the file
        for values in tensor.flatten_all()?.to_vec1::<f32>()?.chunks(1 << 16) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
    }
    Ok(Hash(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use taper_data::{Glyphs, GlyphsSize};
    use taper_models::{Architecture, Head};

    fn view() -> View {
        let glyphs = Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 4 }).unwrap();
        View::new(Arc::new(glyphs), "resize(16)".parse().unwrap()).unwrap()
    }

    fn network(view: &View) -> (Network, State) {
        let backbone = "conv4-8".parse::<Architecture>().unwrap().backbone(view.shape()).unwrap();
        let network = Network::new(backbone, Head::Identity);
        let state = network.init(1).unwrap();
        (network, state)
    }

    /// Features of all images, how many of them were computed, and the warning.
    fn compute(view: &View, cache: Option<&Path>) -> (Vec<Vec<f32>>, usize, Option<String>) {
        let (network, state) = network(view);
        let images: Vec<usize> = (0..view.dataset().labels().len()).collect();
        let cache = cache.map(FeatureCache::new);
        let mut computed = 0;
        let progress = |_, of| {
            computed = of;
            Ok(())
        };
        let features = Features::compute(view, &images, &network, &state, cache.as_ref(), progress).unwrap();
        let rows = features.inputs(&images, None).unwrap().to_vec2().unwrap();
        (rows, computed, features.warning().map(String::from))
    }

    #[test]
    fn an_upgrade_never_reuses_stale_features() {
        let view = view();
        let (network, state) = network(&view);
        let of = |version: &str, computation: u32| key(&network, &state, &view, version, computation).unwrap();
        let now = of(env!("CARGO_PKG_VERSION"), COMPUTATION);
        assert_ne!(now, of("0.0.9", COMPUTATION));
        assert_ne!(now, of(env!("CARGO_PKG_VERSION"), COMPUTATION + 1));
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path());
        // an earlier version cached different features of the same images
        let width = network.backbone().width();
        let mut stale = cache.open(&of("0.0.9", COMPUTATION), width).unwrap();
        let (wrong, hash) = (vec![7f32; width], view.dataset().content_hash(0).unwrap());
        stale.add(&cache, [(hash, wrong.as_slice())].into_iter()).unwrap();
        let (rows, computed, _) = compute(&view, Some(folder.path()));
        assert_eq!(computed, rows.len());
        assert_eq!(rows, compute(&view, None).0);
        assert_eq!(compute(&view, Some(folder.path())).1, 0, "the second time all are read");
        assert!(cache.list().unwrap().iter().any(|features| features.key == now));
    }

    #[test]
    fn a_cache_folder_that_cannot_be_written_means_no_cache_and_a_warning() {
        let view = view();
        let folder = tempfile::tempdir().unwrap();
        // a file instead of the folder: not even a privileged user can write below it
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let (rows, computed, warning) = compute(&view, Some(&file.join("cache")));
        assert_eq!((rows, computed), (compute(&view, None).0, 12));
        assert!(warning.unwrap().starts_with("features are not kept for the next time: "));
        assert_eq!(compute(&view, Some(&folder.path().join("cache"))).2, None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_means_no_cache_and_a_warning() {
        let view = view();
        let (network, state) = network(&view);
        let key = key(&network, &state, &view, env!("CARGO_PKG_VERSION"), COMPUTATION).unwrap();
        let folder = tempfile::tempdir().unwrap();
        // a device on which every write fails as on a full disk
        std::os::unix::fs::symlink("/dev/full", folder.path().join(format!("{}.features", Hash::of(key.as_bytes()))))
            .unwrap();
        let (rows, _, warning) = compute(&view, Some(folder.path()));
        assert_eq!(rows, compute(&view, None).0);
        assert!(warning.is_some_and(|warning| warning.contains("space")));
    }

    #[test]
    fn damaged_features_are_computed_again() {
        let view = view();
        let folder = tempfile::tempdir().unwrap();
        let (rows, _, _) = compute(&view, Some(folder.path()));
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&path).unwrap();
        let length = whole.len();
        for damage in [length - 1, length - 100, length / 2, 30, 0] {
            let mut bytes = whole.clone();
            bytes[damage.min(length - 1)] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(compute(&view, Some(folder.path())).0, rows, "byte {damage} is wrong");
            fs::write(&path, &whole[..damage]).unwrap();
            assert_eq!(compute(&view, Some(folder.path())).0, rows, "cut off at {damage}");
        }
    }
}
