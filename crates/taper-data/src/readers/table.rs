//! Labels in a table: a CSV or TSV with a column of files, one of labels, perhaps one of parts.

use super::files::{Limits, Listing, open_labeled};
use super::labels::Labels;
use super::layout::Layout;
use super::limits::TABLE;
use super::names::{bytes_text, composed, one_line, some_of};
use super::part_word::{PartWord, Says};
use super::source::{Listed, regular};
use super::{bad_file, folder, unreadable};
use crate::reading::counted;
use crate::{Dataset, LeftOut, Part, Reason, Result};
use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The columns of a table of labels, by the names in its header; those that are `None` are guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The column of files: paths, names or names without their ending.
    pub file: Option<String>,
    /// The column of labels.
    pub label: Option<String>,
    /// The column that says train, validation or test.
    pub split: Option<String>,
}

/// Opens the images of a folder with the labels of a table.
///
/// Files are found by their path from the folder, by the end of the path, by their name, or by
/// their name without its ending. The file column is the one whose values are images of the folder;
/// the label column is the one called `label`, `class` or the like, or the only one left, or a
/// column for each class with a 1 in one of them. A column called `split` or the like, whose values
/// are all train, validation or test, says the part. Images without a row are left out, and so are
/// rows without an image and images with two labels.
///
/// # Errors
///
/// Returns an error if the folder or table can't be read, a column is not there or can't be guessed,
/// or no row names an image.
pub fn open_with_labels(images: &Path, table: &Path, columns: &Columns) -> Result<Arc<dyn Dataset>> {
    open_table(folder::list(images)?, &[table.to_path_buf()], columns)
}

/// Headers of columns of labels, the best first.
const LABELS: [&str; 19] = [
    "label",
    "labels",
    "class",
    "class_name",
    "classname",
    "category",
    "target",
    "class_id",
    "label_name",
    "species",
    "breed",
    "diagnosis",
    "dx",
    "category_id",
    "class_label",
    "tag",
    "tags",
    "y",
    "classes",
];
/// Headers of columns of parts.
const SPLITS: [&str; 9] = ["split", "set", "subset", "partition", "part", "phase", "usage", "dataset", "data set"];

/// How usual a name is for a column of labels, the least for the most usual; `None` for other names.
pub(super) fn label_rank(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if name == "cls" { Some(0) } else { LABELS.iter().position(|known| *known == name) }
}

