//! Weight files: safetensors, one or sharded, and PyTorch's state dicts.

use crate::pickle::{self, LEGACY_MAGIC, Read};
use crate::{ModelError, Result, State};
use candle_core::{DType, Device, Tensor};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek, Write as _};
use std::path::{Path, PathBuf};

/// An index of shards names fewer files and keys than fill this.
const INDEX_AT_MOST: u64 = 64 << 20;

/// The tensors of a weight file, half precision widened to f32; keys as published, but for a
/// `module.` before all of them.
///
/// Takes `.safetensors`, the `.index.json` of a sharded one, a folder that holds either, and what
/// `torch.save` makes of a state dict (`.pth`, `.th`, `.bin`), in the zip format or the older
/// one; what a file is shows in its first bytes. Nothing in a pickle is ever run.
///
/// Errs for files that are none of these, broken, or ask for more than tensors.
pub fn read_weights(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let widened = |(name, tensor): (String, Tensor)| {
        let half = matches!(tensor.dtype(), DType::F16 | DType::BF16);
        Ok((name, if half { tensor.to_dtype(DType::F32)? } else { tensor }))
    };
    read_stored_weights(path)?.into_iter().map(widened).collect()
}

/// The same with the element types that the file has.
pub fn read_stored_weights(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let path = &resolve(path);
    let tensors = read(path).map_err(|problem| ModelError::BadFile { path: path.clone(), problem })?;
    Ok(without_prefix(tensors, "module."))
}

/// Writes a state as safetensors, all f32, under its own keys: to a temporary file beside, synced,
/// then renamed, so that at any moment there is the old file or the new.
pub fn write_weights(path: &Path, state: &State) -> Result<()> {
    let bad = |problem: String| ModelError::BadFile { path: path.to_path_buf(), problem };
    let tensors = state.params.iter().chain(state.buffers.iter());
    let tensors = tensors.map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?))).collect::<Result<Vec<_>>>()?;
    // transformers refuses files that don't say this
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| bad(format!("cannot be written as safetensors: {error}")))?;

    let name = path.file_name().ok_or_else(|| bad("is no file name: give one that ends in .safetensors".into()))?;
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
        // what is left of it would help nobody, and the first error says more than a second
        let _ = std::fs::remove_file(&temporary);
        bad(format!("cannot be written ({error}): choose a folder with room that you may write to"))
    })
}

/// In a folder, the weights by their usual names.
fn resolve(path: &Path) -> PathBuf {
    let usual = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"].map(|name| path.join(name));
    let found = usual.into_iter().find(|file| file.is_file());
    found.filter(|_| path.is_dir()).unwrap_or_else(|| path.to_path_buf())
}

fn read(path: &Path) -> Read<BTreeMap<String, Tensor>> {
    let unreadable = |error: std::io::Error| format!("cannot be read ({error}): check the path");
    if path.is_dir() {
        return Err("is a folder without model.safetensors: give a weight file".into());
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut start = Vec::new();
    (&file).take(LEGACY_MAGIC.len() as u64).read_to_end(&mut start).map_err(unreadable)?;
    file.rewind().map_err(unreadable)?;

    if start.starts_with(b"PK\x03\x04") {
        return pickle::read_zip(std::io::BufReader::new(file), length);
    }
    if start.starts_with(b"{") && length <= INDEX_AT_MOST {
        return read_sharded(path);
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    if start == LEGACY_MAGIC {
        return pickle::read_legacy(&bytes);
    }
    if start.get(8) == Some(&b'{') {
        return read_safetensors(&bytes);
    }
    Err("is no weight file: give a .safetensors file, or a state dict that torch.save wrote".into())
}

fn read_safetensors(bytes: &[u8]) -> Read<BTreeMap<String, Tensor>> {
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu);
    Ok(tensors.map_err(|error| format!("is broken ({error}): fetch it again"))?.into_iter().collect())
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// All tensors of the shards beside an index, which must be the ones it lists.
fn read_sharded(index: &Path) -> Read<BTreeMap<String, Tensor>> {
    let text = std::fs::read(index).map_err(|error| format!("cannot be read ({error}): check the path"))?;
    let Index { weight_map } =
        serde_json::from_slice(&text).map_err(|error| format!("is no index of weight files ({error})"))?;
    let shards: BTreeSet<&String> = weight_map.values().collect();
    let mut tensors = BTreeMap::new();
    for shard in shards {
        if Path::new(shard).components().count() != 1 || shard.contains(['/', '\\']) || shard == ".." {
            return Err(format!("names a shard `{shard}` outside its folder: fetch it again"));
        }
        let bytes = std::fs::read(index.with_file_name(shard)).map_err(|error| {
            format!("names a shard `{shard}` that cannot be read ({error}): fetch it beside the index")
        })?;
        tensors.extend(read_safetensors(&bytes).map_err(|problem| format!("names a shard `{shard}` that {problem}"))?);
    }
    match weight_map.keys().find(|name| !tensors.contains_key(*name)) {
        Some(name) => Err(format!("lists `{name}`, which its shards lack: fetch them again")),
        None => Ok(tensors),
    }
}

/// Without a prefix that every key has (`module.` from data-parallel training).
fn without_prefix(tensors: BTreeMap<String, Tensor>, prefix: &str) -> BTreeMap<String, Tensor> {
    if !tensors.keys().all(|name| name.starts_with(prefix)) {
        return tensors;
    }
    tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_string(), tensor)).collect()
}
