//! Weight files: safetensors, one or in shards, and PyTorch's checkpoints.

mod archive;
mod branches;
mod contents;
mod file;
pub(crate) mod finite;
mod folder;
pub mod limits;
mod pickle;
mod recognize;
mod safetensors;
mod write;

pub(crate) use branches::is_head;
pub use contents::{LeftOut, WeightFormat, WeightReport};
pub use file::{WeightFile, recognize_weights};
pub use write::write_weights;

use crate::Result;
use candle_core::Tensor;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use taper_ops::FileContent;

/// What is wrong with a file and what to do, as the end of a sentence that begins with its path.
type Read<T> = std::result::Result<T, String>;

/// The tensors of the weight file at a path, half precision widened to f32: those of
/// [`WeightFile::read`], without the report.
///
/// # Errors
///
/// Returns the errors of [`WeightFile::read`].
///
/// # Examples
///
/// ```no_run
/// let tensors = taper_models::read_weights("resnet18.pth".as_ref())?;
/// # Ok::<(), taper_models::ModelError>(())
/// ```
pub fn read_weights(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    Ok(WeightFile::read(path)?.into_tensors())
}

/// The tensors of the weight file at a path, with the element types that the file has.
///
/// # Errors
///
/// Returns the errors of [`WeightFile::read`].
///
/// # Examples
///
/// ```no_run
/// let tensors = taper_models::read_stored_weights("half.safetensors".as_ref())?;
/// # Ok::<(), taper_models::ModelError>(())
/// ```
pub fn read_stored_weights(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    Ok(file::stored(path)?.tensors)
}

/// Maps a file, after its first bytes showed that it may hold weights.
fn open(path: &Path) -> Read<(FileContent, recognize::Kind)> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "no such file: check the path".to_string(),
        _ => format!("can't be read ({error}): check the path"),
    };
    // a pipe would never end, so only files are opened
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is not a file: give a weight file".into());
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut start = Vec::new();
    (&file).take(recognize::START_BYTES as u64).read_to_end(&mut start).map_err(unreadable)?;
    let kind = recognize::kind(&start)?;
    Ok((FileContent::new(&file).map_err(unreadable)?, kind))
}
