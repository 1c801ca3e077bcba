//! What Taper has written in a run directory: `taper-run.json` marks the directory as a run and
//! lists its files, so that no other file is ever mistaken for one of them.

use crate::models::MODEL_FILES;
use crate::runs::checkpoint;
use crate::{LearnError, Result, runs::write_atomically};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path};

pub(crate) const MANIFEST: &str = "taper-run.json";
pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const CHECKPOINTS: &str = "checkpoint";
pub(crate) const MODEL: &str = "model";

/// Other files that runs write into their directory.
const OTHERS: [&str; 2] = ["tried.json", "cells.json"];

/// The format's version.
const VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The version of the format.
    taper_run: u32,
    /// The version of Taper that wrote it.
    version: String,
    /// Paths relative to the directory, with `/` between their parts.
    files: BTreeSet<String>,
}

impl Manifest {
    /// For a new run in `folder`: the files that runs write, except existing ones, which
    /// belong to somebody else.
    pub(crate) fn new(folder: &Path) -> Self {
        Self::of(default_files().into_iter().filter(|name| !folder.join(name).exists()).collect())
    }

    fn of(files: BTreeSet<String>) -> Self {
        Self { taper_run: VERSION, version: env!("CARGO_PKG_VERSION").to_string(), files }
    }

    /// The manifest of a run directory; `None` if the directory is not one.
    ///
    /// Fails if the manifest is damaged or of a later version.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        let Ok(bytes) = fs::read(&path) else { return Ok(Self::of_earlier_version(folder)) };
        let problem = |problem: String| LearnError::Run { path: path.clone(), problem };
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|error| problem(format!("is damaged ({error}): choose another directory")))?;
        if manifest.taper_run > VERSION {
            return Err(problem(format!("was written by Taper {}: use that version or a later one", manifest.version)));
        }
        let inside = |name: &String| {
            let parts = || Path::new(name).components();
            parts().next().is_some() && parts().all(|part| matches!(part, Component::Normal(_)))
        };
        match manifest.files.iter().find(|name| !inside(name)) {
            Some(name) => Err(problem(format!("lists `{name}`, which is not in the directory: correct it"))),
            None => Ok(Some(manifest)),
        }
    }

    /// A run of a version that wrote no manifest is recognized by its configuration: a command of Taper
    /// and a seed, and only plain values.
    fn of_earlier_version(folder: &Path) -> Option<Self> {
        let config: toml::Table = fs::read_to_string(folder.join(CONFIG)).ok()?.parse().ok()?;
        let command = config.get("command").and_then(toml::Value::as_str)?;
        let is_command = ["compare", "train", "meta-train", "survey"].contains(&command);
        let is_plain = |value: &toml::Value| !value.is_table() && !value.is_array();
        let has_seed = config.get("seed").is_some_and(|seed| seed.is_integer() || seed.is_float());
        if !is_command || !has_seed || !config.values().all(is_plain) {
            return None;
        }
        let mut files = default_files();
        let entries = fs::read_dir(folder.join(CHECKPOINTS)).into_iter().flatten().flatten();
        let written = entries.filter(|entry| checkpoint::is_checkpoint(&entry.path()));
        files.extend(written.map(|entry| format!("{CHECKPOINTS}/{}", entry.file_name().to_string_lossy())));
        files.retain(|name| folder.join(name).exists());
        Some(Self::of(files))
    }

    /// Writes the manifest into its run directory.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| LearnError::Invalid(error.to_string()))?;
        write_atomically(&folder.join(MANIFEST), &bytes)
    }

    pub(crate) fn lists(&self, name: &str) -> bool {
        self.files.contains(name)
    }

    pub(crate) fn with(mut self, name: &str) -> Self {
        self.files.insert(name.to_string());
        self
    }

    /// Removes what the run has written, the configuration first, and folders that are then empty.
    /// Everything else stays.
    pub(crate) fn remove_files(&self, folder: &Path) -> Result<()> {
        let first = [CONFIG].into_iter().filter(|name| self.lists(name));
        for name in first.chain(self.files.iter().map(String::as_str)) {
            let path = folder.join(name);
            match fs::remove_file(&path) {
                Err(source) if path.symlink_metadata().is_ok() => return Err(LearnError::File { path, source }),
                _ => {}
            }
        }
        let folders = self.files.iter().flat_map(|name| Path::new(name).ancestors().skip(1));
        // a folder comes before those that it holds
        for parent in folders.filter(|parent| !parent.as_os_str().is_empty()).collect::<BTreeSet<_>>().into_iter().rev()
        {
            // one that holds other files stays
            let _ = fs::remove_dir(folder.join(parent));
        }
        Ok(())
    }
}

fn default_files() -> BTreeSet<String> {
    let model = MODEL_FILES.iter().map(|name| format!("{MODEL}/{name}"));
    [CONFIG, METRICS].into_iter().chain(OTHERS).map(String::from).chain(model).collect()
}
