//! Data sets in shards: files that hold many images each, with their labels.

use super::names::is_called_a_picture;
use super::part_word::{PartWord, Says};
use super::walk::walk;
use crate::{Part, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are looked into for shards: the hub's lie in `data/`, or in `default/train/`.
const DEPTH: usize = 3;

/// Whether a folder holds files of this ending and no pictures, by name.
pub(crate) fn holds_shards(folder: &Path, ending: &str) -> bool {
    let mut found = false;
    only_shards(folder, ending, DEPTH, &mut found) && found
}

/// Goes through a folder until it meets a picture; returns `false` then.
fn only_shards(folder: &Path, ending: &str, depth: usize, found: &mut bool) -> bool {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 0 && !only_shards(&entry.path(), ending, depth - 1, found) {
            return false;
        }
        if !is_folder && is_called_a_picture(&name) {
            return false;
        }
        *found |= !is_folder && has_ending(&name, ending);
    }
    true
}

fn has_ending(name: &str, ending: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, own)| own.eq_ignore_ascii_case(ending))
}

/// A file that holds many images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    /// Its path inside the data set.
    pub(super) name: String,
    pub(super) path: PathBuf,
    /// The part that its images belong to; `None` if they have no labels.
    pub(super) part: Option<Part>,
}

/// The shards of a folder, sorted by name. If none is to train on, all are: they are all there is.
pub(super) fn shards(folder: &Path, ending: &str) -> Result<Vec<Shard>> {
    let mut shards: Vec<Shard> = walk(folder)?
        .files
        .into_iter()
        .filter(|file| has_ending(&file.name, ending))
        .map(|file| Shard { part: part(&file.name), path: file.path, name: file.name })
        .collect();
    shards.sort_by(|a, b| a.name.cmp(&b.name));
    if shards.iter().all(|shard| shard.part != Some(Part::Train)) {
        shards.iter_mut().filter(|shard| shard.part.is_some()).for_each(|shard| shard.part = Some(Part::Train));
    }
    Ok(shards)
}

/// What parts there are, in words.
pub(super) fn parts_text(shards: &[Shard]) -> String {
    let count = |part: Option<Part>| shards.iter().filter(|shard| shard.part == part).count();
    let parts = [Some(Part::Train), Some(Part::Validation), Some(Part::Test), None].into_iter();
    let said = parts.map(|part| (part.map_or("without labels", Part::name), count(part))).filter(|(_, n)| *n > 0);
    format!("shards: {}", said.map(|(part, n)| format!("{part} {n}")).collect::<Vec<_>>().join(", "))
}

/// The part that a shard's name says, as in `train-00000-of-00002.parquet`, or that of the innermost folder
/// that says one; training if none does.
fn part(name: &str) -> Option<Part> {
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    let stem = file.split('.').next().unwrap_or(file);
    let is_number = |word: &&str| *word == "of" || word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = stem.split(['-', '_']).filter(|word| !is_number(word)).collect();
    let of_file = PartWord::of(stem).or_else(|| PartWord::of(&words.join("_")));
    let said = of_file.or_else(|| folders.rsplit('/').find_map(PartWord::of)).map(|word| word.says);
    match said {
        Some(Says::Part(part)) => Some(part),
        Some(Says::Unlabeled) => None,
        None => Some(Part::Train),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_shards_say_their_parts() {
        for (name, said) in [
            ("data/train-00000-of-00002.parquet", Some(Part::Train)),
            ("data/validation-00000-of-00001-1a2b3c4d.parquet", Some(Part::Validation)),
            ("default/test/0000.parquet", Some(Part::Test)),
            ("imagenet-val-000012.tar", Some(Part::Validation)),
            ("test/0.tar", Some(Part::Test)),
            ("0000.parquet", Some(Part::Train)),
            ("unlabeled-00000-of-00001.parquet", None),
        ] {
            assert_eq!(part(name), said, "{name}");
        }
    }

    #[test]
    fn a_folder_with_a_picture_is_not_one_of_shards() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data")).unwrap();
        assert!(!holds_shards(folder.path(), "tar"));
        fs::write(folder.path().join("data/train-0.tar"), b"").unwrap();
        fs::write(folder.path().join("README.md"), b"words").unwrap();
        assert!(holds_shards(folder.path(), "tar") && !holds_shards(folder.path(), "parquet"));
        fs::write(folder.path().join("data/cat.jpg"), b"").unwrap();
        assert!(!holds_shards(folder.path(), "tar"));
    }
}
