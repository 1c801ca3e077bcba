//! The weight file in a folder, as the Hugging Face hub and users arrange it.

use super::{Read, open, pickle, recognize};
use std::path::{Path, PathBuf};

/// Names that the hub's libraries give, the preferred one first.
const NAMES: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
];

/// How many files of a folder are opened to find the one with weights.
const OPENED: usize = 200;

/// The weight file at a path: itself, or the one in the folder.
///
/// Fails for a folder without a weight file, or with several.
pub(super) fn resolve(path: &Path) -> Read<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let folder = snapshot(path).unwrap_or_else(|| path.to_path_buf());
    if let Some(known) = NAMES.iter().map(|name| folder.join(name)).find(|file| file.is_file()) {
        return Ok(known);
    }
    let listed = std::fs::read_dir(&folder).map_err(|error| format!("can't be read ({error}): check the path"))?;
    let mut files: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).filter(|file| file.is_file()).collect();
    files.sort();
    files.truncate(OPENED);
    files.retain(|file| is_weights(file));
    match files.as_slice() {
        [] => Err("is a folder without a weight file such as model.safetensors: give the weight file".into()),
        [only] => Ok(only.clone()),
        [first, second, ..] => Err(format!(
            "is a folder with {} weight files, such as {} and {}: give one of them",
            files.len(),
            name(first),
            name(second)
        )),
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().escape_debug().to_string()
}

fn is_weights(file: &Path) -> bool {
    match open(file) {
        Ok((map, recognize::Kind::Zip)) => pickle::is_checkpoint(&map),
        Ok((_, kind)) => kind != recognize::Kind::Json,
        Err(_) => false,
    }
}

/// The current snapshot of a repository's folder in the hub's cache.
fn snapshot(path: &Path) -> Option<PathBuf> {
    let snapshots = path.join("snapshots");
    if let Ok(revision) = std::fs::read_to_string(path.join("refs/main")) {
        let at = snapshots.join(revision.trim());
        if !revision.contains(['/', '\\']) && !revision.contains("..") && at.is_dir() {
            return Some(at);
        }
    }
    let mut all = std::fs::read_dir(snapshots).ok()?.flatten().map(|entry| entry.path());
    all.next().filter(|_| all.next().is_none())
}
