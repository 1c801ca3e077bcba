//! Images in tars, read without unpacking: class folders, or WebDataset's samples
//! (<https://github.com/webdataset/webdataset>), whose files share a name up to its first point:
//! `0001.jpg` beside `0001.cls`, `0001.json` or `0001.txt` with the label.

use super::files::{Limits, Listing, open_labeled, open_listing};
use super::labels::Labels;
use super::layout::Layout;
use super::limits::{FILES, LABEL};
use super::names::{bytes_text, composed, is_called_a_picture, one_line};
use super::shards::{Shard, parts_text, shards};
use super::source::{Listed, Source, regular};
use super::system::is_left_behind;
use super::table::label_rank;
use super::{bad_file, unreadable};
use crate::{Dataset, LeftOut, Part, Reason, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether the first bytes are those of a tar.
pub(crate) fn starts_as_tar(first: &[u8]) -> bool {
    first.get(257..262) == Some(b"ustar")
}

/// Opens one tar, see [`open`](crate::open).
pub(crate) fn open_tar(path: &Path) -> Result<Arc<dyn Dataset>> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    open(path, vec![Shard { name, path: path.to_path_buf(), part: Some(Part::Train) }], true)
}

/// Opens a folder of tars.
pub(crate) fn open_tars(folder: &Path) -> Result<Arc<dyn Dataset>> {
    open(folder, shards(folder, "tar")?, false)
}

/// Endings of the files that hold a sample's label, the best first.
const LABELS: [&str; 5] = ["cls", "label", "json", "txt", "text"];
/// Files that name classes, one per line, beside the shards.
const NAMES: [&str; 4] = ["classnames.txt", "class_names.txt", "classes.txt", "labels.txt"];

/// Tars are made of blocks of so many bytes.
const BLOCK: u64 = 512;

/// What the tars hold.
#[derive(Default)]
struct Found {
    files: Vec<Listed>,
    starts: Vec<(usize, u64)>,
    /// For each file its shard and its sample's name.
    samples: Vec<(usize, String)>,
    /// Labels by shard and sample, with the rank of the ending that they were found under.
    labels: BTreeMap<(usize, String), (usize, String)>,
    left_out: Vec<LeftOut>,
}

fn open(root: &Path, shards: Vec<Shard>, alone: bool) -> Result<Arc<dyn Dataset>> {
    let mut found = Found::default();
    for (place, shard) in shards.iter().enumerate() {
        found.read(place, shard, !alone)?;
    }
    let Found { files, starts, samples, mut labels, left_out } = found;
    // a text beside no image is a README
    let of_images: BTreeSet<&(usize, String)> = samples.iter().collect();
    labels.retain(|sample, _| of_images.contains(sample));
    let called = if alone { root.file_stem() } else { root.file_name() };
    let name = called.unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
    let paths: Vec<PathBuf> = shards.iter().map(|shard| shard.path.clone()).collect();
    let source = Source::Stretches(paths, starts);
    let listing = Listing { name, root: root.to_path_buf(), files, source, left_out };
    if alone && labels.is_empty() {
        return open_listing(listing.pictures_only(), Limits::default());
    }
    if labels.is_empty() {
        let problem = "holds tars without labels: put a .cls, .json or .txt file beside each image, or unpack them";
        return Err(bad_file(root, problem));
    }
    let mut why = vec![parts_text(&shards)];
    let named = named(root, alone, &mut labels, &mut why)?;
    let distinct: BTreeSet<&String> = labels.values().map(|(_, label)| label).collect();
    if !named && distinct.len() > 10 && 2 * distinct.len() > labels.len() {
        let problem = "has samples with texts that hardly repeat: these are captions, not classes; give class labels";
        return Err(bad_file(root, problem));
    }
    // pictures_only sorts the files, whose places stay
    let listing = listing.pictures_only();
    let of_files = listing.files.iter().map(|file| {
        let (shard, sample) = &samples[file.place];
        let (_, label) = labels.get(&(*shard, sample.clone()))?;
        Some((label.clone(), shards[*shard].part?))
    });
    let labels = Labels { of_files: of_files.collect(), conflicting: BTreeSet::new(), from: "the shards" };
    let text = "samples in tars (WebDataset)".to_string();
    let layout = Layout { classes: Vec::new(), places: Vec::new(), text, why, notes: Vec::new() };
    let layout = labels.layout(root, &listing.files, layout)?;
    open_labeled(listing, layout, Limits::default())
}

