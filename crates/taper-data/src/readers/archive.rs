//! A zip of class folders, such as Omniglot's as published, read without unpacking
//! (Lake, Salakhutdinov and Tenenbaum 2015; `<root>/<alphabet>/character<NN>/<id>_<drawer>.png`).

use super::files::{Limits, Listing, open_listing};
use super::limits::{FILE, FILES, unpacked};
use super::names::bytes_text;
use super::source::{Listed, SharedFile, Source};
use super::system::is_left_behind;
use super::{bad_file, unreadable};
use crate::{DataError, Dataset, LeftOut, Reason, Result};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

/// Opens a zip of class folders, see [`open`](crate::open).
pub(crate) fn open_archive(path: &Path) -> Result<Arc<dyn Dataset>> {
    open_listing(list(path)?, Limits::default())
}

/// An entry of a zip that may be read.
pub(crate) struct Entry {
    /// Its number.
    pub(crate) place: usize,
    /// Its path, parts joined by `/`.
    pub(crate) name: String,
    /// Its length unpacked, as declared.
    pub(crate) bytes: u64,
    /// The most bytes that it may unpack to.
    pub(crate) most: u64,
    /// Why it can't be unpacked, and what to do.
    pub(crate) problem: Option<String>,
}

/// The files of a zip, in its order.
///
/// # Errors
///
/// Returns an error if the zip is damaged, a name leads outside of it, entries share bytes, or
/// there are more than 5 million.
pub(crate) fn entries<R: Read + Seek>(path: &Path, archive: &mut ZipArchive<R>) -> Result<Vec<Entry>> {
    let broken = |error| damaged(path, &error);
    if archive.len() > FILES {
        return Err(bad_file(path, format!("holds more than {FILES} files: split it")));
    }
    let mut entries = Vec::new();
    let mut ranges = Vec::with_capacity(archive.len());
    for place in 0..archive.len() {
        let entry = archive.by_index_raw(place).map_err(broken)?;
        let name = name(&entry);
        if leads_outside(&name) {
            let problem =
                format!("holds `{name}`, which leads outside of it: get it again from a source that you trust");
            return Err(bad_file(path, problem));
        }
        let (packed, start) = (entry.compressed_size(), entry.header_start());
        ranges.push((start, entry.data_start().saturating_add(packed)));
        if entry.is_file() {
            let name = name.split('/').filter(|part| !["", "."].contains(part)).collect::<Vec<_>>().join("/");
            let most = unpacked(packed, FILE);
            entries.push(Entry { place, name, bytes: entry.size(), most, problem: problem(&entry, most) });
        }
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        let problem = "has entries that share bytes, as zip bombs do: get it again from a source that you trust";
        return Err(bad_file(path, problem));
    }
    Ok(entries)
}

/// A damaged zip.
pub(crate) fn damaged(path: &Path, error: &zip::result::ZipError) -> DataError {
    bad_file(path, format!("is a damaged zip ({error}): download it again"))
}

/// The entry's path. Names without the mark of UTF-8 that are valid UTF-8 are read as such (macOS
/// and Linux write them so); others as code page 437. Backslashes part folders.
fn name<R: Read>(entry: &ZipFile<'_, R>) -> String {
    let raw = entry.name_raw();
    let name = match std::str::from_utf8(raw) {
        Ok(valid) => valid.to_string(),
        Err(_) if entry.name().contains('\u{fffd}') => bytes_text(raw),
        Err(_) => entry.name().to_string(),
    };
    name.replace('\\', "/")
}

/// Why an entry can't be unpacked, by what the zip says of it.
fn problem<R: Read>(entry: &ZipFile<'_, R>, most: u64) -> Option<String> {
    if entry.encrypted() {
        return Some("is encrypted: pack the zip again without a password".to_string());
    }
    if ![CompressionMethod::Stored, CompressionMethod::Deflated].contains(&entry.compression()) {
        let method = match entry.compression() {
            CompressionMethod::AES => "encryption",
            #[expect(deprecated, reason = "the only way to the method's number")]
            CompressionMethod::Unsupported(number) => match number {
                9 => "deflate64",
                12 => "bzip2",
                14 => "LZMA",
                93 => "Zstandard",
                95 => "XZ",
                98 => "PPMd",
                _ => "an unusual method",
            },
            _ => "an unusual method",
        };
        return Some(format!("is packed by {method}: pack the zip again with deflate (the usual way)"));
    }
    (entry.size() > most).then(|| too_large(most))
}

/// The error of a file that unpacks to more than it may.
pub(crate) fn too_large(most: u64) -> String {
    format!(
        "unpacks to more than {} MiB, more than an image of its packed size can: scale it down or save it as PNG",
        most >> 20
    )
}

fn list(path: &Path) -> Result<Listing> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut archive = ZipArchive::new(SharedFile::new(file)).map_err(|error| damaged(path, &error))?;
    let (mut files, mut left_out, mut limits) = (Vec::new(), Vec::new(), vec![0; archive.len()]);
    let mut first_problem = None;
    for Entry { place, name, bytes, most, problem } in entries(path, &mut archive)? {
        if name.split('/').any(is_left_behind) {
            left_out.push(LeftOut::new(&name, Reason::System, "is hidden, or left behind by a system"));
        } else if let Some(problem) = problem {
            first_problem.get_or_insert_with(|| format!("`{}` {problem}", crate::one_line(&name)));
            left_out.push(LeftOut::new(&name, Reason::Unreadable, problem));
        } else {
            limits[place] = most;
            files.push(Listed { name, place, bytes });
        }
    }
    if let (true, Some(problem)) = (files.is_empty(), first_problem) {
        return Err(bad_file(path, format!("can't be unpacked: {problem}")));
    }
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let source = Source::Archive(archive, limits);
    let listing = Listing { name, root: path.to_path_buf(), files, source, left_out }.pictures_only();
    if listing.files.is_empty()
        && let Some(inner) = listing.left_out.iter().find(|left_out| left_out.detail.contains("a zip"))
    {
        return Err(bad_file(path, format!("holds no images but `{}`, another zip: unpack the outer one", inner.path)));
    }
    Ok(listing)
}

fn leads_outside(name: &str) -> bool {
    let drive = name.as_bytes().get(1) == Some(&b':');
    name.starts_with('/') || drive || name.split('/').any(|part| part == "..")
}
