//! PyTorch's format before version 1.6: a magic number, a version, the machine's sizes, the state
//! dict and the storages' keys, a pickle each, then the storages one after the other.

use super::machine::run;
use super::tensor::{ElementType, StorageRef};
use super::value::{Pickle, Value};
use super::{Clean, Read, contents, legacy_start, state_dict};
use crate::weights::contents::Contents;
use std::borrow::Cow;
use std::collections::HashMap;

/// The contents of a file that begins with the magic number.
pub(in crate::weights) fn read(bytes: &[u8], clean: Clean) -> Read<Contents> {
    let mut rest = &bytes[legacy_start(bytes).ok_or("was not written by torch.save")?..];
    let mut next = || -> Read<Pickle<'_>> {
        let pickle = run(rest)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let version = next()?.root;
    if version != Value::Int(1001) {
        return Err("has an unknown version of torch.save: save it again with a current PyTorch".into());
    }
    check_byte_order(&next()?)?;
    let (main, keys) = (next()?, next()?);
    let found = state_dict::find(&main)?;
    let storages = split(rest, &keys, &types(&main)?)?;
    contents(found, bytes.len() as u64, clean, |StorageRef { key, .. }| {
        let stored = storages.get(key).copied().map(Cow::Borrowed);
        stored.ok_or_else(|| format!("has no storage `{key}`: the file is broken"))
    })
}

fn check_byte_order(sizes: &Pickle) -> Read<()> {
    let little =
        |&(key, value): &(Value, Value)| sizes.text(key) == Some("little_endian") && value == Value::Bool(false);
    match sizes.dict(sizes.root) {
        None => Err("is broken after its version: download it again".into()),
        Some(entries) if entries.iter().any(little) => {
            Err("was written on a big-endian machine: save it again on a little-endian one".into())
        }
        Some(_) => Ok(()),
    }
}

/// Type and length of each storage, by its key.
fn types<'a>(main: &Pickle<'a>) -> Read<HashMap<&'a str, (ElementType, usize)>> {
    let mut types = HashMap::new();
    for &StorageRef { key, element, length, .. } in main.storages() {
        if types.insert(key, (element, length)).is_some_and(|other| other != (element, length)) {
            return Err(format!("has two storages `{key}`: download it again"));
        }
    }
    Ok(types)
}

/// The bytes of each storage, by its key: each is preceded by its number of elements.
fn split<'a, 'k>(
    mut rest: &'a [u8],
    keys: &Pickle<'k>,
    types: &HashMap<&str, (ElementType, usize)>,
) -> Read<HashMap<&'k str, &'a [u8]>> {
    let cut = || "is cut off before its last tensor: get or save it again".to_string();
    let mut storages = HashMap::new();
    for &key in keys.list(keys.root).ok_or("has no list of storages: download it again")? {
        let key = keys.text(key).ok_or("has a storage without a key: download it again")?;
        let &(element, length) =
            types.get(key).ok_or_else(|| format!("has a storage `{key}` of no tensor: download it again"))?;
        let (count, data) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        if u64::from_le_bytes(*count) != length as u64 {
            return Err(format!("has a storage `{key}` of another length than its tensors say: download it again"));
        }
        if element.size == 0 {
            return Err(format!("has a storage `{key}` of an unknown type: save it again with a current PyTorch"));
        }
        let (stored, after) =
            length.checked_mul(element.size).and_then(|bytes| data.split_at_checked(bytes)).ok_or_else(cut)?;
        storages.insert(key, stored);
        rest = after;
    }
    Ok(storages)
}
