//! CIFAR-10 and CIFAR-100, binary version (Krizhevsky 2009; www.cs.toronto.edu/~kriz/cifar.html).

use super::limits::{CIFAR, NAMES};
use super::raw::RawImages;
use super::source::regular;
use super::{bad_file, unreadable};
use crate::{Class, DataError, Dataset, Result};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// Whether the folder holds CIFAR's binary files (or its Python version), by name.
pub(crate) fn holds_cifar(folder: &Path) -> bool {
    !ten(folder).is_empty() || is_hundred(folder) || is_python(folder)
}

/// Opens a folder of CIFAR's binary files. The test part is held out; CIFAR-100's superclasses
/// are groups.
pub(crate) fn open_cifar(folder: &Path) -> Result<Arc<dyn Dataset>> {
    let ten = ten(folder);
    if ten.is_empty() && !is_hundred(folder) {
        let found = "it holds CIFAR's Python version (download the binary version)".to_string();
        return Err(DataError::NotADataset { path: folder.to_path_buf(), found });
    }
    let parts = |train: Vec<PathBuf>, test: &str| {
        let test = Some(folder.join(test)).filter(|path| path.is_file());
        train.into_iter().map(|path| (path, false)).chain(test.map(|path| (path, true))).collect::<Vec<_>>()
    };
    if ten.is_empty() {
        let train = Some(folder.join("train.bin")).filter(|path| path.is_file());
        let coarse = Some(folder.join("coarse_label_names.txt")).filter(|path| path.is_file());
        let groups = coarse.map(|path| lines(&path)).transpose()?;
        let names = lines(&folder.join("fine_label_names.txt"))?;
        read(folder, &parts(train.into_iter().collect(), "test.bin"), names, Groups::Coarse(groups))
    } else {
        let names = lines(&folder.join("batches.meta.txt"))?;
        let train = ten.into_iter().filter(|path| !path.ends_with("test_batch.bin")).collect();
        read(folder, &parts(train, "test_batch.bin"), names, Groups::None)
    }
}

/// What stands before a record's label.
enum Groups {
    /// Nothing: CIFAR-10.
    None,
    /// The superclass, and their names where these are there: CIFAR-100.
    Coarse(Option<Vec<String>>),
}

fn ten(folder: &Path) -> Vec<PathBuf> {
    let names = (1..=5).map(|batch| format!("data_batch_{batch}.bin")).chain(["test_batch.bin".to_string()]);
    names.map(|name| folder.join(name)).filter(|path| path.is_file()).collect()
}

fn is_hundred(folder: &Path) -> bool {
    folder.join("fine_label_names.txt").is_file()
        && ["train.bin", "test.bin"].iter().any(|name| folder.join(name).is_file())
}

fn is_python(folder: &Path) -> bool {
    let holds = |name: &str| folder.join(name).is_file();
    (holds("batches.meta") && holds("data_batch_1")) || (holds("meta") && holds("train") && holds("test"))
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let mut text = String::new();
    regular(path)
        .and_then(|file| file.take(NAMES).read_to_string(&mut text))
        .map_err(|error| bad_file(path, format!("can't be read ({error}): put it beside the .bin files")))?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string).collect())
}

