//! A data set of image files in class folders, loose or in a zip.

use super::bad_file;
use super::decode::{Decoded, decode, decode_noted};
use super::format::{FIRST_BYTES, Format};
use super::ground::Ground;
use super::header::{Header, jpeg_is_whole};
use super::layout::{Layout, Place, layout};
use super::names::{one_line, some_of};
use super::recent::Recent;
use super::source::{Listed, Source, unread};
use super::table::annotated;
use super::walk::keep_pictures;
use crate::reading::counted;
use crate::{Class, DataError, Dataset, Hash, Image, LeftOut, Part, Reading, Reason, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
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
    /// Where their bytes come from.
    pub(super) source: Source,
    /// What was left out.
    pub(super) left_out: Vec<LeftOut>,
}

impl Listing {
    /// Sorts the files by name and leaves out those that are not pictures, by content. A file that is
    /// called a picture stays, so that reading it tells what is wrong with it.
    pub(super) fn pictures_only(mut self) -> Self {
        self.files.par_sort_by(|a, b| a.name.split('/').cmp(b.name.split('/')));
        let source = &self.source;
        let (files, left_out) = keep_pictures(self.files, |file| &file.name, |file| first_bytes(source, file));
        self.files = files;
        self.left_out.extend(left_out);
        self.text_in_class_folders_matters();
        self
    }

    /// Text beside class folders is a document; inside them it may have been meant as an image.
    fn text_in_class_folders_matters(&mut self) {
        let folder = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_string());
        let holding: BTreeSet<String> = self.files.iter().filter_map(|file| folder(&one_line(&file.name))).collect();
        for left_out in self.left_out.iter_mut().filter(|left_out| left_out.reason == Reason::Document) {
            if folder(&left_out.path).is_some_and(|folder| holding.contains(&folder)) {
                left_out.reason = Reason::NotAnImage;
            }
        }
    }
}

/// The first bytes of a file.
fn first_bytes(source: &Source, file: &Listed) -> std::io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(FIRST_BYTES);
    source.reading(file, |source| source.take(FIRST_BYTES as u64).read_to_end(&mut first))??;
    Ok(first)
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
    parts: Vec<Part>,
    held_out: Vec<usize>,
    skipped: Vec<(String, String)>,
    reading: Reading,
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
    format: Format,
    hash: Option<Hash>,
    image: Option<Image>,
    /// Whether its ink was light on a clear ground, and so laid over black.
    over_black: bool,
    /// Whether its 16-bit samples used a part of their range, and were scaled to all of it.
    scaled: bool,
}

/// The data set that the listing describes, with classes by its folders.
///
/// # Errors
///
/// Returns an error if the files lie in no class folders, or no image of a class can be read.
pub(super) fn open_listing(mut listing: Listing, limits: Limits) -> Result<Arc<dyn Dataset>> {
    let mut names: Vec<String> = listing.files.iter().map(|file| file.name.clone()).collect();
    let why = annotated(&mut listing, &mut names);
    if !why.is_empty() {
        let mut sorted: Vec<(String, Listed)> = names.into_iter().zip(listing.files).collect();
        sorted.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
        (names, listing.files) = sorted.into_iter().unzip();
    }
    let names: Vec<Vec<&str>> = names.iter().map(|name| name.split('/').collect()).collect();
    let mut layout = layout(&names).map_err(|found| DataError::NotADataset { path: listing.root.clone(), found })?;
    layout.why.extend(why);
    open_labeled(listing, layout, limits)
}

