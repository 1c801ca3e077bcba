//! Walking a folder: each file once, links without loops, nothing but regular files.

use super::format::{Content, FIRST_BYTES, recognize};
use super::limits::{DEPTH, FILES};
use super::names::{is_called_a_picture, text};
use super::part_word::PartWord;
use super::system::is_left_behind;
use super::{bad_file, unreadable};
use crate::{LeftOut, Reason, Result};
use rayon::prelude::*;
use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its path inside the folder as text, parts joined by `/`. A name that is not UTF-8 keeps its
    /// other bytes as `\xNN`, so different names stay different.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Walk {
    /// Regular files, sorted by the folders and name of their paths.
    pub files: Vec<Found>,
    /// Folders below the root, as names, unsorted.
    pub folders: Vec<String>,
    /// What was left out, in order of walking.
    pub skipped: Vec<LeftOut>,
}

/// Lists the files of a folder and of the folders in it.
///
/// Each folder is read once, whatever links lead to it, so a walk ends. Hidden files and what
/// systems leave behind are left out, and so is all that is not a regular file. A link to a file
/// counts as that file. A link to a folder is followed if the folder lies inside the root, or if it
/// is one class's folder: it holds pictures itself, or is called `train`, `val` or the like. Links to
/// other places outside and to folders around the root are left out.
///
/// # Errors
///
/// Returns an error if the root can't be read, or holds more than 5 million files.
pub fn walk(root: &Path) -> Result<Walk> {
    let whole = root.canonicalize().map_err(|error| unreadable(root, &error))?;
    let metadata = fs::metadata(&whole).map_err(|error| unreadable(root, &error))?;
    let mut walker = Walker { root, whole, seen: HashSet::new(), links: VecDeque::new(), walk: Walk::default() };
    walker.seen.insert(identity(&walker.whole, &metadata));
    fs::read_dir(root).map_err(|error| unreadable(root, &error))?;
    walker.enter(root, "", 0, None)?;
    while let Some((path, name, depth)) = walker.links.pop_front() {
        walker.follow(&path, &name, depth)?;
    }
    let mut walk = walker.walk;
    walk.files.par_sort_by(|a, b| a.name.split('/').cmp(b.name.split('/')));
    Ok(walk)
}

/// [`walk`], with pictures alone as files: by content, whatever they are called. A file that is
/// called a picture stays, so that reading it tells what is wrong with it.
///
/// # Errors
///
/// Returns an error if [`walk`] does.
pub fn walk_images(root: &Path) -> Result<Walk> {
    let Walk { files, folders, mut skipped } = walk(root)?;
    let (files, left_out) = keep_pictures(files, |file| &file.name, |file| first_bytes(&file.path));
    skipped.extend(left_out);
    Ok(Walk { files, folders, skipped })
}

/// Splits files, given their names and first bytes, into pictures and what is left out, each in
/// order. A file that is called a picture counts as one without a look at its bytes.
pub(super) fn keep_pictures<F: Sync>(
    files: Vec<F>,
    name: impl Fn(&F) -> &str + Sync,
    first: impl Fn(&F) -> std::io::Result<Vec<u8>> + Sync,
) -> (Vec<F>, Vec<LeftOut>) {
    let reasons: Vec<Option<LeftOut>> = files
        .par_iter()
        .map(|file| if is_called_a_picture(name(file)) { None } else { not_an_image(name(file), first(file)) })
        .collect();
    let (mut pictures, mut left_out) = (Vec::with_capacity(files.len()), Vec::new());
    for (file, reason) in files.into_iter().zip(reasons) {
        match reason {
            None => pictures.push(file),
            Some(reason) => left_out.push(reason),
        }
    }
    (pictures, left_out)
}

/// Why a file of these first bytes, which is not called a picture, is left out; `None` for a
/// picture.
fn not_an_image(name: &str, first: std::io::Result<Vec<u8>>) -> Option<LeftOut> {
    let left_out = |reason, detail: String| Some(LeftOut::new(name, reason, detail));
    match first.map(|first| recognize(&first)) {
        Ok(content) if content.is_image() => None,
        Ok(Content::Text) => left_out(Reason::Document, "is text, not an image".to_string()),
        Ok(content) => left_out(Reason::NotAnImage, content.readable().err().unwrap_or_default()),
        Err(error) => left_out(Reason::Unreadable, format!("can't be read ({error}): check its permissions")),
    }
}

fn first_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(FIRST_BYTES);
    File::open(path)?.take(FIRST_BYTES as u64).read_to_end(&mut first)?;
    Ok(first)
}

#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = PathBuf;