/// Gives numbers the names of a list of classes beside the shards; returns whether there is one.
fn named(
    root: &Path,
    alone: bool,
    labels: &mut BTreeMap<(usize, String), (usize, String)>,
    why: &mut Vec<String>,
) -> Result<bool> {
    let folder = if alone { root.parent().unwrap_or(Path::new("")) } else { root };
    let Some(file) = NAMES.iter().map(|name| folder.join(name)).find(|file| file.is_file()) else { return Ok(false) };
    let mut text = Vec::new();
    let list = regular(&file).map_err(|error| unreadable(&file, &error))?;
    list.take(super::limits::NAMES).read_to_end(&mut text).map_err(|error| unreadable(&file, &error))?;
    let names: Vec<String> = text
        .split(|&byte| byte == b'\n')
        .map(|line| composed(bytes_text(line).trim()).into_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let number = |label: &str| label.parse::<usize>().ok().and_then(|number| names.get(number));
    if !labels.values().all(|(_, label)| number(label).is_some()) {
        return Ok(false);
    }
    for (_, label) in labels.values_mut() {
        if let Some(name) = number(label) {
            *label = name.clone();
        }
    }
    why.push(format!("classes are named by {}", one_line(&file.file_name().unwrap_or_default().to_string_lossy())));
    Ok(true)
}

impl Found {
    /// Reads the entries of one tar.
    fn read(&mut self, place: usize, shard: &Shard, prefixed: bool) -> Result<()> {
        let path = &shard.path;
        // the error may repeat a damaged name
        let broken = |error: std::io::Error| {
            bad_file(path, format!("is a damaged tar ({}): get it again", one_line(&error.to_string())))
        };
        let file = regular(path).map_err(|error| unreadable(path, &error))?;
        let length = file.metadata().map_err(|error| unreadable(path, &error))?.len();
        if !length.is_multiple_of(BLOCK) {
            return Err(bad_file(path, "is a tar that is cut short: get it again"));
        }
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let (start, bytes) = (entry.raw_file_position(), entry.size());
            let raw = bytes_text(&entry.path_bytes());
            let inside = raw.split('/').filter(|part| !["", "."].contains(part)).collect::<Vec<_>>().join("/");
            let name = if prefixed { format!("{}/{inside}", shard.name) } else { inside.clone() };
            if start.saturating_add(bytes) > length {
                return Err(bad_file(path, format!("is cut short in `{}`: get it again", one_line(&inside))));
            }
            if self.files.len() >= FILES {
                return Err(bad_file(path, format!("holds more than {FILES} files: split it")));
            }
            if inside.split('/').any(|part| part == ".." || is_left_behind(part)) {
                self.left_out.push(LeftOut::new(&name, Reason::System, "is hidden, or left behind by a system"));
                continue;
            }
            let file_start = inside.rfind('/').map_or(0, |slash| slash + 1);
            let point = inside[file_start..].find('.').map_or(inside.len(), |point| file_start + point);
            let (sample, ending) = (inside[..point].to_string(), inside.rsplit('.').next().unwrap_or_default());
            let rank = LABELS.iter().position(|known| ending.eq_ignore_ascii_case(known));
            if let (Some(rank), false) = (rank, is_called_a_picture(&inside)) {
                let mut content = Vec::new();
                entry.by_ref().take(LABEL).read_to_end(&mut content).map_err(broken)?;
                let key = (place, sample);
                if let Some(label) = label(&content, LABELS[rank])
                    && self.labels.get(&key).is_none_or(|(other, _)| rank < *other)
                {
                    self.labels.insert(key, (rank, label));
                }
                continue;
            }
            self.files.push(Listed { name, place: self.starts.len(), bytes });
            self.starts.push((place, start));
            self.samples.push((place, sample));
        }
        Ok(())
    }
}