fn read(folder: &Path, parts: &[(PathBuf, bool)], names: Vec<String>, groups: Groups) -> Result<Arc<dyn Dataset>> {
    let mut classes: Vec<Class> = names.into_iter().map(|name| Class { name, group: String::new() }).collect();
    let (mut labels, mut samples, mut held_out) = (Vec::new(), Vec::new(), Vec::new());
    let marks = if matches!(groups, Groups::None) { 1 } else { 2 };
    for (path, test) in parts {
        let mut bytes = Vec::new();
        let file = regular(path).map_err(|error| unreadable(path, &error))?;
        file.take(CIFAR + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
        let record = marks + 3 * PLANE;
        if bytes.is_empty() || bytes.len() as u64 > CIFAR || !bytes.len().is_multiple_of(record) {
            let problem = format!(
                "is cut short or not a CIFAR file: {} bytes are not a whole number of {record}-byte records: download it again",
                bytes.len()
            );
            return Err(bad_file(path, problem));
        }
        for record in bytes.chunks_exact(record) {
            let (mark, planes) = record.split_at(marks);
            let label = usize::from(mark[marks - 1]);
            let Some(class) = classes.get_mut(label) else {
                return Err(bad_file(
                    path,
                    format!("has label {label} but only {} names are there: download both again", classes.len()),
                ));
            };
            if let Groups::Coarse(Some(groups)) = &groups
                && class.group.is_empty()
            {
                let coarse = usize::from(mark[0]);
                class.group = groups.get(coarse).cloned().ok_or_else(|| {
                    bad_file(
                        path,
                        format!(
                            "has superclass {coarse} but only {} names are there: download both again",
                            groups.len()
                        ),
                    )
                })?;
            }
            if *test {
                held_out.push(labels.len());
            }
            labels.push(label as u32);
            samples
                .extend((0..PLANE).flat_map(|pixel| [planes[pixel], planes[PLANE + pixel], planes[2 * PLANE + pixel]]));
        }
    }
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if parts.iter().all(|(_, test)| *test) {
        held_out.clear();
    }
    Ok(Arc::new(RawImages { name, classes, labels, size: (3, SIDE, SIDE), samples, held_out }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A record whose pixel `i` is (i, label, 9) modulo 256.
    fn record(marks: &[u8]) -> Vec<u8> {
        let mut record = marks.to_vec();
        record.extend((0..PLANE).map(|pixel| pixel as u8));
        record.extend([marks[marks.len() - 1]].repeat(PLANE));
        record.extend([9].repeat(PLANE));
        record
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
        folder
    }

    #[test]
    fn cifar_10_is_read_and_its_test_part_held_out() {
        let folder = folder(&[
            ("data_batch_1.bin", [record(&[1]), record(&[0])].concat()),
            ("data_batch_2.bin", record(&[1])),
            ("test_batch.bin", record(&[0])),
            ("batches.meta.txt", b"airplane\nautomobile\n\n".to_vec()),
        ]);
        let data = crate::open(folder.path()).unwrap();
        assert_eq!((data.labels(), data.held_out()), (&[1, 0, 1, 0][..], &[3][..]));
        assert_eq!(data.classes()[1].full_name(), "automobile");
        let image = data.image(0).unwrap();
        assert_eq!((image.width, image.height, image.channels), (32, 32, 3));
        assert_eq!([image.sample(1, 2, 0), image.sample(1, 2, 1), image.sample(1, 2, 2)], [34, 1, 9]);
    }

    #[test]
    fn cifar_100_has_superclasses_as_groups() {
        let folder = folder(&[
            ("train.bin", [record(&[1, 0]), record(&[0, 1])].concat()),
            ("test.bin", record(&[1, 0])),
            ("fine_label_names.txt", b"apple\nbee\n".to_vec()),
            ("coarse_label_names.txt", b"insects\nfruit\n".to_vec()),
        ]);
        let data = crate::open(folder.path()).unwrap();
        assert_eq!(data.classes().iter().map(Class::full_name).collect::<Vec<_>>(), ["fruit/apple", "insects/bee"]);
        assert_eq!((data.labels(), data.held_out()), (&[0, 1, 0][..], &[2][..]));
    }

    #[test]
    fn what_is_damaged_or_the_wrong_version_is_told() {
        let names = ("batches.meta.txt", b"airplane\n".to_vec());
        let error = |files: &[(&str, Vec<u8>)]| crate::open(folder(files).path()).err().unwrap().to_string();
        assert!(error(&[("data_batch_1.bin", vec![0; 3000]), names.clone()]).contains("cut short"));
        assert!(error(&[("data_batch_1.bin", record(&[7])), names]).contains("label 7"));
        assert!(error(&[("data_batch_1.bin", record(&[0]))]).contains("batches.meta.txt"));
        assert!(error(&[("data_batch_1", vec![1]), ("batches.meta", vec![1])]).contains("binary version"));
    }
}