/// The data set of the files and labels given.
///
/// # Errors
///
/// Returns an error if no image of a class can be read.
pub(super) fn open_labeled(listing: Listing, layout: Layout, limits: Limits) -> Result<Arc<dyn Dataset>> {
    let Listing { name, root, files, source, mut left_out } = listing;
    let mut kept = Vec::with_capacity(files.len());
    let mut places = Vec::with_capacity(files.len());
    for (file, place) in files.into_iter().zip(layout.places) {
        match place {
            Place::Image(class, part) => {
                kept.push(file);
                places.push((class, part));
            }
            Place::LeftOut(reason, detail) => left_out.push(LeftOut::new(&file.name, reason, detail)),
        }
    }
    let checked = check(&kept, &source, limits);
    let mut dataset = ImageFiles {
        name,
        source,
        classes: layout.classes,
        labels: Vec::new(),
        files: Vec::new(),
        sizes: Vec::new(),
        hashes: Vec::new(),
        images: Images::Recent(Mutex::new(Recent::new(limits.kept))),
        parts: Vec::new(),
        held_out: Vec::new(),
        skipped: Vec::new(),
        reading: Reading { layout: layout.text, why: layout.why, notes: layout.notes, ..Reading::default() },
        root,
    };
    let mut lost: Vec<(usize, Option<String>)> = vec![(0, None); dataset.classes.len()];
    let mut read = vec![0; dataset.classes.len()];
    let mut images = Vec::new();
    let (mut over_black, mut scaled) = (Vec::new(), Vec::new());
    let mut formats: BTreeMap<String, usize> = BTreeMap::new();
    for ((file, checked), (label, part)) in kept.into_iter().zip(checked).zip(places) {
        match checked {
            Ok(Checked { size, format, hash, image, over_black: black, scaled: wide }) => {
                if black {
                    over_black.push(file.name.clone());
                }
                if wide {
                    scaled.push(file.name.clone());
                }
                if part != Part::Train {
                    dataset.held_out.push(dataset.labels.len());
                }
                read[label as usize] += 1;
                *formats.entry(format.to_string()).or_default() += 1;
                dataset.labels.push(label);
                dataset.parts.push(part);
                dataset.files.push(file);
                dataset.sizes.push(size);
                dataset.hashes.push(hash.map_or_else(OnceLock::new, OnceLock::from));
                images.extend(image);
            }
            Err(reason) => {
                let (failures, first) = &mut lost[label as usize];
                *failures += 1;
                first.get_or_insert_with(|| format!("`{}` {reason}", one_line(&file.name)));
                left_out.push(LeftOut::new(&file.name, Reason::Unreadable, reason));
            }
        }
    }
    if images.len() == dataset.labels.len() {
        dataset.images = Images::All(images);
    }
    for (class, (failures, first)) in lost.into_iter().enumerate() {
        if let Some(first) = first
            && read[class] == 0
        {
            let class = dataset.classes[class].full_name();
            return Err(bad_file(
                &dataset.root,
                format!("none of the {failures} images of class `{}` can be read: {first}", one_line(&class)),
            ));
        }
    }
    for (files, what) in [
        (over_black, "with light ink on a transparent ground, laid over black"),
        (scaled, "of 16 bits that use a part of their range, scaled to all of it"),
    ] {
        if !files.is_empty() {
            dataset.reading.notes.push(format!("{} {what}: {}", counted(files.len(), "image"), some_of(&files)));
        }
    }
    left_out.sort();
    dataset.reading.notes.extend(told_of(&left_out));
    let told = left_out.iter().filter(|left_out| left_out.reason.matters());
    dataset.skipped = told.map(|left_out| (left_out.path.clone(), left_out.detail.clone())).collect();
    dataset.reading.formats = formats;
    dataset.reading.left_out = left_out;
    Ok(Arc::new(dataset))
}

/// Notes on what was left out, by reason, where the layout did not tell it.
fn told_of(left_out: &[LeftOut]) -> Vec<String> {
    let told = [
        Reason::NotAnImage,
        Reason::Unreadable,
        Reason::OutsideClasses,
        Reason::NoImages,
        Reason::Link,
        Reason::SameFolder,
        Reason::SpecialFile,
    ];
    let mut notes = Vec::new();
    for reason in told {
        let files: Vec<&str> =
            left_out.iter().filter(|file| file.reason == reason).map(|file| file.path.as_str()).collect();
        if !files.is_empty() {
            notes.push(format!("{} left out ({}): {}", counted(files.len(), "entry"), reason.words(), some_of(&files)));
        }
    }
    notes
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
            return Ok(Checked { size, format, hash: None, image: None, over_black: false, scaled: false });
        }
        let bytes = source.bytes(file)?;
        if !keep && format == Format::Jpeg && jpeg_is_whole(&bytes) {
            let hash = Some(Hash::of(&bytes));
            return Ok(Checked { size, format, hash, image: None, over_black: false, scaled: false });
        }
        let Decoded { image, ground, bits_used, .. } = decode_noted(&bytes)?;
        Ok(Checked {
            size: (image.channels, image.height, image.width),
            format,
            hash: Some(Hash::of(&bytes)),
            image: keep.then_some(image),
            over_black: ground == Some(Ground::Black),
            scaled: bits_used.is_some(),
        })
    };
    files.par_iter().zip(headers).map(check).collect()
}

impl ImageFiles {
    fn file(&self, index: usize) -> Result<&Listed> {
        self.files.get(index).ok_or_else(|| {
            DataError::Invalid(format!("{} has no image {index}: use a number below {}", self.name, self.files.len()))
        })
    }

    fn bytes(&self, file: &Listed) -> Result<Vec<u8>> {
        self.source.bytes(file).map_err(|reason| bad_file(&self.root.join(&file.name), reason))
    }

    fn decode(&self, index: usize, file: &Listed) -> Result<Image> {
        let image = decode(&self.bytes(file)?).map_err(|reason| bad_file(&self.root.join(&file.name), reason))?;
        if (image.channels, image.height, image.width) != self.sizes[index] {
            let reason = "has another size than when the data set was opened: open the data set again";
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

    fn part(&self, image: usize) -> Part {
        self.parts.get(image).copied().unwrap_or(Part::Train)
    }

    fn reading(&self) -> Option<&Reading> {
        Some(&self.reading)
    }
}
