//! A folder of class folders.

use super::files::{Limits, Listing, open_listing};
use super::source::{Listed, Source};
use super::unreadable;
use crate::{DataError, Dataset, Result};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What image files are called. Formats that can't be read are listed too, so that they are told
/// and not passed over.
const ENDINGS: [&str; 15] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "webp", "tif", "tiff", "avif", "heic", "ppm", "pgm", "pbm"];

/// Is a file of this name an image, by its ending?
pub(super) fn is_image(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Does a file or folder of this name hold what systems leave behind?
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name == "__MACOSX"
}

/// Opens a folder of class folders, see [`open`](crate::open).
pub(crate) fn open_folder(root: &Path) -> Result<Arc<dyn Dataset>> {
    open_listing(list(root)?, Limits::default())
}

pub(super) fn list(root: &Path) -> Result<Listing> {
    let whole = root.canonicalize().map_err(|error| unreadable(root, &error))?;
    let mut walk = Walk { files: Vec::new(), paths: Vec::new(), skipped: Vec::new(), around: vec![whole.clone()] };
    let entries = walk.enter(root, "")?;
    if entries == 0 {
        return Err(DataError::NotADataset { path: root.to_path_buf(), found: "the folder is empty".to_string() });
    }
    let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();
    Ok(Listing {
        name,
        root: root.to_path_buf(),
        files: walk.files,
        wrapped: 0,
        source: Source::Folder(walk.paths),
        skipped: walk.skipped,
    })
}

struct Walk {
    files: Vec<Listed>,
    paths: Vec<PathBuf>,
    skipped: Vec<(String, String)>,
    /// The folders around the present one, with all links resolved: a link to one of them would
    /// never end.
    around: Vec<PathBuf>,
}

impl Walk {
    /// Lists a folder and what is below it; gives the number of entries that are not hidden.
    fn enter(&mut self, folder: &Path, prefix: &str) -> Result<usize> {
        let (mut entries, mut inner, found) = (0, 0, self.files.len());
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            let entry = entry.map_err(|error| unreadable(folder, &error))?;
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if is_hidden(&name) {
                continue;
            }
            entries += 1;
            let name = format!("{prefix}{name}");
            let Ok(metadata) = fs::metadata(&path) else {
                if is_image(&name) {
                    self.skipped.push((name, "is a link to nothing, copy the file or remove the link".to_string()));
                }
                continue;
            };
            if metadata.is_dir() {
                let whole = path.canonicalize().map_err(|error| unreadable(&path, &error))?;
                if self.around.contains(&whole) {
                    self.skipped.push((name, "links to a folder around it, remove the link".to_string()));
                    continue;
                }
                inner += 1;
                self.around.push(whole);
                self.enter(&path, &format!("{name}/"))?;
                self.around.pop();
            } else if metadata.is_file() && is_image(&name) {
                self.files.push(Listed { name, place: self.paths.len(), bytes: metadata.len() });
                self.paths.push(path);
            }
        }
        if !prefix.is_empty() && inner == 0 && self.files.len() == found {
            self.skipped.push((prefix.to_string(), "is a folder without images, add some or remove it".to_string()));
        }
        Ok(entries)
    }
}
