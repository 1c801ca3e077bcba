//! The files of a folder, or of a zip that stays packed, by name.

use crate::readers::limits::{LAKE, LAKE_FILE};
use crate::readers::{damaged, entries, regular};
use crate::{DataError, Result, walk};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use zip::ZipArchive;

/// Named files, parts of a name joined by `/`.
pub(super) struct Tree {
    files: BTreeMap<String, Vec<u8>>,
    /// Their total length.
    bytes: u64,
}

impl Tree {
    /// The small files below a folder or in a zip that `wanted` names.
    ///
    /// # Errors
    ///
    /// Returns an error if the path is neither, a file can't be read, or a file or all of them are
    /// larger than runs can be.
    pub(super) fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let metadata = fs::metadata(path).map_err(|_| DataError::NoSuchPath(path.to_path_buf()))?;
        let mut tree = Self { files: BTreeMap::new(), bytes: 0 };
        if metadata.is_dir() {
            for found in walk(path)?.files.into_iter().filter(|found| wanted(&found.name)) {
                let mut file = regular(&found.path).map_err(|error| unreadable(&found.path, &error))?;
                tree.add(&found.path, found.name, &mut file)?;
            }
        } else {
            let file = regular(path).map_err(|error| unreadable(path, &error))?;
            let mut archive = ZipArchive::new(file).map_err(|error| damaged(path, &error))?;
            for entry in entries(path, &mut archive)?.into_iter().filter(|entry| wanted(&entry.name)) {
                let at = path.join(&entry.name);
                if let Some(problem) = entry.problem {
                    return Err(DataError::BadFile { path: at, problem });
                }
                let file = archive.by_index(entry.place).map_err(|error| damaged(path, &error))?;
                tree.add(&at, entry.name, &mut file.take(entry.most))?;
            }
        }
        Ok(tree)
    }

    /// Adds a file of this name.
    fn add(&mut self, path: &Path, name: String, source: &mut dyn Read) -> Result<()> {
        let mut bytes = Vec::new();
        source.take(LAKE_FILE + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
        self.bytes += bytes.len() as u64;
        let too_large = |what: &str, most: u64| {
            let problem = format!("{what} larger than {} MiB, more than runs can be: give only the runs", most >> 20);
            DataError::BadFile { path: path.to_path_buf(), problem }
        };
        if bytes.len() as u64 > LAKE_FILE {
            return Err(too_large("is", LAKE_FILE));
        }
        if self.bytes > LAKE {
            return Err(too_large("and the files before it are", LAKE));
        }
        self.files.insert(name, bytes);
        Ok(())
    }

    /// The files' names, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The bytes of a file.
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    DataError::BadFile { path: path.to_path_buf(), problem: format!("can't be read ({error}): check its permissions") }
}
