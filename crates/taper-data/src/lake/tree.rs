//! The files of a folder, or of a zip that stays packed, by name.

use crate::{DataError, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// Deeper folders hold no runs.
const DEPTH: usize = 5;

/// Named files, parts of a name joined by `/`.
pub(super) struct Tree {
    files: BTreeMap<String, Vec<u8>>,
}

impl Tree {
    /// The small files below a folder or in a zip that `wanted` names.
    ///
    /// Errs when the path is neither, or a file can't be read.
    pub(super) fn read(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let bad = |problem: String| DataError::BadFile { path: path.to_path_buf(), problem };
        let metadata = fs::metadata(path).map_err(|_| DataError::NoSuchPath(path.to_path_buf()))?;
        let mut files = BTreeMap::new();
        if metadata.is_dir() {
            let mut found = Vec::new();
            list(path, "", DEPTH, &mut found)?;
            for (name, file) in found.into_iter().filter(|(name, _)| wanted(name)) {
                let bytes = fs::read(&file).map_err(|error| unreadable(&file, &error))?;
                files.insert(name, bytes);
            }
        } else {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            let broken = |error| bad(format!("is no folder and no sound zip ({error}), give one of the two"));
            let mut archive = ZipArchive::new(file).map_err(broken)?;
            for place in 0..archive.len() {
                let mut entry = archive.by_index(place).map_err(broken)?;
                let name = entry.name().replace('\\', "/");
                if entry.is_file() && wanted(&name) {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes).map_err(|error| bad(format!("{name}: {error}, get it again")))?;
                    files.insert(name, bytes);
                }
            }
        }
        Ok(Self { files })
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

fn list(folder: &Path, prefix: &str, depth: usize, into: &mut Vec<(String, PathBuf)>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let path = entry.map_err(|error| unreadable(folder, &error))?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            if depth > 0 {
                list(&path, &format!("{name}/"), depth - 1, into)?;
            }
        } else {
            into.push((name, path));
        }
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> DataError {
    DataError::BadFile { path: path.to_path_buf(), problem: format!("can't be read ({error}), check its permissions") }
}
