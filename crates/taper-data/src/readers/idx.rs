//! IDX, the format of MNIST (LeCun, Cortes and Burges; yann.lecun.com/exdb/mnist), plain or
//! gzipped: a file of images and one of labels.

use super::limits::{IDX, unpacked};
use super::raw::RawImages;
use super::source::regular;
use super::{bad_file, unreadable};
use crate::{Class, DataError, Dataset, Result};
use flate2::read::MultiGzDecoder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes and three dimensions: images, rows, columns.
const IMAGES: [u8; 4] = [0, 0, 8, 3];
/// Bytes and one dimension.
const LABELS: [u8; 4] = [0, 0, 8, 1];

/// Images and labels that belong together.
struct Pair {
    images: PathBuf,
    labels: PathBuf,
}

/// Whether the folder holds IDX images, by name.
pub(crate) fn holds_idx(folder: &Path) -> bool {
    !image_files(folder).is_empty()
}

/// Whether the file is an IDX file, plain or gzipped, by its first bytes.
pub(crate) fn starts_as_idx(path: &Path) -> bool {
    let mut first = [0; 4];
    reader(path).is_ok_and(|mut source| source.read_exact(&mut first).is_ok()) && [IMAGES, LABELS].contains(&first)
}

/// Opens a folder of IDX files; with a training and a test part (`t10k` or `test` in its name),
/// the test part is held out.
pub(crate) fn open_idx_folder(folder: &Path) -> Result<Arc<dyn Dataset>> {
    let (test, train): (Vec<_>, Vec<_>) = image_files(folder).into_iter().partition(|path| {
        let name = file_name(path);
        name.contains("t10k") || name.contains("test")
    });
    if train.len() > 1 || test.len() > 1 {
        let several = if train.len() > 1 { &train } else { &test };
        let names = several.iter().map(|path| file_name(path)).collect::<Vec<_>>().join(" and ");
        return Err(bad_file(folder, format!("holds several data sets, {names}; give one of these files")));
    }
    let parts = train.into_iter().chain(test).map(with_partner).collect::<Result<Vec<_>>>()?;
    read(folder, &parts)
}

/// Opens an IDX file of images or labels, and its partner beside it.
pub(crate) fn open_idx_file(path: &Path) -> Result<Arc<dyn Dataset>> {
    read(path, &[with_partner(path.to_path_buf())?])
}

/// The IDX files of images in a folder, by name. Of a file that is there both plain and gzipped,
/// the plain one.
fn image_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| {
        let name = file_name(path);
        path.is_file() && !name.starts_with('.') && name.contains("images") && name.contains("idx3")
    });
    let mut by_name = BTreeMap::new();
    for path in files.collect::<BTreeSet<_>>() {
        by_name.entry(file_name(&path).trim_end_matches(".gz").to_string()).or_insert(path);
    }
    by_name.into_values().collect()
}

/// The pair that an IDX file belongs to: `images-idx3` beside `labels-idx1`, each plain or gzipped.
fn with_partner(path: PathBuf) -> Result<Pair> {
    let name = file_name(&path);
    let is_images = name.contains("images");
    let partner = if is_images {
        name.replace("images", "labels").replace("idx3", "idx1")
    } else {
        name.replace("labels", "images").replace("idx1", "idx3")
    };
    if partner == name {
        return Err(bad_file(
            &path,
            "is an IDX file whose name says neither images nor labels: rename it like MNIST's files, such as train-images-idx3-ubyte",
        ));
    }
    let plain = partner.trim_end_matches(".gz");
    let beside = [plain.to_string(), format!("{plain}.gz")].map(|name| path.with_file_name(name));
    let Some(partner) = beside.into_iter().find(|beside| beside.is_file()) else {
        return Err(bad_file(&path, format!("lacks its partner: put {plain} or {plain}.gz beside it")));
    };
    Ok(if is_images { Pair { images: path, labels: partner } } else { Pair { images: partner, labels: path } })
}

