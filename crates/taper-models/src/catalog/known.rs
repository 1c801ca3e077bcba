//! What the catalog says about a file, by its length and SHA-256.

use super::preprocessing::Preprocessing;
use crate::{Architecture, ModelError, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

const LIST: &str = include_str!("../../catalog/weights.toml");
const IMAGENET: &str = include_str!("../../catalog/imagenet-1k.txt");

/// One entry of the catalog of published weights.
#[derive(Debug, Clone)]
pub struct KnownWeights {
    /// The catalog's name for it.
    pub name: String,
    /// The network.
    pub architecture: Architecture,
    /// Names of the head's outputs; `None` if the file has no head.
    pub classes: Option<Vec<String>>,
    /// How images are prepared for it.
    pub preprocessing: Preprocessing,
    /// The license that its publisher states.
    pub license: Option<String>,
    /// Its repository on the Hugging Face hub; `None` if the catalog only has its hash.
    pub repository: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    architecture: String,
    also: Option<String>,
    repository: Option<String>,
    license: Option<String>,
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

impl KnownWeights {
    /// The entry of this name, or of this short name.
    ///
    /// # Errors
    /// Returns an error if the catalog has no such entry, listing all of them.
    pub fn named(name: &str) -> Result<Self> {
        let mut entries = entries()?;
        let short = |(_, entry): &(&String, &Entry)| entry.also.as_deref() == Some(name);
        let found = if entries.contains_key(name) {
            Some(name.to_string())
        } else {
            entries.iter().find(short).map(|(name, _)| name.clone())
        };
        match found.and_then(|name| entries.remove_entry(&name)) {
            Some((name, entry)) => entry.known(name),
            None => {
                let names: Vec<&str> =
                    entries.iter().map(|(name, entry)| entry.also.as_deref().unwrap_or(name)).collect();
                Err(ModelError::Invalid(format!(
                    "no known weights have the name `{name}`: use one of {}",
                    names.join(", ")
                )))
            }
        }
    }

    /// The entry of this file, by length and SHA-256; `None` for another file or a folder.
    ///
    /// # Errors
    /// Returns an error if the file can't be read.
    pub fn of_file(path: &Path) -> Result<Option<Self>> {
        let Ok(mut file) = File::open(path) else { return Ok(None) };
        let failed = |error: io::Error| ModelError::BadFile { path: path.to_path_buf(), problem: error.to_string() };
        let metadata = file.metadata().map_err(failed)?;
        let mut candidates = entries()?.into_iter().filter(|(_, entry)| {
            entry.files.iter().any(|wanted| wanted.sha256.is_some() && wanted.bytes == Some(metadata.len()))
        });
        let Some(first) = metadata.is_file().then(|| candidates.next()).flatten() else { return Ok(None) };
        let mut hasher = Sha256::new();
        io::copy(&mut file, &mut hasher).map_err(failed)?;
        let hash: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut all = std::iter::once(first).chain(candidates);
        let found = all.find(|(_, entry)| entry.files.iter().any(|wanted| wanted.sha256.as_ref() == Some(&hash)));
        found.map(|(name, entry)| entry.known(name)).transpose()
    }
}

fn entries() -> Result<BTreeMap<String, Entry>> {
    toml::from_str(LIST).map_err(|error| ModelError::Invalid(format!("the catalog of weights: {error}")))
}

impl Entry {
    fn known(self, name: String) -> Result<KnownWeights> {
        let classes = match self.classes {
            Some(Classes::List(list)) if list == "imagenet-1k" => Some(IMAGENET.lines().map(String::from).collect()),
            Some(Classes::List(list)) => {
                return Err(ModelError::Invalid(format!(
                    "the catalog has no list of classes `{list}`: use imagenet-1k"
                )));
            }
            Some(Classes::Names(names)) => Some(names),
            None => None,
        };
        Ok(KnownWeights {
            architecture: self.architecture.parse()?,
            classes,
            preprocessing: self.preprocessing,
            license: self.license,
            repository: self.repository,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_of_a_network_that_takes_images_of_its_size() {
        let entries = entries().unwrap();
        assert!(entries.len() > 15);
        for (name, entry) in entries {
            let known = entry.known(name.clone()).unwrap();
            let side = known.preprocessing.size;
            known.preprocessing.steps(None).unwrap();
            known.architecture.backbone((3, side, side)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    #[test]
    fn weights_are_found_by_either_name_and_an_unknown_name_lists_all() {
        assert_eq!(KnownWeights::named("resnet18").unwrap().name, "resnet18.a1_in1k");
        assert_eq!(KnownWeights::named("resnet18.a1_in1k").unwrap().architecture.to_string(), "resnet18");
        let error = KnownWeights::named("resnet1").unwrap_err().to_string();
        assert!(error.contains("resnet18") && error.contains("efficientnet-lite0"), "{error}");
    }

    #[test]
    fn imagenet_has_a_thousand_names_no_two_alike() {
        let names: std::collections::BTreeSet<&str> = IMAGENET.lines().collect();
        assert_eq!((names.len(), IMAGENET.lines().count()), (1000, 1000));
        assert_eq!((IMAGENET.lines().next(), IMAGENET.lines().last()), (Some("tench"), Some("toilet tissue")));
    }

    #[test]
    fn a_file_of_unknown_length_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.pth");
        std::fs::write(&path, b"no weights").unwrap();
        assert!(KnownWeights::of_file(&path).unwrap().is_none());
        assert!(KnownWeights::of_file(folder.path()).unwrap().is_none());
    }
}
