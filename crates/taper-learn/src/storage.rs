//! Files that are whole or not there: written to a temporary name beside the target, synced, then
//! renamed.

use crate::{LearnError, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes a file so that at any kill there is either the old one or the new one.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| LearnError::File { path: path.to_path_buf(), source };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let temporary = beside(path);
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        failed(source)
    })
}

/// Writes a directory of files so that it appears under its name only when it is whole. One that
/// was there before is replaced.
pub fn write_directory(path: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    let failed = |source| LearnError::File { path: path.to_path_buf(), source };
    let temporary = beside(path);
    let old = path.with_extension("replaced");
    for leftover in [&temporary, &old] {
        if leftover.exists() {
            fs::remove_dir_all(leftover).map_err(failed)?;
        }
    }
    for (name, bytes) in files {
        write_atomically(&temporary.join(name), bytes)?;
    }
    if path.exists() {
        fs::rename(path, &old).map_err(failed)?;
    }
    fs::rename(&temporary, path).map_err(failed)?;
    if old.exists() {
        fs::remove_dir_all(&old).map_err(failed)?;
    }
    Ok(())
}

const UNFINISHED: &str = ".unfinished";

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}{UNFINISHED}"))
}

/// Is this the name of something that was being written?
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}