fn read(path: &Path, parts: &[Pair]) -> Result<Arc<dyn Dataset>> {
    let (mut samples, mut numbers, mut size, mut held_out) = (Vec::new(), Vec::<u8>::new(), None, Vec::new());
    for (place, Pair { images, labels }) in parts.iter().enumerate() {
        let (opened, marks) = (Opened::new(images, IMAGES)?, Opened::new(labels, LABELS)?);
        let ([count, height, width], [labeled]) = (opened.dimensions, marks.dimensions);
        if count != labeled {
            return Err(bad_file(labels, format!("has {labeled} labels for {count} images: download both again")));
        }
        if opened.length == 0 {
            return Err(bad_file(images, "holds no images: download it again"));
        }
        if samples.len() as u64 + opened.length > IDX {
            return Err(bad_file(path, "holds more than 4 GiB of samples: give one of its files"));
        }
        if *size.get_or_insert((1, height, width)) != (1, height, width) {
            return Err(bad_file(
                images,
                format!("has images of {width}x{height}, unlike the training part: keep them apart"),
            ));
        }
        if place > 0 {
            held_out.extend(numbers.len()..numbers.len() + count);
        }
        // the second part is read behind the first: nothing is held twice
        opened.read(&mut samples)?;
        marks.read(&mut numbers)?;
    }
    let Some(size) = size else {
        return Err(DataError::NotADataset { path: path.to_path_buf(), found: "it holds no IDX images".to_string() });
    };
    // Only numbers that occur are classes: EMNIST's letters count from 1.
    let occurring: Vec<u8> = numbers.iter().copied().collect::<BTreeSet<u8>>().into_iter().collect();
    let mut classes_by_number = [0u32; 256];
    occurring.iter().enumerate().for_each(|(class, &number)| classes_by_number[usize::from(number)] = class as u32);
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    Ok(Arc::new(RawImages {
        name: file_name(&whole).trim_end_matches(".gz").to_string(),
        classes: occurring.iter().map(|number| Class { name: number.to_string(), group: String::new() }).collect(),
        labels: numbers.iter().map(|&number| classes_by_number[usize::from(number)]).collect(),
        size,
        samples,
        held_out,
    }))
}

/// An IDX file whose dimensions were read and whose bytes come next.
struct Opened<const N: usize> {
    path: PathBuf,
    dimensions: [usize; N],
    /// The number of bytes that the dimensions say.
    length: u64,
    source: Box<dyn Read>,
}

impl<const N: usize> Opened<N> {
    /// Opens an IDX file that starts with `magic`.
    fn new(path: &Path, magic: [u8; 4]) -> Result<Self> {
        let mut source = reader(path).map_err(|error| unreadable(path, &error))?;
        let mut word = [0; 4];
        source.read_exact(&mut word).map_err(|error| broken(path, &error))?;
        if word != magic {
            let what = if magic == IMAGES { "images" } else { "labels" };
            return Err(bad_file(
                path,
                format!("is not an IDX file of {what} (its first bytes are {word:?}): give the right one"),
            ));
        }
        let mut dimensions = [0; N];
        for dimension in &mut dimensions {
            source.read_exact(&mut word).map_err(|error| broken(path, &error))?;
            *dimension = u32::from_be_bytes(word) as usize;
        }
        let length = dimensions.iter().try_fold(1u64, |length, &dimension| length.checked_mul(dimension as u64));
        let Some(length) = length.filter(|&length| length <= IDX) else {
            return Err(bad_file(
                path,
                format!("claims {dimensions:?} bytes, more than 4 GiB: check where it comes from"),
            ));
        };
        Ok(Self { path: path.to_path_buf(), dimensions, length, source })
    }

    /// Appends the bytes to `into`, which grows with what is there and not with what is claimed.
    fn read(self, into: &mut Vec<u8>) -> Result<()> {
        let before = into.len();
        self.source.take(self.length + 1).read_to_end(into).map_err(|error| broken(&self.path, &error))?;
        let found = (into.len() - before) as u64;
        if found != self.length {
            let found = if found > self.length { "more".to_string() } else { format!("only {found}") };
            return Err(bad_file(
                &self.path,
                format!("should hold {} bytes by its header but holds {found}: download it again", self.length),
            ));
        }
        Ok(())
    }
}

fn broken(path: &Path, error: &std::io::Error) -> DataError {
    bad_file(path, format!("is cut short or damaged ({error}): download it again"))
}

