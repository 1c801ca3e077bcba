//! PyTorch's zip format: `NAME/data.pkl` and one entry `NAME/data/KEY` for each storage.

use super::machine::run;
use super::tensor::StorageRef;
use super::{Clean, Read, contents, state_dict};
use crate::weights::archive::Archive;
use crate::weights::contents::Contents;

/// The contents of a zip archive that torch.save wrote.
pub(in crate::weights) fn read(bytes: &[u8], clean: Clean) -> Read<Contents> {
    let archive = Archive::new(bytes)?;
    let root = root(&archive).ok_or_else(|| stranger(&archive))?;
    let entry = |name: &str| archive.entry(&format!("{root}{name}"));
    if let Some(order) = entry("byteorder")
        && *archive.read(order, 16)? != *b"little"
    {
        return Err("was written on a big-endian machine: save it again on a little-endian one".into());
    }
    let program = entry("data.pkl").ok_or("has no data.pkl: download it again")?;
    let program = archive.read(program, program.size())?;
    let pickle = run(&program)?;
    let found = state_dict::find(&pickle)?;
    contents(found, bytes.len() as u64, clean, |StorageRef { key, .. }| {
        let stored =
            entry(&format!("data/{key}")).ok_or_else(|| format!("has no storage `{key}`: the file is broken"))?;
        archive.read(stored, stored.size())
    })
}

/// The error for an archive of something else, by what it holds.
fn stranger(archive: &Archive) -> String {
    let weights = ["safetensors", "pth", "pt", "th", "bin", "ckpt"];
    let inside = archive.names().find(|name| weights.iter().any(|ending| name.ends_with(&format!(".{ending}"))));
    if let Some(inside) = inside {
        return format!("is a zip archive around the weights: unpack it and use `{}`", inside.escape_debug());
    }
    let count = archive.names().count();
    let first = archive.names().next().unwrap_or_default();
    format!(
        "is a zip archive of {count} other files, such as `{}`: give a file that torch.save wrote",
        first.escape_debug()
    )
}

/// Whether a zip archive is one that torch.save wrote.
pub(in crate::weights) fn is_checkpoint(bytes: &[u8]) -> bool {
    Archive::new(bytes).is_ok_and(|archive| root(&archive).is_some())
}

/// What the names of torch.save's entries begin with, such as `archive/`; `None` for an archive of something else.
fn root<'a>(archive: &Archive<'a>) -> Option<&'a str> {
    let is_root = |root: &&str| root.is_empty() || root.ends_with('/');
    archive.names().find_map(|name| name.strip_suffix("data.pkl").filter(is_root))
}
