//! A zip of class folders, such as Omniglot's as published, read without unpacking
//! (Lake, Salakhutdinov and Tenenbaum 2015; `<root>/<alphabet>/character<NN>/<id>_<drawer>.png`).

use super::files::{Limits, Listing, open_listing};
use super::folder::{is_hidden, is_image};
use super::source::{Listed, SharedFile, Source};
use super::{bad_file, unreadable};
use crate::{Dataset, Result};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use zip::ZipArchive;

/// Opens a zip of class folders, see [`open`](crate::open).
pub(crate) fn open_archive(path: &Path) -> Result<Arc<dyn Dataset>> {
    open_listing(list(path)?, Limits::default())
}

fn list(path: &Path) -> Result<Listing> {
    let broken =
        |error: zip::result::ZipError| bad_file(path, format!("is a damaged zip ({error}), download it again"));
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let mut archive = ZipArchive::new(SharedFile::new(file)).map_err(broken)?;
    let mut files = Vec::new();
    for place in 0..archive.len() {
        let entry = archive.by_index_raw(place).map_err(broken)?;
        let name = entry.name().replace('\\', "/");
        if leads_outside(&name) {
            let problem =
                format!("holds `{name}`, which leads outside of it; don't trust it, get it again from its source");
            return Err(bad_file(path, problem));
        }
        let name = name.split('/').filter(|part| !["", "."].contains(part)).collect::<Vec<_>>().join("/");
        if entry.is_file() && is_image(&name) && !name.split('/').any(is_hidden) {
            files.push(Listed { name, place, bytes: entry.size() });
        }
    }
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let wrapped = usize::from(is_wrapped(&files));
    Ok(Listing {
        name,
        root: path.to_path_buf(),
        files,
        wrapped,
        source: Source::Archive(archive),
        skipped: Vec::new(),
    })
}

fn leads_outside(name: &str) -> bool {
    let drive = name.as_bytes().get(1) == Some(&b':');
    name.starts_with('/') || drive || name.split('/').any(|part| part == "..")
}

/// Do all files lie in one outermost folder, with class folders inside?
fn is_wrapped(files: &[Listed]) -> bool {
    let outermost = |file: &Listed| file.name.split('/').next().map(str::to_string);
    let Some(first) = files.first().map(outermost) else { return false };
    files.iter().all(|file| file.name.split('/').count() >= 3 && outermost(file) == first)
}