/// The file's content, unpacked if it is gzipped: no more than its size allows.
fn reader(path: &Path) -> std::io::Result<Box<dyn Read>> {
    let mut file = regular(path)?;
    let packed = file.metadata()?.len();
    let mut first = Vec::new();
    file.by_ref().take(2).read_to_end(&mut first)?;
    file.rewind()?;
    let file = BufReader::new(file);
    Ok(if first == [0x1f, 0x8b] {
        Box::new(MultiGzDecoder::new(file).take(unpacked(packed, IDX + 64)))
    } else {
        Box::new(file)
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn idx(dimensions: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|dimension| file.extend(dimension.to_be_bytes()));
        file.extend(bytes);
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    /// Three training images of 2x3 (plain) and one test image (gzipped); labels 1, 5, 1 and 5.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", &idx(&[3, 2, 3], &(0..18).collect::<Vec<u8>>()));
        write("train-labels-idx1-ubyte", &idx(&[3], &[1, 5, 1]));
        write("t10k-images-idx3-ubyte.gz", &gzip(&idx(&[1, 2, 3], &[100, 101, 102, 103, 104, 105])));
        write("t10k-labels-idx1-ubyte.gz", &gzip(&idx(&[1], &[5])));
        write("README.md", b"about");
        folder
    }

    #[test]
    fn both_parts_of_a_folder_are_read_and_the_test_part_is_held_out() {
        let folder = folder();
        let data = crate::open(folder.path()).unwrap();
        assert_eq!(data.labels(), [0, 1, 0, 1]);
        assert_eq!(data.classes().iter().map(Class::full_name).collect::<Vec<_>>(), ["1", "5"]);
        assert_eq!(data.held_out(), [3]);
        assert_eq!(data.image(1).unwrap().pixels, [6, 7, 8, 9, 10, 11]);
        assert_eq!(data.image(3).unwrap().sample(1, 2, 0), 105);
        assert_eq!((data.size(0).unwrap(), data.image(0).unwrap().width), ((1, 2, 3), 3));
        assert_eq!(data.content_hash(1).unwrap(), crate::Hash::of(&[6, 7, 8, 9, 10, 11]));
        assert!(data.image(4).is_err());
    }

    #[test]
    fn one_file_of_a_pair_is_enough() {
        let folder = folder();
        for name in ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"] {
            let data = crate::open(&folder.path().join(name)).unwrap();
            assert_eq!((data.labels().len(), data.held_out().len()), (1, 0));
        }
    }

    #[test]
    fn a_plain_file_beside_its_gzipped_self_is_read_once() {
        let folder = folder();
        let plain = fs::read(folder.path().join("train-images-idx3-ubyte")).unwrap();
        fs::write(folder.path().join("train-images-idx3-ubyte.gz"), gzip(&plain)).unwrap();
        assert_eq!(crate::open(folder.path()).unwrap().labels().len(), 4);
    }

    #[test]
    fn damaged_files_are_errors_that_name_them() {
        let error = |name: &str, bytes: &[u8]| {
            let folder = folder();
            fs::write(folder.path().join(name), bytes).unwrap();
            crate::open(folder.path()).err().unwrap().to_string()
        };
        let images = "train-images-idx3-ubyte";
        let short = error(images, &idx(&[3, 2, 3], &[0; 17]));
        assert!(short.contains(images) && short.contains("only 17"), "{short}");
        assert!(error(images, &idx(&[3, 2, 3], &[0; 19])).contains("holds more"));
        assert!(error(images, &idx(&[2, 2, 3], &[0; 12])).contains("3 labels for 2 images"));
        assert!(error(images, &idx(&[u32::MAX, u32::MAX, 3], &[])).contains("more than 4 GiB"));
        assert!(error(images, &idx(&[3, 2], &[0; 6])).contains("not an IDX file of images"));
        let packed = gzip(&idx(&[1, 2, 3], &[0; 6]));
        assert!(error("t10k-images-idx3-ubyte.gz", &packed[..packed.len() / 2]).contains("cut short"));
        assert!(error("other-images-idx3-ubyte", &[]).contains("several data sets"));
    }

    #[test]
    fn a_missing_partner_is_named() {
        let folder = folder();
        fs::remove_file(folder.path().join("train-labels-idx1-ubyte")).unwrap();
        let error = crate::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("put train-labels-idx1-ubyte"), "{error}");
    }

    #[test]
    fn a_gzipped_bomb_is_not_unpacked() {
        let folder = folder();
        for name in ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"] {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
        // 32 MiB of zeros in 32 KiB, and a header that says so
        let bomb = gzip(&idx(&[32 << 10, 32, 32], &vec![0; 32 << 20]));
        fs::write(folder.path().join("train-images-idx3-ubyte"), &bomb).unwrap();
        fs::write(folder.path().join("train-labels-idx1-ubyte"), idx(&[32 << 10], &vec![0; 32 << 10])).unwrap();
        let error = crate::open(folder.path()).err().unwrap().to_string();
        assert!(error.contains("train-images-idx3-ubyte") && error.contains("only 1677"), "{error}");
    }
}