/// What tells a folder from all others, whatever path leads to it.
#[cfg(unix)]
fn identity(_: &Path, metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(path: &Path, _: &Metadata) -> Identity {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

struct Walker<'a> {
    root: &'a Path,
    whole: PathBuf,
    seen: HashSet<Identity>,
    /// Links to folders, with the depth of their own folder: followed last, so that a folder goes by
    /// its own name.
    links: VecDeque<(PathBuf, String, usize)>,
    walk: Walk,
}

impl Walker<'_> {
    /// Lists a folder; `outside` tells how many more levels may be read of a folder that lies
    /// outside the root.
    fn enter(&mut self, folder: &Path, prefix: &str, depth: usize, outside: Option<usize>) -> Result<()> {
        let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.skip(prefix, Reason::Unreadable, format!("can't be read ({error}): check its permissions"));
                return Ok(());
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, own) = (entry.path(), text(&entry.file_name()));
            let name = format!("{prefix}{own}");
            let kind = entry.file_type().ok();
            if is_left_behind(&own) {
                let end = if kind.is_some_and(|kind| kind.is_dir()) { "/" } else { "" };
                self.skip(&format!("{name}{end}"), Reason::System, "is hidden, or left behind by a system");
                continue;
            }
            let link = kind.is_some_and(|kind| kind.is_symlink());
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                Err(_) if link => {
                    self.skip(&name, Reason::Link, "is a link to nothing: copy the file or remove the link");
                    continue;
                }
                Err(error) => {
                    self.skip(&name, Reason::Unreadable, format!("can't be read ({error}): check its permissions"));
                    continue;
                }
            };
            if metadata.is_file() {
                if self.walk.files.len() >= FILES {
                    return Err(bad_file(self.root, format!("holds more than {FILES} files: give a folder inside it")));
                }
                self.walk.files.push(Found { path, name, bytes: metadata.len() });
            } else if !metadata.is_dir() {
                self.skip(&name, Reason::SpecialFile, "is a pipe, socket or device: remove it");
            } else if link && outside.is_some() {
                self.skip(&name, Reason::Link, "is a link in a linked folder: copy the folder instead");
            } else if link {
                self.links.push_back((path, name, depth));
            } else if depth >= DEPTH || outside == Some(0) {
                let detail = if depth >= DEPTH { "lies too deep" } else { "lies below a linked class folder" };
                self.skip(&format!("{name}/"), Reason::Link, format!("{detail}: copy it to where it belongs"));
            } else if self.seen.insert(identity(&path, &metadata)) {
                self.walk.folders.push(name.clone());
                self.enter(&path, &format!("{name}/"), depth + 1, outside.map(|levels| levels - 1))?;
            } else {
                self.skip(&format!("{name}/"), Reason::SameFolder, "is a folder that was read under another name");
            }
        }
        Ok(())
    }

    /// Follows a link to a folder, or leaves it out.
    fn follow(&mut self, path: &Path, name: &str, depth: usize) -> Result<()> {
        let (Ok(target), Ok(metadata)) = (path.canonicalize(), fs::metadata(path)) else {
            self.skip(name, Reason::Link, "is a link that can't be read: remove it");
            return Ok(());
        };
        if self.whole.starts_with(&target) {
            self.skip(name, Reason::Link, "links to a folder around it: remove the link");
            return Ok(());
        }
        let outside = if target.starts_with(&self.whole) {
            None
        } else {
            let own = name.rsplit('/').next().unwrap_or(name);
            let in_class = depth > 0 && path.parent().is_some_and(holds_pictures);
            if !in_class && holds_pictures(&target) {
                Some(0)
            } else if !in_class && PartWord::of(own).is_some() {
                Some(1)
            } else {
                self.skip(
                    name,
                    Reason::Link,
                    "links to a folder outside that is not a class folder: copy it or link its class folders",
                );
                return Ok(());
            }
        };
        if self.seen.insert(identity(&target, &metadata)) {
            self.walk.folders.push(name.to_string());
            self.enter(path, &format!("{name}/"), depth + 1, outside)
        } else {
            self.skip(
                &format!("{name}/"),
                Reason::SameFolder,
                "links to a folder that was read already: remove the link",
            );
            Ok(())
        }
    }

    fn skip(&mut self, name: &str, reason: Reason, detail: impl Into<String>) {
        self.walk.skipped.push(LeftOut::new(name, reason, detail));
    }
}

/// Whether a folder holds pictures itself, by the first of its entries.
fn holds_pictures(folder: &Path) -> bool {
    const LOOKED_AT: usize = 200;
    let entries = fs::read_dir(folder).into_iter().flatten().take(LOOKED_AT).flatten();
    entries.filter(|entry| !is_left_behind(&text(&entry.file_name()))).any(|entry| {
        fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file())
            && (is_called_a_picture(&text(&entry.file_name()))
                || first_bytes(&entry.path()).is_ok_and(|first| recognize(&first).is_image()))
    })
}
