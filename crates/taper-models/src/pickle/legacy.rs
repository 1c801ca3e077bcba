//! PyTorch's format before version 1.6: a magic number, a version, the machine's sizes, the state
//! dict and the storages' keys, a pickle each, then the storages one after the other.

use super::machine::run;
use super::tensor::StorageRef;
use super::value::{Pickle, Value};
use super::{LEGACY_MAGIC, Read, state_dict, tensors};
use candle_core::{DType, Tensor};
use std::collections::{BTreeMap, HashMap};

/// The tensors of a file that begins with [`LEGACY_MAGIC`], as stored.
pub(crate) fn read(bytes: &[u8]) -> Read<BTreeMap<String, Tensor>> {
    let mut rest = bytes.strip_prefix(LEGACY_MAGIC).ok_or("is no file of torch.save")?;
    let mut next = || -> Read<Pickle> {
        let pickle = run(rest)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let version = next()?.root;
    if version != Value::Int(1001) {
        return Err("has a version of torch.save that is unknown here: save it again with a current PyTorch".into());
    }
    check_byte_order(&next()?)?;
    let (main, keys) = (next()?, next()?);
    let storages = split(rest, &keys, &types(&main)?)?;
    tensors(state_dict(&main)?, bytes.len() as u64, |storage| {
        storages
            .get(&*storage.key)
            .copied()
            .ok_or_else(|| format!("has no storage `{}`: the file is broken", storage.key))
    })
}

fn check_byte_order(sizes: &Pickle) -> Read<()> {
    let little =
        |&(key, value): &(Value, Value)| sizes.text(key) == Some("little_endian") && value == Value::Bool(false);
    match sizes.dict(sizes.root) {
        None => Err("is broken after its version: fetch it again".into()),
        Some(entries) if entries.iter().any(little) => {
            Err("was written on a big-endian machine: save it again on a little-endian one".into())
        }
        Some(_) => Ok(()),
    }
}

/// Type and length of each storage, by its key.
fn types(main: &Pickle) -> Read<HashMap<&str, (DType, usize)>> {
    let mut types = HashMap::new();
    for StorageRef { key, dtype, length, .. } in main.storages() {
        if types.insert(&**key, (*dtype, *length)).is_some_and(|other| other != (*dtype, *length)) {
            return Err(format!("has two storages `{key}`: fetch it again"));
        }
    }
    Ok(types)
}

/// The bytes of each storage, by its key: each is preceded by its number of elements.
fn split<'a>(
    mut rest: &'a [u8],
    keys: &Pickle,
    types: &HashMap<&str, (DType, usize)>,
) -> Read<HashMap<String, &'a [u8]>> {
    let cut = || "ends before its last tensor: fetch it again".to_string();
    let mut storages = HashMap::new();
    for &key in keys.list(keys.root).ok_or("has no list of storages: fetch it again")? {
        let key = keys.text(key).ok_or("has a storage without a key: fetch it again")?;
        let &(dtype, length) =
            types.get(key).ok_or_else(|| format!("has a storage `{key}` of no tensor: fetch it again"))?;
        let (count, data) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        if u64::from_le_bytes(*count) != length as u64 {
            return Err(format!("has a storage `{key}` of another length than its tensors say: fetch it again"));
        }
        let (stored, after) =
            length.checked_mul(dtype.size_in_bytes()).and_then(|bytes| data.split_at_checked(bytes)).ok_or_else(cut)?;
        storages.insert(key.to_string(), stored);
        rest = after;
    }
    Ok(storages)
}
