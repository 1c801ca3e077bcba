//! Files that are complete or absent: written under a temporary name next to the target, synced,
//! then renamed.

use crate::{LearnError, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes a file so that a kill at any time leaves either the old one or the new one. If two processes
/// write the same file, one of the two complete files remains. A symbolic link is followed.
///
/// # Errors
/// Returns an error if the file or its folder can't be written; the old file is kept.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// taper_learn::runs::write_atomically(&folder.path().join("result.json"), b"{}")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        let path = &followed(path)?;
        let folder = folder_of(path);
        fs::create_dir_all(folder)?;
        let prefix = format!(".{}.", name_of(path));
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(UNFINISHED);
        #[cfg(unix)]
        {
            // as for any new file, restricted by the user's umask
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(folder)
    };
    write().map_err(|source| LearnError::File { path: path.to_path_buf(), source })
}

const UNFINISHED: &str = ".unfinished";

/// The name of the file that `name` was being written for, if it is such a temporary name.
pub(crate) fn unfinished(name: &str) -> Option<&str> {
    let inner = name.strip_prefix('.')?.strip_suffix(UNFINISHED)?;
    // the random part; earlier versions had none
    Some(inner.rsplit_once('.').filter(|(_, random)| is_random(random)).map_or(inner, |(target, _)| target))
}

/// Whether this is what [`tempfile`] puts between prefix and suffix.
pub(crate) fn is_random(part: &str) -> bool {
    part.len() == 6 && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The folder that holds `path`.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file's bytes; `None` if there is no such file.
///
/// # Errors
/// Returns an error if there is one that can't be read: it must not be taken for a missing one.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(LearnError::File { path: path.to_path_buf(), source }),
    }
}

/// The last part of `path`.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Where a symbolic link leads; any other path as it is.
pub(crate) fn followed(path: &Path) -> io::Result<PathBuf> {
    if path.is_symlink() { fs::canonicalize(path) } else { Ok(path.to_path_buf()) }
}

/// Makes renames in a folder durable, if the system supports it.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // some file systems don't support this for folders
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}
