//! A list that a run keeps in a file, so that a later session can resume from it.

use crate::{Result, TransferError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use taper_learn::{LearnError, RunDirectory, runs::write_atomically};

/// Entries of this session and earlier ones, in the order in which they came.
#[derive(Debug)]
pub struct RunList<T> {
    /// Where they are kept; nowhere without a run.
    file: Option<PathBuf>,
    entries: Vec<T>,
}

impl<T: Serialize + DeserializeOwned> RunList<T> {
    /// The entries that earlier sessions of the run left in the file called `name`.
    ///
    /// # Errors
    /// Returns an error if the file can't be read, or was damaged.
    pub fn open(run: Option<&RunDirectory>, name: &str) -> Result<Self> {
        let file = run.map(|run| run.file(name)).transpose()?;
        let entries = match file.clone().filter(|file| file.exists()) {
            Some(path) => {
                let failed = |source| LearnError::File { path: path.clone(), source };
                let text = std::fs::read_to_string(&path).map_err(failed)?;
                serde_json::from_str(&text)
                    .map_err(|error| TransferError::DamagedFile { path: path.clone(), problem: error.to_string() })?
            }
            None => Vec::new(),
        };
        Ok(Self { file, entries })
    }

    /// Adds an entry, and writes all entries.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn push(&mut self, entry: T) -> Result<()> {
        self.extend([entry])
    }

    /// Adds entries, and writes all entries.
    ///
    /// # Errors
    /// Returns an error if the file can't be written.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = T>) -> Result<()> {
        self.entries.extend(entries);
        if let Some(file) = &self.file {
            write_json(file, &self.entries)?;
        }
        Ok(())
    }

    /// All entries.
    pub fn into_entries(self) -> Vec<T> {
        self.entries
    }
}

impl<T> Deref for RunList<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.entries
    }
}

/// Writes a value as JSON, at once or not at all.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|error| LearnError::Invalid(error.to_string()))?;
    Ok(write_atomically(path, &text)?)
}
