//! What `data/weights.toml` knows of a file by its length and SHA-256.

use super::preprocessing::Preprocessing;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use taper_models::Architecture;

pub(super) const LIST: &str = include_str!("../../../../data/weights.toml");
const IMAGENET: &str = include_str!("../../../../data/imagenet-1k.txt");

/// One file of the list.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) architecture: Architecture,
    /// Names of the head's outputs; none where it has no head.
    pub(super) classes: Option<Vec<String>>,
    pub(super) preprocessing: Preprocessing,
}

#[derive(Deserialize)]
struct Entry {
    architecture: String,
    files: Vec<Wanted>,
    classes: Option<Classes>,
    preprocessing: Preprocessing,
}

#[derive(Deserialize)]
struct Wanted {
    bytes: Option<u64>,
    sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Classes {
    List(String),
    Names(Vec<String>),
}

/// The entry whose file this is; none where there is none, or the path is a folder.
///
/// Errs when the file can't be read.
pub(super) fn find(path: &Path) -> Result<Option<Known>> {
    let Ok(mut file) = File::open(path) else { return Ok(None) };
    let about = || path.display().to_string();
    let metadata = file.metadata().with_context(about)?;
    let entries: BTreeMap<String, Entry> = toml::from_str(LIST).context("data/weights.toml")?;
    let mut candidates = entries.into_iter().filter(|(_, entry)| {
        entry.files.iter().any(|wanted| wanted.sha256.is_some() && wanted.bytes == Some(metadata.len()))
    });
    let Some(first) = metadata.is_file().then(|| candidates.next()).flatten() else { return Ok(None) };
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher).with_context(about)?;
    let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut all = std::iter::once(first).chain(candidates);
    let found = all.find(|(_, entry)| entry.files.iter().any(|wanted| wanted.sha256.as_ref() == Some(&hash)));
    found.map(|(name, entry)| entry.known(name)).transpose()
}

impl Entry {
    fn known(self, name: String) -> Result<Known> {
        let classes = match self.classes {
            Some(Classes::List(list)) if list == "imagenet-1k" => Some(IMAGENET.lines().map(String::from).collect()),
            Some(Classes::List(list)) => bail!("data/weights.toml: `{list}` is no list of classes, use imagenet-1k"),
            Some(Classes::Names(names)) => Some(names),
            None => None,
        };
        Ok(Known { architecture: self.architecture.parse()?, classes, preprocessing: self.preprocessing, name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_of_a_network_that_taper_has_with_preprocessing_that_it_does() {
        let entries: BTreeMap<String, Entry> = toml::from_str(LIST).unwrap();
        assert!(entries.len() > 15);
        for (name, entry) in entries {
            let known = entry.known(name.clone()).unwrap();
            let shape = known.preprocessing.transform(None).unwrap().shape((3, 300, 700)).unwrap();
            known.architecture.backbone(shape).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn imagenet_has_a_thousand_names_no_two_alike() {
        let names: std::collections::BTreeSet<&str> = IMAGENET.lines().collect();
        assert_eq!((names.len(), IMAGENET.lines().count()), (1000, 1000));
        assert_eq!((IMAGENET.lines().next(), IMAGENET.lines().last()), (Some("tench"), Some("toilet tissue")));
    }

    #[test]
    fn a_file_of_no_known_length_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.pth");
        std::fs::write(&path, b"no weights").unwrap();
        assert!(find(&path).unwrap().is_none() && find(folder.path()).unwrap().is_none());
    }
}
