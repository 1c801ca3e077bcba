//! A folder of class folders.

use super::files::{Limits, Listing, open_listing};
use super::names::one_line;
use super::source::{Listed, Source};
use super::table::{Columns, open_table, table_in};
use super::unreadable;
use super::walk::{Walk, walk};
use crate::{DataError, Dataset, LeftOut, Reason, Result};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Opens a folder of class folders, see [`open`](crate::open); or of loose images beside a table of
/// their labels.
pub(crate) fn open_folder(root: &Path) -> Result<Arc<dyn Dataset>> {
    let listing = list(root)?;
    if let Some(table) = table_in(&listing)? {
        return open_table(listing, &table, &Columns::default());
    }
    open_listing(listing, Limits::default())
}

/// The pictures of a folder.
pub(super) fn list(root: &Path) -> Result<Listing> {
    let Walk { files, folders, skipped } = walk(root)?;
    if files.is_empty() && folders.is_empty() && skipped.iter().all(|skipped| skipped.reason == Reason::System) {
        return Err(DataError::NotADataset { path: root.to_path_buf(), found: "the folder is empty".to_string() });
    }
    let whole = root.canonicalize().map_err(|error| unreadable(root, &error))?;
    let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
    let (mut listed, mut paths) = (Vec::with_capacity(files.len()), Vec::with_capacity(files.len()));
    for file in files {
        listed.push(Listed { name: file.name, place: paths.len(), bytes: file.bytes });
        paths.push(file.path);
    }
    let listing =
        Listing { name, root: root.to_path_buf(), files: listed, source: Source::Folder(paths), left_out: skipped };
    let mut listing = listing.pictures_only();
    let without = without_images(&listing.files, &folders);
    listing.left_out.extend(without);
    Ok(listing)
}

/// The outermost folders without images.
fn without_images(files: &[Listed], folders: &[String]) -> Vec<LeftOut> {
    let mut holding: BTreeSet<&str> = BTreeSet::new();
    for file in files {
        let mut name = file.name.as_str();
        while let Some((folder, _)) = name.rsplit_once('/')
            && holding.insert(folder)
        {
            name = folder;
        }
    }
    let is_outermost = |folder: &str| folder.rsplit_once('/').is_none_or(|(around, _)| holding.contains(around));
    folders
        .iter()
        .filter(|folder| !holding.contains(folder.as_str()) && is_outermost(folder))
        .map(|folder| {
            let name = format!("{}/", one_line(folder));
            LeftOut::new(&name, Reason::NoImages, "is a folder without images: add some or remove it")
        })
        .collect()
}
