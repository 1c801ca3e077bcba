//! `crates/taper-models/catalog/weights.toml`: pretrained weights by name.

use crate::{cache::write_beside, fetch::Expected};
use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use toml_edit::{DocumentMut, value};

/// The list of weights.
pub(crate) struct Manifest {
    path: PathBuf,
    document: DocumentMut,
    /// Names with their entries, in the file's order.
    pub(crate) entries: Vec<(String, Entry)>,
}

/// Weights of one network.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    /// A shorter name for the same.
    pub(crate) also: Option<String>,
    /// `owner/name` on the hub, if they are there.
    pub(crate) repository: Option<String>,
    /// A branch, tag or commit there.
    revision: Option<String>,
    /// Another place that they come from.
    pub(crate) source: Option<String>,
    /// As the publisher states it.
    pub(crate) license: Option<String>,
    /// The files of the network.
    pub(crate) files: Vec<Wanted>,
}

/// A file of a network.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// Its path in the repository.
    pub(crate) name: String,
    bytes: Option<u64>,
    sha256: Option<String>,
    approximate_bytes: Option<u64>,
}

/// What was found out about a file, to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct Pin {
    /// Under which name.
    pub(crate) entry: String,
    /// At which commit.
    pub(crate) commit: String,
    /// The file.
    pub(crate) file: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// Its SHA-256.
    pub(crate) sha256: String,
}

impl Entry {
    /// The revision to fetch.
    pub(crate) fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The length of all files in bytes, as far as known.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| file.bytes.or(file.approximate_bytes)).sum()
    }
}

impl Wanted {
    /// What is pinned about it.
    pub(crate) fn expected(&self) -> Expected {
        Expected { bytes: self.bytes, sha256: self.sha256.as_ref().map(|hash| hash.to_lowercase()) }
    }
}

impl Pin {
    /// The file's line in the list.
    pub(crate) fn line(&self) -> String {
        format!("{{ name = \"{}\", bytes = {}, sha256 = \"{}\" }}", self.file, self.bytes, self.sha256)
    }
}

impl Manifest {
    /// Reads the list.
    ///
    /// Fails if it is missing, or not in the format of its head comment.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let wrong = || format!("{} is not a list of weights: see the comment at its top", path.display());
        let document: DocumentMut = text.parse().with_context(wrong)?;
        let mut by_name: BTreeMap<String, Entry> = toml::from_str(&text).with_context(wrong)?;
        let entries = document.iter().filter_map(|(name, _)| by_name.remove_entry(name)).collect();
        Ok(Self { path: path.to_path_buf(), document, entries })
    }

    /// The entry with this name.
    ///
    /// Fails if there is none; the error lists all names.
    pub(crate) fn find(&self, name: &str) -> Result<(&str, &Entry)> {
        let found = self.entries.iter().find(|(full, entry)| full == name || entry.also.as_deref() == Some(name));
        let (full, entry) = found.ok_or_else(|| {
            let names: Vec<&str> = self.entries.iter().map(|(name, _)| name.as_str()).collect();
            anyhow!("`{name}` is not in {}: use one of {}", self.path.display(), names.join(", "))
        })?;
        Ok((full, entry))
    }

    /// Records commits, lengths and hashes, and leaves the rest of the file unchanged.
    ///
    /// Fails if the file can't be written.
    pub(crate) fn pin(mut self, pins: &[Pin]) -> Result<()> {
        for pin in pins {
            let entry = &mut self.document[&pin.entry];
            entry["revision"] = value(&pin.commit);
            for file in entry["files"].as_array_mut().into_iter().flat_map(|files| files.iter_mut()) {
                let Some(file) = file.as_inline_table_mut() else { continue };
                if file.get("name").and_then(|name| name.as_str()) == Some(&pin.file) {
                    file.remove("approximate_bytes");
                    file.insert("bytes", (pin.bytes as i64).into());
                    file.insert("sha256", pin.sha256.as_str().into());
                    file.fmt();
                }
            }
        }
        let text = self.document.to_string();
        write_beside(&self.path, |path| fs::write(path, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/taper-models/catalog/weights.toml")
    }

    #[test]
    fn the_projects_list_says_of_every_name_all_that_taper_needs() {
        let manifest = Manifest::read(&ours()).unwrap();
        let table: toml::Table = fs::read_to_string(ours()).unwrap().parse().unwrap();
        let mut names: Vec<&str> = Vec::new();
        for (name, entry) in &manifest.entries {
            names.push(name);
            names.extend(entry.also.as_deref());
            assert!(entry.repository.is_some() != entry.source.is_some(), "{name}: hub or source");
            assert!(!entry.files.is_empty() && entry.bytes() > 0, "{name}");
            for file in &entry.files {
                let expected = file.expected();
                assert!(expected.sha256.is_none_or(|hash| crate::digest::is_sha256(&hash)), "{name}");
                assert!(entry.repository.is_some() || file.sha256.is_some(), "{name} can only be known by a hash");
            }
            let raw = table[name].as_table().unwrap();
            assert!(raw["architecture"].is_str(), "{name}");
            let preprocessing = raw["preprocessing"].as_table().unwrap();
            assert!(preprocessing["size"].as_integer().unwrap() > 0, "{name}");
            let crop = preprocessing["crop"].as_float().unwrap();
            assert!(crop > 0.5 && crop <= 1.0, "{name}");
            assert!(["bilinear", "bicubic"].contains(&preprocessing["interpolation"].as_str().unwrap()), "{name}");
            for key in ["mean", "std"] {
                let values = preprocessing[key].as_array().unwrap();
                assert!(values.len() == 3 && values.iter().all(|v| (0.0..1.0).contains(&v.as_float().unwrap())));
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a name stands for one thing");
    }

    #[test]
    fn a_pin_changes_its_own_lines_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.toml");
        let before = fs::read_to_string(ours()).unwrap();
        fs::write(&path, &before).unwrap();
        let pin = Pin {
            entry: "resnet18.a1_in1k".into(),
            commit: "c".repeat(40),
            file: "model.safetensors".into(),
            bytes: 7,
            sha256: "a".repeat(64),
        };
        Manifest::read(&path).unwrap().pin(std::slice::from_ref(&pin)).unwrap();
        let after = fs::read_to_string(&path).unwrap();
        assert!(after.contains(&format!("revision = \"{}\"", pin.commit)));
        assert!(after.contains(&format!("\n  {},\n", pin.line())), "{after}");
        let changed = before.lines().zip(after.lines()).filter(|(before, after)| before != after).count();
        assert_eq!((before.lines().count(), changed), (after.lines().count(), 2));
        let (_, entry) = (Manifest::read(&path).unwrap().entries).swap_remove(0);
        assert_eq!(entry.files[0].expected().bytes, Some(7));
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let manifest = Manifest::read(&ours()).unwrap();
        assert_eq!(manifest.find("resnet50").unwrap().0, "resnet50.a1_in1k");
        let problem = manifest.find("resnet51").err().unwrap().to_string();
        assert!(problem.contains("`resnet51`") && problem.contains("dinov2-small"), "{problem}");
    }
}
