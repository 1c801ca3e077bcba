//! Weights written as safetensors.

use crate::{ModelError, Result, State};
use candle_core::DType;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// Writes a state as safetensors, all f32, under its own names: to a temporary file beside it,
/// synced, then renamed, so that at any moment there is the old file or the new.
///
/// # Errors
///
/// Returns an error if the path does not name a file, or the file cannot be written.
///
/// # Examples
///
/// ```
/// # use taper_models::{Architecture, Head, Network, read_weights, write_weights};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// let backbone = "conv4-8".parse::<Architecture>()?.backbone((1, 28, 28))?;
/// let network = Network::new(backbone, Head::Linear { outputs: 5 });
/// write_weights(&path, &network.init(0)?)?;
/// assert_eq!(read_weights(&path)?.len(), network.param_specs().len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_weights(path: &Path, state: &State) -> Result<()> {
    let bad = |problem: String| ModelError::BadFile { path: path.to_path_buf(), problem };
    let tensors = state.params.iter().chain(state.buffers.iter());
    let tensors = tensors.map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?))).collect::<Result<Vec<_>>>()?;
    // transformers refuses files that don't say this
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| bad(format!("cannot be written as safetensors: {error}")))?;

    let name = path.file_name().ok_or_else(|| bad("is not a file name: give one that ends in .safetensors".into()))?;
    let mut temporary = name.to_os_string();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = (|| -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    written.map_err(|error| {
        // the first error says more than one about the cleanup would
        let _ = std::fs::remove_file(&temporary);
        bad(format!("cannot be written ({error}): choose a folder with room that you may write to"))
    })
}
