//! PyTorch's zip format: `NAME/data.pkl` and one uncompressed entry `NAME/data/KEY` a storage.

use super::machine::run;
use super::tensor::StorageRef;
use super::{Read, state_dict, tensors};
use candle_core::Tensor;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Seek};
use zip::{CompressionMethod, ZipArchive};

/// The tensors of a zip archive of `length` bytes that torch.save wrote, as stored.
pub(crate) fn read(file: impl std::io::Read + Seek, length: u64) -> Read<BTreeMap<String, Tensor>> {
    let archive =
        ZipArchive::new(file).map_err(|error| format!("is a broken zip archive ({error}): fetch it again"))?;
    let root = archive.file_names().find_map(|name| name.strip_suffix("data.pkl"));
    let root = root.filter(|root| root.is_empty() || root.ends_with('/'));
    let root = root.ok_or("is a zip archive without a data.pkl: give a file that torch.save wrote")?.to_string();
    let mut archive = Archive { archive, root, budget: length };
    if archive.has("byteorder") && archive.entry("byteorder")? != b"little" {
        return Err("was written on a big-endian machine: save it again on a little-endian one".into());
    }
    let pickle = run(&archive.entry("data.pkl")?)?;
    let named = state_dict(&pickle)?;

    let mut storages = HashMap::new();
    for (_, strided) in &named {
        let StorageRef { key, .. } = &strided.storage;
        if !storages.contains_key(&**key) {
            storages.insert(key.to_string(), archive.entry(&format!("data/{key}"))?);
        }
    }
    tensors(named, length, |storage| match storages.get(&*storage.key) {
        Some(bytes) => Ok(bytes.as_slice()),
        None => Err(format!("has no storage `{}`: the file is broken", storage.key)),
    })
}

struct Archive<R> {
    archive: ZipArchive<R>,
    root: String,
    /// Bytes that may still be read: entries may overlap, but no more than the file is worth it.
    budget: u64,
}

impl<R: std::io::Read + Seek> Archive<R> {
    fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{}{name}", self.root)).is_some()
    }

    /// The bytes of an entry, its checksum checked.
    fn entry(&mut self, name: &str) -> Read<Vec<u8>> {
        let path = format!("{}{name}", self.root);
        let broken = |error: &dyn std::fmt::Display| format!("has a broken entry {path} ({error}): fetch it again");
        let mut entry = self.archive.by_name(&path).map_err(|error| broken(&error))?;
        if entry.compression() != CompressionMethod::Stored {
            return Err(format!(
                "has a compressed entry {path}, which torch.save never writes: unpack and save it again"
            ));
        }
        self.budget = self.budget.checked_sub(entry.size()).ok_or_else(|| broken(&"longer than the file"))?;
        let mut bytes = Vec::with_capacity(usize::try_from(entry.size()).map_err(|error| broken(&error))?);
        entry.read_to_end(&mut bytes).map_err(|error| broken(&error))?;
        Ok(bytes)
    }
}
