//! The hub's cache as every client of the hub lays it out: `blobs` by tag, `snapshots` of links, `refs`.

use crate::fetch::{settle, unwritable, with_suffix};
use anyhow::Result;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One repository in the cache.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    locks: PathBuf,
}

impl Shelf {
    /// The place of the model repository `owner/name` in a cache.
    pub(crate) fn new(cache: &Path, repository: &str) -> Self {
        let name = format!("models--{}", repository.replace('/', "--"));
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    /// The path of the content with this tag.
    pub(crate) fn blob(&self, tag: &str) -> PathBuf {
        self.folder.join("blobs").join(tag)
    }

    /// The lock to hold while writing it.
    pub(crate) fn lock(&self, tag: &str) -> PathBuf {
        self.locks.join(format!("{tag}.lock"))
    }

    /// The commit of a file in `snapshots`.
    pub(crate) fn commit_of(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(self.folder.join("snapshots")).ok()?;
        Some(below.iter().next()?.to_str()?.to_string())
    }

    /// Links the content with this tag as the file `name` of `commit`, and `revision` to `commit`.
    /// Returns the file's path.
    pub(crate) fn link(&self, revision: &str, commit: &str, name: &str, tag: &str) -> Result<PathBuf> {
        let pointer = self.folder.join("snapshots").join(commit).join(name);
        write_beside(&pointer, |path| {
            let up = Path::new("../..").join("../".repeat(name.matches('/').count()));
            point(&self.blob(tag), &up.join("blobs").join(tag), path)
        })?;
        if revision != commit {
            write_beside(&self.folder.join("refs").join(revision), |path| fs::write(path, commit))?;
        }
        Ok(pointer)
    }
}

/// Renames a file to `….rejected`, which nothing loads; `false` if it is already gone.
pub(crate) fn set_aside(path: &Path) -> Result<bool> {
    match fs::rename(path, with_suffix(path, ".rejected")) {
        Ok(()) => Ok(true),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(problem) => Err(unwritable(path, &problem)),
    }
}

/// Writes a file under a temporary name of this process, then renames it.
pub(crate) fn write_beside(target: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let staged = with_suffix(target, &format!(".{}.incomplete", std::process::id()));
    let written = || {
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        if fs::symlink_metadata(&staged).is_ok() {
            fs::remove_file(&staged)?;
        }
        write(&staged)?;
        settle(&staged, target)
    };
    written().map_err(|problem| unwritable(target, &problem))
}

#[cfg(unix)]
fn point(_: &Path, relative: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(relative, pointer)
}

#[cfg(not(unix))]
fn point(blob: &Path, _: &Path, pointer: &Path) -> io::Result<()> {
    fs::copy(blob, pointer).map(drop)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_linked_file_is_found_under_its_commit_and_its_revision() {
        let cache = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(cache.path(), "timm/resnet18.a1_in1k");
        fs::create_dir_all(shelf.blob("abc").parent().unwrap()).unwrap();
        fs::write(shelf.blob("abc"), "weights").unwrap();
        for name in ["model.safetensors", "deep/er/model.safetensors"] {
            let path = shelf.link("refs/pr/15", "c0ffee", name, "abc").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "weights");
            assert_eq!(shelf.commit_of(&path).unwrap(), "c0ffee");
        }
        let folder = cache.path().join("models--timm--resnet18.a1_in1k");
        assert_eq!(fs::read_to_string(folder.join("refs/refs/pr/15")).unwrap(), "c0ffee");
    }
}
