//! Weights that lie in the Hugging Face hub's shared cache.

use super::known::LIST;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The entry of `data/weights.toml` that does for photographs.
pub(crate) const USUAL: &str = "efficientnet-lite0";

#[derive(Deserialize)]
struct Entry {
    repository: Option<String>,
}

/// The usual weights for photographs, where the hub's cache holds them: never fetched here.
pub(crate) fn usual_weights() -> Result<Option<PathBuf>> {
    match hub_folder() {
        Some(folder) => find(&folder, USUAL),
        None => Ok(None),
    }
}

/// `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or where the hub puts it.
fn hub_folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || Some(set("HF_HOME").or_else(|| Some(set("HOME")?.join(".cache/huggingface")))?.join("hub"));
    set("HF_HUB_CACHE").or_else(home)
}

/// The newest `model.safetensors` of an entry's repository in the hub's cache `folder`.
fn find(folder: &Path, name: &str) -> Result<Option<PathBuf>> {
    let entries: BTreeMap<String, Entry> = toml::from_str(LIST).context("data/weights.toml")?;
    let Some(repository) = entries.get(name).and_then(|entry| entry.repository.as_ref()) else { return Ok(None) };
    let snapshots = folder.join(format!("models--{}", repository.replace('/', "--"))).join("snapshots");
    let Ok(listed) = std::fs::read_dir(snapshots) else { return Ok(None) };
    let files = listed.flatten().map(|snapshot| snapshot.path().join("model.safetensors"));
    Ok(files.filter(|file| file.is_file()).max_by_key(|file| file.metadata().and_then(|data| data.modified()).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_weights_are_found_where_the_hub_keeps_them() {
        let hub = tempfile::tempdir().unwrap();
        assert_eq!(find(hub.path(), USUAL).unwrap(), None);
        let snapshot = hub.path().join("models--timm--tf_efficientnet_lite0.in1k/snapshots/0123abcd");
        std::fs::create_dir_all(&snapshot).unwrap();
        assert_eq!(find(hub.path(), USUAL).unwrap(), None, "a snapshot without its file");
        std::fs::write(snapshot.join("model.safetensors"), b"weights").unwrap();
        assert_eq!(find(hub.path(), USUAL).unwrap(), Some(snapshot.join("model.safetensors")));
    }
}
