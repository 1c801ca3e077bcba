//! A data set of image files in class folders, loose or in a zip.

use super::bad_file;
use super::decode::decode;
use super::header::{Format, Header, jpeg_is_whole};
use super::layout::layout;
use super::recent::Recent;
use super::source::{Listed, Source, unread};
use crate::{Class, DataError, Dataset, Hash, Image, Result};
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Up to so many bytes of files are looked through when the data set is opened, which finds files
/// that are cut short; of larger sets only the headers are read.
const DECODED_AT_ONCE: u64 = 200 << 20;
/// So many bytes of decoded images are kept in memory.
const KEPT: usize = 256 << 20;

/// The limits above, which tests lower.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) decoded_at_once: u64,
    pub(super) kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { decoded_at_once: DECODED_AT_ONCE, kept: KEPT }
    }
}

/// What was found in a folder or zip.
pub(super) struct Listing {
    /// What people call it.
    pub(super) name: String,
    /// The folder or zip.
    pub(super) root: PathBuf,
    /// Its image files.
    pub(super) files: Vec<Listed>,
    /// How many outermost folders of their names say nothing.
    pub(super) wrapped: usize,
    /// Where their bytes come from.
    pub(super) source: Source,
    /// What else should be told.
    pub(super) skipped: Vec<(String, String)>,
}

/// Image files in class folders.
struct ImageFiles {
    name: String,
    root: PathBuf,
    source: Source,
    classes: Vec<Class>,
    labels: Vec<u32>,
    files: Vec<Listed>,
    sizes: Vec<(usize, usize, usize)>,
    hashes: Vec<OnceLock<Hash>>,
    images: Images,
    held_out: Vec<usize>,
    skipped: Vec<(String, String)>,
}

/// Decoded images.
enum Images {
    /// All of them.
    All(Vec<Image>),
    /// Those used last.
    Recent(Mutex<Recent>),
}

/// What opening finds out about a file.
struct Checked {
    size: (usize, usize, usize),
    hash: Option<Hash>,
    image: Option<Image>,
}

/// The data set that the listing describes.
///
/// Errs when the files lie in no class folders, or no image of a class can be read.
pub(super) fn open_listing(listing: Listing, limits: Limits) -> Result<Arc<dyn Dataset>> {
    let Listing { name, root, mut files, wrapped, source, mut skipped } = listing;
    files.sort_by(|a, b| a.name.split('/').cmp(b.name.split('/')));
    let names: Vec<Vec<&str>> = files.iter().map(|file| file.name.split('/').skip(wrapped).collect()).collect();
    let layout = layout(&names).map_err(|found| DataError::NotADataset { path: root.clone(), found })?;
    let checked = check(&files, &source, limits);
    let mut dataset = ImageFiles {
        name,
        source,
        classes: layout.classes,
        labels: Vec::new(),
        files: Vec::new(),
        sizes: Vec::new(),
        hashes: Vec::new(),
        images: Images::Recent(Mutex::new(Recent::new(limits.kept))),
        held_out: Vec::new(),
        skipped: Vec::new(),
        root,
    };
    let mut lost: Vec<(usize, Option<String>)> = vec![(0, None); dataset.classes.len()];
    let mut images = Vec::new();
    for (((file, checked), label), held_out) in files.into_iter().zip(checked).zip(layout.labels).zip(layout.held_out) {
        let Some(label) = label else {
            skipped.push((file.name, "lies outside the class folders, move it into one".to_string()));
            continue;
        };
        let (failures, first) = &mut lost[label as usize];
        match checked {
            Ok(Checked { size, hash, image }) => {
                if held_out {
                    dataset.held_out.push(dataset.labels.len());
                }
                dataset.labels.push(label);
                dataset.files.push(file);
                dataset.sizes.push(size);
                dataset.hashes.push(hash.map_or_else(OnceLock::new, OnceLock::from));
                images.extend(image);
            }
            Err(reason) => {
                *failures += 1;
                first.get_or_insert_with(|| format!("`{}` {reason}", file.name));
                skipped.push((file.name, reason));
            }
        }
    }
    if images.len() == dataset.labels.len() {
        dataset.images = Images::All(images);
    }
    for (class, (failures, first)) in lost.into_iter().enumerate() {
        if let Some(first) = first
            && !dataset.labels.contains(&(class as u32))
        {
            let class = dataset.classes[class].full_name();
            return Err(bad_file(
                &dataset.root,
                format!("none of the {failures} images of class `{class}` can be read: {first}"),
            ));
        }
    }
    skipped.sort();
    dataset.skipped = skipped;
    Ok(Arc::new(dataset))
}