/// The label that a file of a sample holds: a text of one line, or a value of JSON under a usual name.
fn label(content: &[u8], ending: &str) -> Option<String> {
    let text = |text: &str| {
        let text = text.trim();
        let is_label = !text.is_empty() && text.len() <= 200 && !text.contains('\n');
        is_label.then(|| composed(text).into_owned())
    };
    if ending != "json" {
        return text(&bytes_text(content));
    }
    let value: Value = serde_json::from_slice(content).ok()?;
    let plain = |value: &Value| match value {
        Value::String(name) => text(name),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    match &value {
        Value::Object(fields) => {
            let ranked = fields.iter().filter_map(|(name, value)| Some((label_rank(name)?, plain(value)?)));
            ranked.min_by_key(|(rank, _)| *rank).map(|(_, label)| label)
        }
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{jpeg, png};
    use super::*;
    use image::{GrayImage, Luma};
    use std::fs;

    /// A tar of these files.
    fn tar_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut made = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            made.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        made.into_inner().unwrap()
    }

    fn picture(level: u8) -> Vec<u8> {
        png(GrayImage::from_pixel(9, 9, Luma([level])))
    }

    fn described(data: &dyn Dataset) -> Vec<(String, String, Part, u8)> {
        let class = |image: usize| data.classes()[data.labels()[image] as usize].full_name();
        let level = |image: usize| data.image(image).unwrap().pixels[0];
        (0..data.labels().len()).map(|at| (data.image_name(at), class(at), data.part(at), level(at))).collect()
    }

    #[test]
    fn samples_of_shards_get_their_labels_parts_and_names() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, files: &[(&str, Vec<u8>)]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, tar_of(files)).unwrap();
        };
        put(
            "train/0.tar",
            &[
                ("000.png", picture(10)),
                ("000.cls", b"1".to_vec()),
                ("sub/001.v2.png", picture(20)),
                ("sub/001.cls", b"0\n".to_vec()),
                ("._000.png", b"junk".to_vec()),
            ],
        );
        put("train/1.tar", &[("000.json", br#"{"id": 7, "label": 1}"#.to_vec()), ("000.png", picture(30))]);
        put("test/0.tar", &[("000.cls", b"0".to_vec()), ("000.png", picture(40)), ("001.png", picture(50))]);
        fs::write(folder.path().join("classnames.txt"), "cat\ndog\n").unwrap();
        let data = crate::open(folder.path()).unwrap();
        let name = |name: &str| name.to_string();
        assert_eq!(
            described(data.as_ref()),
            [
                (name("test/0.tar/000.png"), name("cat"), Part::Test, 40),
                (name("train/0.tar/000.png"), name("dog"), Part::Train, 10),
                (name("train/0.tar/sub/001.v2.png"), name("cat"), Part::Train, 20),
                (name("train/1.tar/000.png"), name("dog"), Part::Train, 30),
            ]
        );
        assert_eq!(data.notes(), ["1 image without a label left out: test/0.tar/001.png"]);
    }

    #[test]
    fn a_tar_of_class_folders_is_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pets.tar");
        let picture = |level| jpeg(GrayImage::from_pixel(9, 9, Luma([level])));
        fs::write(&path, tar_of(&[("pets/cat/1.jpg", picture(10)), ("pets/dog/1.jpg", picture(90))])).unwrap();
        let data = crate::open(&path).unwrap();
        let classes: Vec<String> = data.classes().iter().map(|class| class.full_name()).collect();
        assert_eq!((data.name(), classes), ("pets", vec!["cat".to_string(), "dog".to_string()]));
        assert_eq!(data.image_name(1), "pets/dog/1.jpg");
    }

    #[test]
    fn captions_cut_tars_and_tars_without_labels_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let error = |content: &[u8]| {
            let path = folder.path().join("a.tar");
            fs::write(&path, content).unwrap();
            crate::open(&path).err().unwrap().to_string()
        };
        let names: Vec<[String; 3]> =
            (0..12).map(|at| [format!("{at}.png"), format!("{at}.txt"), format!("a photo of thing {at}")]).collect();
        let captioned: Vec<(&str, Vec<u8>)> = names
            .iter()
            .flat_map(|[image, text, caption]| [(image.as_str(), picture(9)), (text, caption.clone().into_bytes())])
            .collect();
        let whole = tar_of(&captioned);
        assert!(error(&whole).contains("captions, not classes"), "{}", error(&whole));
        assert!(error(&whole[..700]).contains("get it again"), "{}", error(&whole[..700]));
        let plain = tar_of(&[("1.png", picture(9)), ("2.png", picture(8))]);
        assert!(error(&plain).contains("2 loose images"), "{}", error(&plain));
    }
}