/// The tables beside images that lie in no class folders; `None` if the folders are classes or no
/// table names the images.
pub(super) fn table_in(listing: &Listing) -> Result<Option<Vec<PathBuf>>> {
    if listing.files.is_empty() || has_class_folders(&listing.files) {
        return Ok(None);
    }
    let is_table = |path: &str| {
        let ending = path.rsplit('.').next().unwrap_or_default();
        ["csv", "tsv"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    };
    let images = Images::of(&listing.files);
    let mut usable = Vec::new();
    for found in listing.left_out.iter().filter(|found| is_table(&found.path)) {
        let path = listing.root.join(&found.path);
        if let Ok(table) = Table::read(&path)
            && table.columns(&images, &Columns::default()).is_ok()
        {
            usable.push(path);
        }
    }
    match usable.len() {
        0 => Ok(None),
        1 => Ok(Some(usable)),
        _ if usable.iter().any(|path| part_of(path) == Some(Part::Train))
            && usable.iter().all(|path| part_of(path).is_some()) =>
        {
            Ok(Some(usable))
        }
        _ => {
            let names = some_of(usable.iter().map(|path| file_name(path)));
            Err(bad_file(&listing.root, format!("holds several tables of labels ({names}): name the one to use")))
        }
    }
}

/// Labels of images in a part without class folders, from a table there, as Tiny ImageNet has them in
/// `val/val_annotations.txt`: gives each image such a name as it would have in class folders, and returns what was
/// done. The table's label column is the first whose values are all names of folders elsewhere.
pub(super) fn annotated(listing: &mut Listing, names: &mut [String]) -> Vec<String> {
    let mut why = Vec::new();
    let is_table = |path: &str| {
        let ending = path.rsplit('.').next().unwrap_or_default().to_lowercase();
        ["csv", "tsv", "txt"].contains(&ending.as_str())
    };
    let tables: Vec<(String, String)> = listing
        .left_out
        .iter()
        .filter(|found| is_table(&found.path))
        .filter_map(|found| Some((found.path.clone(), found.path.rsplit_once('/')?.0.to_string())))
        .filter(|(_, folder)| PartWord::of(folder.rsplit('/').next().unwrap_or(folder)).is_some())
        .collect();
    for (path, folder) in tables {
        let around = format!("{folder}/");
        let inside: Vec<usize> =
            (0..names.len()).filter(|&place| listing.files[place].name.starts_with(&around)).collect();
        let files: Vec<Listed> = inside.iter().map(|&place| listing.files[place].clone()).collect();
        let Ok(table) = Table::read(&listing.root.join(&path)) else { continue };
        if files.is_empty() || has_class_folders(&files) {
            continue;
        }
        let elsewhere = listing.files.iter().filter(|file| !file.name.starts_with(&around));
        let folders: BTreeSet<&str> = elsewhere
            .filter_map(|file| file.name.rsplit_once('/'))
            .flat_map(|(folders, _)| folders.split('/'))
            .collect();
        let images = Images::of(&files);
        let columns = 0..table.rows.iter().map(Vec::len).max().unwrap_or(0);
        let rows = table.values(0).count();
        let hits = |column: usize| table.values(column).filter(|value| images.find(value).is_some()).count();
        let file = columns.clone().find(|&column| 2 * hits(column) >= rows.min(files.len()).max(1));
        let is_label = |column: &usize| {
            let mut values = table.values(*column);
            Some(*column) != file && values.all(|value| folders.contains(value))
        };
        let (Some(file), Some(label)) = (file, columns.clone().find(is_label)) else { continue };
        for (row_file, row_label) in table.values(file).zip(table.values(label)) {
            if let Some(found) = images.find(row_file) {
                let own = files[found].name.rsplit('/').next().unwrap_or_default();
                names[inside[found]] = format!("{folder}/{row_label}/{own}");
            }
        }
        why.push(format!(
            "labels in `{}` are those of {}: file {}, label {}",
            one_line(&folder),
            one_line(&path),
            table.name(file),
            table.name(label)
        ));
        listing.left_out.retain(|found| found.path != path);
    }
    why
}

/// Whether the images lie in folders that may be classes: more than one, and not all called images,
/// train or the like.
fn has_class_folders(files: &[Listed]) -> bool {
    let folders: BTreeSet<&str> =
        files.iter().map(|file| file.name.rsplit_once('/').map_or("", |(folder, _)| folder)).collect();
    let says_nothing = |folder: &&str| {
        let own = folder.rsplit('/').next().unwrap_or(folder);
        own.is_empty() || own.to_lowercase().contains("image") || PartWord::of(own).is_some()
    };
    folders.len() > 1 && !folders.iter().all(says_nothing)
}

fn file_name(path: &Path) -> String {
    one_line(&path.file_name().unwrap_or_default().to_string_lossy()).into_owned()
}

/// The part that a table's own name says.
fn part_of(path: &Path) -> Option<Part> {
    match PartWord::of(&path.file_stem().unwrap_or_default().to_string_lossy())?.says {
        Says::Part(part) => Some(part),
        Says::Unlabeled => None,
    }
}

/// Opens images with the labels of tables, which were found in this order.
pub(super) fn open_table(mut listing: Listing, tables: &[PathBuf], columns: &Columns) -> Result<Arc<dyn Dataset>> {
    let images = Images::of(&listing.files);
    let mut labels: Vec<Option<(String, Part)>> = vec![None; listing.files.len()];
    let (mut conflicting, mut missing, mut why) = (BTreeSet::new(), Vec::new(), Vec::new());
    for path in tables {
        let table = Table::read(path)?;
        let name = file_name(path);
        let chosen = table.columns(&images, columns)?;
        why.push(format!("labels are those of {name}: {}", chosen.text));
        let default = if tables.len() > 1 { part_of(path).unwrap_or(Part::Train) } else { Part::Train };
        for (number, row) in table.rows.iter().enumerate().skip(usize::from(table.has_header)) {
            let file = row.get(chosen.file).map_or("", String::as_str);
            let Some(label) = chosen.label(&table, row) else { continue };
            let part = match chosen.split.and_then(|split| row.get(split)).and_then(|value| PartWord::of(value)) {
                Some(PartWord { says: Says::Part(part), .. }) => part,
                _ => default,
            };
            match images.find(file) {
                None => missing.push(LeftOut::new(
                    file,
                    Reason::NoSuchFile,
                    format!("is in {name} line {} but there is no such image: add it or remove the line", number + 1),
                )),
                Some(image) => match &labels[image] {
                    Some((before, _)) if *before != label => {
                        conflicting.insert(image);
                    }
                    Some(_) => {}
                    None => labels[image] = Some((label, part)),
                },
            }
        }
        listing.left_out.retain(|found| listing.root.join(&found.path) != *path);
    }
    let mut notes = Vec::new();
    if !missing.is_empty() {
        let names = some_of(missing.iter().map(|missing| &missing.path));
        notes.push(format!("{} of the table without an image left out: {names}", counted(missing.len(), "row")));
    }
    let text = format!("images with labels in {}", some_of(tables.iter().map(|path| file_name(path))));
    listing.left_out.extend(missing);
    let path = tables.first().map_or(listing.root.as_path(), PathBuf::as_path);
    let found = Layout { classes: Vec::new(), places: Vec::new(), text, why, notes };
    let labels = Labels { of_files: labels, conflicting, from: "the table" };
    let layout = labels.layout(path, &listing.files, found)?;
    open_labeled(listing, layout, Limits::default())
}

/// Images, to be found by what a table calls them.
struct Images {
    by_path: HashMap<String, usize>,
    /// By name and by name without its ending; `None` where several share it.
    by_name: HashMap<String, Option<usize>>,
}

impl Images {
    fn of(files: &[Listed]) -> Self {
        let mut images = Self { by_path: HashMap::new(), by_name: HashMap::new() };
        for (place, file) in files.iter().enumerate() {
            let path = composed(&file.name).into_owned();
            let name = path.rsplit('/').next().unwrap_or(&path).to_string();
            let stem = name.rsplit_once('.').map(|(stem, _)| stem.to_string());
            for name in [Some(name), stem].into_iter().flatten() {
                images.by_name.entry(name).and_modify(|found| *found = None).or_insert(Some(place));
            }
            images.by_path.insert(path, place);
        }
        images
    }

    /// The image that a table means: by its path, by ever shorter ends of it, by its name.
    fn find(&self, value: &str) -> Option<usize> {
        let value = composed(value.trim()).replace('\\', "/");
        let mut path = value.trim_start_matches("./").trim_start_matches('/');
        loop {
            if let Some(&place) = self.by_path.get(path) {
                return Some(place);
            }
            match path.split_once('/') {
                Some((_, rest)) => path = rest,
                None => return self.by_name.get(path).copied().flatten(),
            }
        }
    }
}

/// A table as read.
struct Table {
    path: PathBuf,
    rows: Vec<Vec<String>>,
    has_header: bool,
}

/// Columns by number.
struct Chosen {
    file: usize,
    /// One column of labels, or one for each class.
    labels: Vec<usize>,
    split: Option<usize>,
    text: String,
}

impl Table {
    fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        let file = regular(path).map_err(|error| unreadable(path, &error))?;
        file.take(TABLE + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
        if bytes.len() as u64 > TABLE {
            return Err(bad_file(path, format!("is larger than {} MiB: split it", TABLE >> 20)));
        }
        let content = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let first = content.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let count = |delimiter: u8| first.iter().filter(|&&byte| byte == delimiter).count();
        let delimiter = [b',', b'\t', b';']
            .into_iter()
            .max_by_key(|&delimiter| (count(delimiter), delimiter == b','))
            .unwrap_or(b',');
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(content);
        let mut rows = Vec::new();
        for record in reader.byte_records() {
            let record = record.map_err(|error| bad_file(path, format!("is not a table ({error}): save it as CSV")))?;
            rows.push(record.iter().map(|field| bytes_text(field).trim().to_string()).collect());
        }
        Ok(Self { path: path.to_path_buf(), rows, has_header: false })
            .map(|table: Self| Self { has_header: table.starts_with_a_header(), ..table })
    }

    /// Whether the first row holds names of columns: none of them comes again in its column, none
    /// has an ending of a picture, and none is a number.
    fn starts_with_a_header(&self) -> bool {
        let Some((first, rest)) = self.rows.split_first() else { return false };
        let is_value = |(column, name): (usize, &String)| {
            name.parse::<f64>().is_ok()
                || super::names::is_called_a_picture(name)
                || rest.iter().any(|row| row.get(column) == Some(name) && !name.is_empty())
        };
        !first.iter().enumerate().any(is_value)
    }

    fn header(&self) -> &[String] {
        if self.has_header { self.rows.first().map_or(&[], Vec::as_slice) } else { &[] }
    }

    fn values(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().skip(usize::from(self.has_header)).map(move |row| row.get(column).map_or("", String::as_str))
    }

    fn name(&self, column: usize) -> String {
        self.header()
            .get(column)
            .map_or_else(|| format!("column {}", column + 1), |name| format!("`{}`", one_line(name)))
    }

    /// The columns asked for, the others guessed.
    fn columns(&self, images: &Images, asked: &Columns) -> Result<Chosen> {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let rows = self.values(0).count();
        let all = || some_of((0..count).map(|column| self.name(column)));
        let named = |name: &Option<String>| -> Result<Option<usize>> {
            let Some(name) = name else { return Ok(None) };
            let found = self.header().iter().position(|header| composed(header) == composed(name));
            found.map(Some).ok_or_else(|| bad_file(&self.path, format!("has no column `{name}`: use one of {}", all())))
        };
        let hits = |column: usize| self.values(column).filter(|value| images.find(value).is_some()).count();
        let file = match named(&asked.file)? {
            Some(file) => file,
            None => (0..count)
                .map(|column| (hits(column), column))
                .filter(|&(hits, _)| hits > 0 && 2 * hits >= rows.min(images.by_path.len()))
                .max_by_key(|&(hits, column)| (hits, count - column))
                .map(|(_, column)| column)
                .ok_or_else(|| {
                    bad_file(
                        &self.path,
                        format!(
                            "has no column whose values are images here (it has {}): name the column of files",
                            all()
                        ),
                    )
                })?,
        };
        let lower: Vec<String> = self.header().iter().map(|name| name.to_lowercase()).collect();
        let split = match named(&asked.split)? {
            Some(split) => Some(split),
            None => (0..count).find(|&column| {
                column != file
                    && lower.get(column).is_some_and(|name| SPLITS.contains(&name.as_str()))
                    && self
                        .values(column)
                        .all(|value| matches!(PartWord::of(value), Some(PartWord { says: Says::Part(_), .. })))
            }),
        };
        let rest: Vec<usize> = (0..count).filter(|&column| column != file && Some(column) != split).collect();
        let by_name = || {
            LABELS
                .iter()
                .find_map(|name| rest.iter().copied().find(|&column| lower.get(column).is_some_and(|own| own == name)))
        };
        let labels = match named(&asked.label)? {
            Some(label) => vec![label],
            None => match (by_name(), rest.as_slice()) {
                (Some(label), _) => vec![label],
                (None, &[label]) => vec![label],
                (None, several) if self.is_one_of(several) => several.to_vec(),
                _ => {
                    return Err(bad_file(
                        &self.path,
                        format!(
                            "has no column that is plainly the label (it has {}): name the column of labels",
                            all()
                        ),
                    ));
                }
            },
        };
        let said = match labels.as_slice() {
            [label] => self.name(*label),
            several => format!("the one of {} columns that holds a 1", several.len()),
        };
        let split_text = split.map_or_else(String::new, |split| format!(", part {}", self.name(split)));
        let text = format!("file {}, label {said}{split_text}", self.name(file));
        Ok(Chosen { file, labels, split, text })
    }

    /// Whether exactly one of the columns holds a 1 in every row, the others 0.
    fn is_one_of(&self, columns: &[usize]) -> bool {
        let value = |row: &Vec<String>, column: usize| row.get(column).and_then(|value| value.parse::<f64>().ok());
        let mut rows = self.rows.iter().skip(usize::from(self.has_header)).peekable();
        columns.len() > 1
            && self.has_header
            && rows.peek().is_some()
            && rows.all(|row| {
                let values: Option<Vec<f64>> = columns.iter().map(|&column| value(row, column)).collect();
                values.is_some_and(|values| {
                    values.iter().filter(|&&v| v == 1.0).count() == 1 && values.iter().all(|&v| v == 0.0 || v == 1.0)
                })
            })
    }
}

impl Chosen {
    /// The label of a row; `None` where it is empty.
    fn label(&self, table: &Table, row: &[String]) -> Option<String> {
        let label = match self.labels.as_slice() {
            [label] => row.get(*label).cloned(),
            several => {
                let hot = |column: &&usize| row.get(**column).and_then(|value| value.parse::<f64>().ok()) == Some(1.0);
                several.iter().find(hot).and_then(|&column| table.header().get(column).cloned())
            }
        };
        label.map(|label| composed(&label).into_owned()).filter(|label| !label.is_empty())
    }
}
