//! PyTorch's state dicts, read without executing anything.
//!
//! A pickle is a program for a small machine that can call any Python function. This one makes
//! plain containers and tensors; every other object becomes a placeholder that remembers its
//! class's name and is never called. The format is that of Python's `pickletools`, inside
//! PyTorch's zip archive ([`zip`]) or, before version 1.6, as several pickles in a row ([`legacy`]).
//!
//! Files may be hostile: every length is checked before it is used, memory is charged before
//! it is allocated ([`limits`](super::limits)), and values are stored flat in an arena, so that no nesting is
//! too deep to drop.

mod legacy;
mod machine;
mod module;
mod state_dict;
mod tensor;
mod value;
mod zip;

pub(super) use legacy::read as read_legacy;
pub(super) use zip::{is_checkpoint, read as read_zip};

use super::contents::Contents;
use super::{Read, branches, limits};
use candle_core::Tensor;
use state_dict::StateDict;
use std::borrow::Cow;
use std::collections::HashMap;
use tensor::{ElementType, StorageRef, Strided};

/// The end of the first pickle of a file in the format before PyTorch 1.6: a long number, stop.
const LEGACY_MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// Where the second pickle of a file in that format begins; `None` for other files. Protocols from
/// 4 on put a frame before the number.
pub(super) fn legacy_start(bytes: &[u8]) -> Option<usize> {
    let place = [2, 11].into_iter().find(|&at| bytes.get(at..).is_some_and(|rest| rest.starts_with(LEGACY_MAGIC)))?;
    (bytes[0] == 0x80).then_some(place + LEGACY_MAGIC.len())
}

/// Whether prefixes and branches of training are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clean {
    Yes,
    /// For a shard, which does not show all names.
    No,
}

/// The network's tensors of a checkpoint, from the bytes of their storages.
///
/// Fails if they would take many times more memory than the file's `length`.
fn contents<'a, 'p>(
    found: StateDict<'_, 'p>,
    length: u64,
    clean: Clean,
    mut bytes: impl FnMut(&StorageRef<'p>) -> Read<Cow<'a, [u8]>>,
) -> Read<Contents> {
    let shapes: Vec<_> = found.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.sizes.as_slice())).collect();
    let network = match clean {
        Clean::Yes => branches::network(&shapes),
        Clean::No => branches::all(&shapes),
    };
    let mut budget = Budget(length.saturating_mul(limits::TENSOR_BYTES_PER_FILE_BYTE) + limits::SMALL_FILE_BYTES);
    // names of the same view of the same storage share their memory here too
    let mut made: HashMap<View, Tensor> = HashMap::new();
    let names = found.tensors.iter().map(|(name, _)| name).chain(&found.not_tensors).cloned().collect();
    let mut contents = Contents { names, ..Contents::default() };
    for (index, name) in network.kept {
        let (original, strided) = &found.tensors[index];
        let named = |problem| format!("tensor `{original}` {problem}");
        if strided.storage.element.dtype.is_none() {
            contents.report.unsupported.push(name);
            continue;
        }
        let view = View::of(strided);
        let tensor = match made.get(&view) {
            Some(tensor) => tensor.clone(),
            None => {
                budget.spend(strided.count().map_err(named)?.saturating_mul(strided.storage.element.size))?;
                let tensor = strided.tensor(&bytes(&strided.storage).map_err(named)?).map_err(named)?;
                made.insert(view, tensor.clone());
                tensor
            }
        };
        contents.tensors.insert(name, tensor);
    }
    let report = &mut contents.report;
    report.container = found.path.iter().map(ToString::to_string).collect();
    report.averaged = found.averaged || network.averaged;
    report.other_containers = found.others;
    report.prefixes = network.prefixes;
    report.left_out = network.left_out;
    report.not_tensors = found.not_tensors;
    report.foreign = found.foreign;
    Ok(contents)
}

/// Bytes of tensors that may still be created.
struct Budget(u64);

impl Budget {
    fn spend(&mut self, bytes: usize) -> Read<()> {
        let left = self.0.checked_sub(bytes as u64);
        self.0 = left.ok_or("has tensors that are larger than the file: it is broken, download it again")?;
        Ok(())
    }
}

/// Equal for tensors with the same elements.
#[derive(PartialEq, Eq, Hash)]
struct View<'a> {
    key: &'a str,
    start: usize,
    sizes: Vec<usize>,
    strides: Vec<usize>,
    element: ElementType,
}

impl<'a> View<'a> {
    fn of(tensor: &Strided<'a>) -> Self {
        let StorageRef { key, element, offset, .. } = tensor.storage;
        let (sizes, strides) = (tensor.sizes.clone(), tensor.strides.clone());
        Self { key, start: offset.saturating_add(tensor.offset), sizes, strides, element }
    }
}