/// Reads the headers of all files; decodes them all where they are few, and keeps the images
/// where all fit. Where they don't, a JPEG that is not cut short is taken at its header's word:
/// photographs would be decoded for nothing, in every run.
fn check(files: &[Listed], source: &Source, limits: Limits) -> Vec<std::result::Result<Checked, String>> {
    let header = |file: &Listed| source.reading(file, Header::read).map_err(|error| unread(&error)).flatten();
    let headers: Vec<std::result::Result<Header, String>> = files.par_iter().map(header).collect();
    let samples = |header: &Header| header.size.0 * header.size.1 * header.size.2;
    let decoded: usize = headers.iter().flatten().map(samples).sum();
    let small = files.iter().map(|file| file.bytes).sum::<u64>() <= limits.decoded_at_once;
    let keep = small && decoded <= limits.kept;
    let check = |(file, header): (&Listed, std::result::Result<Header, String>)| {
        let Header { size, format, .. } = header?;
        if !small {
            return Ok(Checked { size, hash: None, image: None });
        }
        let bytes = source.bytes(file)?;
        if !keep && format == Format::Jpeg && jpeg_is_whole(&bytes) {
            return Ok(Checked { size, hash: Some(Hash::of(&bytes)), image: None });
        }
        let image = decode(&bytes)?;
        let size = (image.channels, image.height, image.width);
        Ok(Checked { size, hash: Some(Hash::of(&bytes)), image: keep.then_some(image) })
    };
    files.par_iter().zip(headers).map(check).collect()
}

impl ImageFiles {
    fn file(&self, index: usize) -> Result<&Listed> {
        self.files.get(index).ok_or_else(|| {
            DataError::Invalid(format!("{} has no image {index}, use a number below {}", self.name, self.files.len()))
        })
    }

    fn bytes(&self, file: &Listed) -> Result<Vec<u8>> {
        self.source.bytes(file).map_err(|reason| bad_file(&self.root.join(&file.name), reason))
    }

    fn decode(&self, index: usize, file: &Listed) -> Result<Image> {
        let image = decode(&self.bytes(file)?).map_err(|reason| bad_file(&self.root.join(&file.name), reason))?;
        if (image.channels, image.height, image.width) != self.sizes[index] {
            let reason = "has another size than when the data set was opened, open the data set again";
            return Err(bad_file(&self.root.join(&file.name), reason));
        }
        Ok(image)
    }
}

impl Dataset for ImageFiles {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> Result<Image> {
        let file = self.file(index)?;
        match &self.images {
            Images::All(images) => Ok(images[index].clone()),
            Images::Recent(recent) => {
                let recent = || recent.lock().unwrap_or_else(PoisonError::into_inner);
                let kept = recent().get(index);
                if let Some(image) = kept {
                    return Ok(image.as_ref().clone());
                }
                let image = Arc::new(self.decode(index, file)?);
                recent().put(index, image.clone());
                Ok(Arc::unwrap_or_clone(image))
            }
        }
    }

    fn size(&self, index: usize) -> Result<(usize, usize, usize)> {
        self.file(index)?;
        Ok(self.sizes[index])
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        let file = self.file(index)?;
        if let Some(hash) = self.hashes[index].get() {
            return Ok(*hash);
        }
        let hash = Hash::of(&self.bytes(file)?);
        Ok(*self.hashes[index].get_or_init(|| hash))
    }

    fn image_name(&self, index: usize) -> String {
        self.files[index].name.clone()
    }

    fn held_out(&self) -> &[usize] {
        &self.held_out
    }

    fn skipped(&self) -> &[(String, String)] {
        &self.skipped
    }
}
