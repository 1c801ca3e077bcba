//! A weight file as a value: its tensors, and how they were read.

use super::contents::{Contents, WeightFormat, WeightReport};
use super::recognize::Kind;
use super::{Read, finite, folder, open, pickle, safetensors};
use crate::{ModelError, Result};
use candle_core::{DType, Tensor, TensorId};
use pickle::Clean;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A weight file that was read: its network's tensors, and a report of what was used.
#[derive(Debug, Clone)]
pub struct WeightFile {
    tensors: BTreeMap<String, Tensor>,
    report: WeightReport,
}

impl WeightFile {
    /// Reads the weights at a path, half precision widened to f32.
    ///
    /// The path may be a safetensors file, the index of a sharded one, a checkpoint that
    /// `torch.save` wrote in either of its formats (`.pth`, `.ckpt`, `.pth.tar`, `.bin`, …), or a
    /// folder with one of these. The first bytes of a file determine its format; its name does not matter.
    ///
    /// From a checkpoint, the network's weights are used: averaged ones (EMA) if there are any.
    /// Prefixes that every name has are removed, and what only training uses is skipped; see
    /// [`WeightFile::report`]. Pickles are never executed.
    ///
    /// # Errors
    ///
    /// Returns an error that says what the file is if it does not hold weights, is broken or
    /// truncated, or exceeds a limit of [`limits`](crate::limits).
    ///
    /// # Examples
    ///
    /// ```
    /// # use taper_models::{Architecture, Head, Network, WeightFile, write_weights};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("model.safetensors");
    /// # let backbone = "conv4-8".parse::<Architecture>()?.backbone((1, 28, 28))?;
    /// # write_weights(&path, &Network::new(backbone, Head::Linear { outputs: 5 }).init(0)?)?;
    /// let file = WeightFile::read(&path)?;
    /// for note in file.report().notes() {
    ///     eprintln!("{note}");
    /// }
    /// assert_eq!(file.tensors()["fc.weight"].dims(), [5, 8]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(path: &Path) -> Result<Self> {
        let Contents { tensors, mut report, .. } = stored(path)?;
        let mut widened = HashMap::new();
        let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, widen(tensor, &mut widened)?)));
        let tensors = tensors.collect::<Result<BTreeMap<_, _>>>()?;
        for (name, tensor) in &tensors {
            let count = finite::exceptions(tensor)?;
            if count > 0 {
                report.not_finite.push((name.clone(), count));
            }
        }
        Ok(Self { tensors, report })
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The tensors by name, without the report.
    pub fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }

    /// What was used of the file and what was skipped.
    pub fn report(&self) -> &WeightReport {
        &self.report
    }
}

/// Half precision as f32; a tensor that has several names is widened once.
fn widen(tensor: Tensor, widened: &mut HashMap<TensorId, Tensor>) -> Result<Tensor> {
    if !matches!(tensor.dtype(), DType::F16 | DType::BF16) {
        return Ok(tensor);
    }
    if let Some(known) = widened.get(&tensor.id()) {
        return Ok(known.clone());
    }
    let wide = tensor.to_dtype(DType::F32)?;
    widened.insert(tensor.id(), wide.clone());
    Ok(wide)
}

/// The contents of the weight file at a path, with the element types that it has.
pub(super) fn stored(path: &Path) -> Result<Contents> {
    let bad = |path: &Path, problem| ModelError::BadFile { path: path.to_path_buf(), problem };
    let path = &folder::resolve(path).map_err(|problem| bad(path, problem))?;
    let mut contents = read(path).map_err(|problem| bad(path, problem))?;
    if contents.tensors.is_empty() {
        return Err(bad(path, "holds no tensors that can be read: give a file of trained weights".into()));
    }
    contents.report.file = path.clone();
    Ok(contents)
}

fn read(path: &Path) -> Read<Contents> {
    let (map, kind) = open(path)?;
    let (format, contents) = match kind {
        Kind::Safetensors => (WeightFormat::Safetensors, safetensors::read(&map)?),
        Kind::Json => (WeightFormat::ShardedSafetensors, safetensors::read_shards(path, &map)?),
        Kind::Zip => (WeightFormat::TorchZip, pickle::read_zip(&map, Clean::Yes)?),
        Kind::Legacy => (WeightFormat::TorchLegacy, pickle::read_legacy(&map, Clean::Yes)?),
    };
    Ok(Contents { report: WeightReport { format, ..contents.report }, ..contents })
}

/// The format of the weight file at a path, judged by its first bytes and, for a zip archive or a
/// JSON text, by what it lists; `None` for anything else. Reads no weights.
///
/// # Examples
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.txt");
/// std::fs::write(&path, "not weights")?;
/// assert_eq!(taper_models::recognize_weights(&path), None);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn recognize_weights(path: &Path) -> Option<WeightFormat> {
    let path = folder::resolve(path).ok()?;
    let (map, kind) = open(&path).ok()?;
    match kind {
        Kind::Safetensors => Some(WeightFormat::Safetensors),
        Kind::Legacy => Some(WeightFormat::TorchLegacy),
        Kind::Zip => pickle::is_checkpoint(&map).then_some(WeightFormat::TorchZip),
        Kind::Json => safetensors::is_index(&map).then_some(WeightFormat::ShardedSafetensors),
    }
}
