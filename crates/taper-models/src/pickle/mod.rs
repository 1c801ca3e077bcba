//! PyTorch's state dicts, read without running anything.
//!
//! A pickle is a program for a small machine that can call any Python function. Ours knows plain
//! containers and the handful of names that tensors need, and refuses everything else by name.
//! The format is that of Python's `pickletools`; what PyTorch puts around it are its zip archive
//! ([`zip`]) and, before version 1.6, several pickles in a row ([`legacy`]).
//!
//! Files may be hostile: every length is checked before it is believed, memory grows with the
//! file and no further, and values lie flat in an arena, so that no nesting is too deep to drop.

mod legacy;
mod machine;
mod tensor;
mod value;
mod zip;

pub(crate) use legacy::read as read_legacy;
pub(crate) use zip::read as read_zip;

use candle_core::Tensor;
use std::collections::BTreeMap;
use tensor::{StorageRef, Strided};
use value::{Object, Pickle, Value};

/// What is wrong with a file, and what to do: the end of a sentence that begins with its path.
pub(crate) type Read<T> = Result<T, String>;

/// The first bytes of a file in the format before PyTorch 1.6: protocol 2, then a long number.
pub(crate) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// Keys under which a checkpoint holds its state dict.
const WRAPPERS: [&str; 3] = ["state_dict", "model", "model_state_dict"];

/// The state dict of a pickle: the root, or what it holds under one of the usual keys.
fn state_dict(pickle: &Pickle) -> Read<Vec<(&str, &Strided)>> {
    let root =
        pickle.dict(pickle.root).ok_or("holds no state dict: save one with torch.save(model.state_dict(), …)")?;
    let wrapped = |&(key, value): &(Value, Value)| match pickle.text(key) {
        Some(key) if WRAPPERS.contains(&key) => pickle.dict(value),
        _ => None,
    };
    let mut named = Vec::new();
    for &(key, value) in root.iter().find_map(wrapped).unwrap_or(root) {
        let key = pickle.text(key).ok_or("its state dict has a key that is no text: save one of named tensors")?;
        match pickle.object(value) {
            Some(Object::Tensor(tensor)) => named.push((key, tensor)),
            _ => {
                return Err(format!("its entry `{key}` is no tensor: save the state dict alone or under `state_dict`"));
            }
        }
    }
    match named.is_empty() {
        true => Err("holds no tensors: save a state dict with torch.save(model.state_dict(), …)".into()),
        false => Ok(named),
    }
}

/// The tensors of a state dict, from the bytes of their storages.
///
/// Errs when they would hold many times more numbers than the file's `length` has bytes.
fn tensors<'a>(
    named: Vec<(&str, &Strided)>,
    length: u64,
    mut bytes: impl FnMut(&StorageRef) -> Read<&'a [u8]>,
) -> Read<BTreeMap<String, Tensor>> {
    let mut budget = length.saturating_mul(4);
    let mut tensors = BTreeMap::new();
    for (name, strided) in named {
        let named = |problem| format!("tensor `{name}` {problem}");
        let count = strided.count().map_err(named)?;
        budget = budget.checked_sub(count as u64).ok_or("its tensors are larger than the file: it is broken")?;
        let tensor = strided.tensor(bytes(&strided.storage).map_err(named)?).map_err(named)?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(tensors)
}
