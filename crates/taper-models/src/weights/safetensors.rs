//! Safetensors files, mapped, one or in shards.

use super::contents::Contents;
use super::pickle::{self, Clean};
use super::{Read, branches, limits, open, recognize};
use candle_core::safetensors::Load as _;
use candle_core::{Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use taper_ops::FileContent;

/// The contents of a file.
pub(super) fn read(bytes: &[u8]) -> Read<Contents> {
    contents(&[parse(bytes)?])
}

/// The parsed header, which the file must match to the byte.
fn parse(bytes: &[u8]) -> Read<SafeTensors<'_>> {
    let cut = |needed: u64| format!("is cut off: it has {} of {needed} bytes: get or save it again", bytes.len());
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("is cut off: get or save it again")?;
    let length = u64::from_le_bytes(*length);
    if length > limits::SAFETENSORS_HEADER_BYTES {
        return Err(format!("is broken (it claims a header of {length} bytes): download it again"));
    }
    if length > rest.len() as u64 {
        return Err(cut(length + 8));
    }
    let broken = |error| match data_length(&rest[..length as usize]).map(|data| data.saturating_add(length + 8)) {
        Some(needed) if needed > bytes.len() as u64 => cut(needed),
        _ => format!("is broken ({error}): download it again"),
    };
    SafeTensors::deserialize(bytes).map_err(broken)
}

/// The length of the tensors that a header describes; `None` if it can't be read.
fn data_length(header: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Entry {
        data_offsets: Option<(u64, u64)>,
    }
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(header).ok()?;
    entries.values().filter_map(|entry| Some(entry.data_offsets?.1)).max()
}

/// The network's tensors of several files.
fn contents(files: &[SafeTensors]) -> Read<Contents> {
    let views: Vec<(&str, TensorView)> = files.iter().flat_map(SafeTensors::iter).collect();
    if views.len() > limits::TENSORS {
        return Err(format!("holds more than {} tensors: save the network alone", limits::TENSORS));
    }
    let mut shapes: Vec<_> = views.iter().map(|(name, view)| (*name, view.shape())).collect();
    shapes.sort_unstable();
    let views: BTreeMap<&str, &TensorView> = views.iter().map(|(name, view)| (*name, view)).collect();
    shapes.dedup_by_key(|(name, _)| *name);
    let network = branches::network(&shapes);
    let mut contents =
        Contents { names: shapes.iter().map(|(name, _)| name.to_string()).collect(), ..Contents::default() };
    for (index, name) in network.kept {
        let original = shapes[index].0;
        let view = views[original];
        if !supported(view.dtype()) {
            contents.report.unsupported.push(name);
            continue;
        }
        let tensor =
            view.load(&Device::Cpu).map_err(|error| format!("has a tensor `{original}` that is broken ({error})"))?;
        contents.tensors.insert(name, tensor);
    }
    contents.report.prefixes = network.prefixes;
    contents.report.left_out = network.left_out;
    contents.report.averaged = network.averaged;
    Ok(contents)
}

fn supported(dtype: Dtype) -> bool {
    use Dtype::{BF16, F16, F32, F64, I16, I32, I64, U8, U32};
    matches!(dtype, U8 | U32 | I16 | I32 | I64 | BF16 | F16 | F32 | F64)
}

#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The contents of the shards beside an index, which must be the ones that it lists.
pub(super) fn read_shards(index: &Path, text: &[u8]) -> Read<Contents> {
    if text.len() as u64 > limits::INDEX_BYTES {
        return Err("is too long for an index of weight files: give a weight file".into());
    }
    let Index { weight_map } = serde_json::from_slice(text)
        .map_err(|_| "is a text in JSON, not a weight file or an index of them: give the weight file".to_string())?;
    let shards: BTreeSet<&String> = weight_map.values().collect();
    let mut maps = Vec::new();
    for shard in shards {
        if Path::new(shard).components().count() != 1 || shard.contains(['/', '\\']) || shard == ".." {
            return Err(format!("names a shard `{}` outside its folder: download it again", shard.escape_debug()));
        }
        let named = |problem| format!("names a shard `{shard}` that {problem}");
        let file = index.with_file_name(shard);
        if !file.exists() {
            return Err(named("is not beside it: download it too".to_string()));
        }
        let (map, kind) = open(&file).map_err(named)?;
        maps.push((shard, map, kind));
    }
    let contents = match maps.iter().all(|(.., kind)| *kind == recognize::Kind::Safetensors) {
        true => {
            let parsed = maps
                .iter()
                .map(|(shard, map, _)| parse(map).map_err(|problem| format!("names a shard `{shard}` that {problem}")));
            contents(&parsed.collect::<Read<Vec<_>>>()?)?
        }
        false => pickles(&maps)?,
    };
    let present = |name: &String| contents.names.contains(name);
    match weight_map.keys().find(|name| !present(name)) {
        Some(name) => Err(format!("lists `{name}`, which its shards lack: download them again")),
        None => Ok(contents),
    }
}

/// The tensors of shards that torch.save wrote.
fn pickles(maps: &[(&String, FileContent, recognize::Kind)]) -> Read<Contents> {
    let mut all: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut whole = Contents::default();
    for (shard, map, kind) in maps {
        let read = match kind {
            recognize::Kind::Zip => pickle::read_zip(map, Clean::No),
            recognize::Kind::Legacy => pickle::read_legacy(map, Clean::No),
            _ => return Err(format!("names a shard `{shard}` of another kind than the rest: download them again")),
        };
        let read = read.map_err(|problem| format!("names a shard `{shard}` that {problem}"))?;
        whole.names.extend(read.names);
        whole.report.not_tensors.extend(read.report.not_tensors);
        whole.report.unsupported.extend(read.report.unsupported);
        whole.report.foreign.extend(read.report.foreign);
        all.extend(read.tensors);
    }
    let foreign = &mut whole.report.foreign;
    foreign.sort();
    foreign.dedup();
    let names: Vec<(&str, &[usize])> = all.iter().map(|(name, tensor)| (name.as_str(), tensor.dims())).collect();
    let network = branches::network(&names);
    let originals: Vec<String> = all.keys().cloned().collect();
    for (index, name) in network.kept {
        if let Some(tensor) = all.remove(&originals[index]) {
            whole.tensors.insert(name, tensor);
        }
    }
    whole.report.prefixes = network.prefixes;
    whole.report.left_out = network.left_out;
    whole.report.averaged = network.averaged;
    Ok(whole)
}

/// Whether a text is an index of shards.
pub(super) fn is_index(text: &[u8]) -> bool {
    text.len() as u64 <= limits::INDEX_BYTES && serde_json::from_slice::<Index>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_cut_off_anywhere_says_so_and_one_that_is_too_long_is_broken() {
        let header = br#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#;
        let whole = [&(header.len() as u64).to_le_bytes(), &header[..], &[0; 12]].concat();
        assert_eq!(parse(&whole).unwrap().len(), 1);
        for length in 0..whole.len() {
            let problem = parse(&whole[..length]).unwrap_err();
            assert!(problem.starts_with("is cut off") && problem.ends_with("get or save it again"), "{problem}");
        }
        assert!(parse(&[&whole[..], &[0]].concat()).unwrap_err().starts_with("is broken"));
    }
}
