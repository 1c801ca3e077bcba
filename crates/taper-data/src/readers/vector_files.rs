//! Data sets of vectors in files: `.npz`, two `.npy`, or safetensors.

use super::archive::{damaged, entries};
use super::limits::VECTORS;
use super::names::{composed, one_line};
use super::numpy::{Array, Values};
use super::source::{SharedFile, regular};
use super::{bad_file, part_of_word, unreadable};
use crate::{Class, Dataset, Part, Result, Vectors};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zip::ZipArchive;

/// Names of the array of vectors, the preferred one first.
const FEATURES: [&str; 8] = ["features", "embeddings", "vectors", "x", "data", "feats", "embedding", "arr_0"];
/// Names of the array of labels.
const LABELS: [&str; 8] = ["labels", "y", "label", "targets", "target", "classes", "class", "arr_1"];
/// Names of the list of classes.
const CLASSES: [&str; 4] = ["class_names", "classnames", "label_names", "names_of_classes"];
/// Names of the list of files.
const FILES: [&str; 5] = ["file_names", "filenames", "files", "names", "paths"];
/// Names of the list of parts.
const PARTS: [&str; 4] = ["parts", "part", "split", "splits"];

type Arrays = BTreeMap<String, Array>;

/// Whether a zip holds arrays only, as `numpy.savez` writes them.
pub(crate) fn is_npz(path: &Path) -> bool {
    let Some(archive) = File::open(path).ok().and_then(|file| ZipArchive::new(file).ok()) else { return false };
    !archive.is_empty() && archive.file_names().all(|name| name.ends_with(".npy"))
}

/// Whether a safetensors file holds vectors with labels, by the names of its tensors.
pub(crate) fn is_vector_safetensors(path: &Path) -> bool {
    let header = || -> Option<serde_json::Value> {
        let mut file = regular(path).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let length = u64::from_le_bytes(length);
        let mut header = Vec::new();
        (length <= 1 << 20).then_some(())?;
        file.take(length).read_to_end(&mut header).ok()?;
        serde_json::from_slice(&header).ok()
    };
    let has = |names: &[&str], header: &serde_json::Value| names.iter().any(|name| header.get(name).is_some());
    header().is_some_and(|header| has(&FEATURES[..4], &header) && has(&LABELS[..4], &header))
}

/// Opens an `.npz`, see [`open`](crate::open).
pub(crate) fn open_npz(path: &Path) -> Result<Arc<dyn Dataset>> {
    let file = regular(path).map_err(|error| unreadable(path, &error))?;
    let mut archive = ZipArchive::new(SharedFile::new(file)).map_err(|error| damaged(path, &error))?;
    let (mut arrays, mut total) = (Arrays::new(), 0);
    for entry in entries(path, &mut archive)? {
        total += entry.bytes;
        if total > VECTORS {
            return Err(too_large(path));
        }
        let mut bytes = Vec::new();
        let unpacked = archive.by_index(entry.place).map_err(|error| damaged(path, &error))?;
        let read = unpacked.take(VECTORS).read_to_end(&mut bytes);
        read.map_err(|error| bad_file(path, format!("is a damaged zip ({error}): save it again")))?;
        let name = entry.name.trim_end_matches(".npy").to_lowercase();
        let array =
            Array::read(&bytes).map_err(|problem| bad_file(path, format!("`{}` {problem}", one_line(&name))))?;
        arrays.insert(name, array);
    }
    assembled(path, arrays)
}

/// Opens an `.npy` of vectors with the one of labels beside it: `features.npy` and `labels.npy`, `X.npy` and `y.npy`,
/// `train_features.npy` and `train_labels.npy`.
pub(crate) fn open_npy(path: &Path) -> Result<Arc<dyn Dataset>> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = path.parent().unwrap_or(Path::new(""));
    let file = |stem: String| -> Option<PathBuf> { Some(folder.join(format!("{stem}.npy"))).filter(|at| at.is_file()) };
    let lower = stem.to_lowercase();
    let replaced = FEATURES.iter().filter_map(|own| {
        let start = lower.strip_suffix(own)?.len();
        stem.is_char_boundary(start).then(|| &stem[..start])
    });
    let mut partners = replaced.flat_map(|start| LABELS.iter().map(move |label| format!("{start}{label}")));
    let Some(labels) = partners.find_map(file).or_else(|| LABELS.iter().find_map(|label| file((*label).to_string())))
    else {
        let problem = format!(
            "is an array without labels: put them beside it as labels.npy, or save both as an .npz with the names {} and {}",
            FEATURES[0], LABELS[0]
        );
        return Err(bad_file(path, problem));
    };
    let mut arrays = Arrays::new();
    let own = (FEATURES[0], path.to_path_buf());
    let optional = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, file((*name).to_string())?)));
    for (name, at) in [Some(own), Some((LABELS[0], labels)), optional(&CLASSES), optional(&FILES), optional(&PARTS)]
        .into_iter()
        .flatten()
    {
        let array = Array::read(&whole(&at)?).map_err(|problem| bad_file(&at, problem))?;
        arrays.insert(name.to_string(), array);
    }
    assembled(path, arrays)
}

/// The array of vectors in a folder of arrays; `None` if it holds none with labels.
pub(crate) fn npy_in(folder: &Path) -> Option<PathBuf> {
    let file = |name: &&str| Some(folder.join(format!("{name}.npy"))).filter(|at| at.is_file());
    let upper = || Some(folder.join("X.npy")).filter(|at| at.is_file());
    LABELS.iter().find_map(&file)?;
    FEATURES.iter().find_map(file).or_else(upper)
}

/// Opens a safetensors file of vectors, with the names of classes as `class_names` in its metadata, a list in JSON.
pub(crate) fn open_safetensors(path: &Path) -> Result<Arc<dyn Dataset>> {
    let bytes = whole(path)?;
    let broken = |error| bad_file(path, format!("is damaged ({error}): save it again"));
    let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
    let mut arrays = Arrays::new();
    for (name, tensor) in file.tensors() {
        let kind = match tensor.dtype() {
            Dtype::F16 => "<f2",
            Dtype::F32 => "<f4",
            Dtype::F64 => "<f8",
            Dtype::I64 => "<i8",
            Dtype::I32 => "<i4",
            Dtype::U8 => "|u1",
            Dtype::U32 => "<u4",
            _ => continue,
        };
        let count = tensor.shape().iter().product();
        let values = super::numpy::values(kind, count, tensor.data())
            .map_err(|problem| bad_file(path, format!("`{}` {problem}", one_line(&name))))?;
        arrays.insert(name.to_lowercase(), Array { shape: tensor.shape().to_vec(), values });
    }
    for (key, text) in header.metadata().iter().flatten() {
        if let Ok(texts) = serde_json::from_str::<Vec<String>>(text) {
            arrays.insert(key.to_lowercase(), Array { shape: vec![texts.len()], values: Values::Texts(texts) });
        }
    }
    assembled(path, arrays)
}

fn too_large(path: &Path) -> crate::DataError {
    bad_file(path, format!("holds more than {} GiB: split it", VECTORS >> 30))
}

/// A whole file.
fn whole(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = regular(path).map_err(|error| unreadable(path, &error))?;
    file.take(VECTORS + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > VECTORS { Err(too_large(path)) } else { Ok(bytes) }
}

/// The data set of these arrays.
fn assembled(path: &Path, mut arrays: Arrays) -> Result<Arc<dyn Dataset>> {
    let all = arrays.keys().map(|name| one_line(name).into_owned()).collect::<Vec<_>>().join(", ");
    let lacks = |what: &str, name: &str| bad_file(path, format!("has no {what} (it has {all}), call them `{name}`"));
    let mut taken = |names: &[&str]| names.iter().find_map(|name| arrays.remove(*name));
    let features = taken(&FEATURES).ok_or_else(|| lacks("array of vectors", FEATURES[0]))?;
    let labels = taken(&LABELS).ok_or_else(|| lacks("labels", LABELS[0]))?;
    let mut texts = |names: &[&str]| match taken(names) {
        Some(Array { values: Values::Texts(texts), .. }) => texts,
        _ => Vec::new(),
    };
    let (names, files, parts) = (texts(&CLASSES), texts(&FILES), texts(&PARTS));
    let &[count, width] = features.shape.as_slice() else {
        let problem = format!("its vectors have the shape {:?}: give an array of (vectors, numbers)", features.shape);
        return Err(bad_file(path, problem));
    };
    let values = match features.values {
        Values::Floats(values) => values,
        Values::Integers(values) => values.into_iter().map(|value| value as f32).collect(),
        Values::Texts(_) => return Err(bad_file(path, "its vectors are text: give numbers")),
    };
    let label = |number: i64| match usize::try_from(number).ok().filter(|_| !names.is_empty()) {
        None if number < 0 => None,
        None => Some(number.to_string()),
        Some(place) => names.get(place).map(|name| composed(name).into_owned()),
    };
    let labels: Vec<Option<String>> = match labels.values {
        Values::Integers(numbers) => numbers.into_iter().map(label).collect(),
        Values::Texts(texts) => texts.into_iter().map(|text| Some(composed(text.trim()).into_owned())).collect(),
        // whole numbers that something has made floats of
        Values::Floats(numbers) if numbers.iter().all(|number| number.fract() == 0.0) => {
            numbers.into_iter().map(|number| label(number as i64)).collect()
        }
        Values::Floats(_) => return Err(bad_file(path, "its labels are fractions: give whole numbers or names")),
    };
    for (what, found) in [("labels", labels.len()), ("file names", files.len()), ("parts", parts.len())] {
        if found != count && (what == "labels" || found > 0) {
            return Err(bad_file(path, format!("has {count} vectors and {found} {what}: give one for each vector")));
        }
    }
    let part = |at: usize| parts.get(at).map_or(Some(Part::Train), |part| part_of_word(part));
    let known: BTreeSet<&String> =
        (0..count).filter(|&at| part(at) == Some(Part::Train)).filter_map(|at| labels[at].as_ref()).collect();
    let number: BTreeMap<&String, u32> = known.iter().copied().zip(0..).collect();
    let kept: Vec<(usize, u32, Part)> =
        (0..count).filter_map(|at| Some((at, *number.get(labels[at].as_ref()?)?, part(at)?))).collect();
    let mut notes = Vec::new();
    if kept.len() < count {
        let lost = count - kept.len();
        notes.push(format!("{lost} vector(s) without a label, a part or training vectors of their class left out"));
    }
    let values = match kept.len() == count {
        true => values,
        false => kept.iter().flat_map(|(at, ..)| &values[at * width..(at + 1) * width]).copied().collect(),
    };
    // the full name of a class in a group is the group and the name
    let class = |full: &&String| match full.rsplit_once('/') {
        Some((group, name)) => Class { name: name.to_string(), group: group.to_string() },
        None => Class { name: (*full).clone(), group: String::new() },
    };
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let files = if files.is_empty() { files } else { kept.iter().map(|(at, ..)| files[*at].clone()).collect() };
    let vectors = Vectors::new(
        &name,
        (width, values),
        (known.iter().map(class).collect(), kept.iter().map(|(_, label, _)| *label).collect()),
        files,
        kept.iter().map(|(.., part)| *part).collect(),
    )?;
    Ok(Arc::new(vectors.with_notes(notes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn array(shape: &[usize], values: Values) -> Vec<u8> {
        Array { shape: shape.to_vec(), values }.write()
    }

    fn full_names(data: &dyn Dataset) -> Vec<String> {
        data.classes().iter().map(Class::full_name).collect()
    }

    #[test]
    fn arrays_beside_each_other_are_one_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, content: Vec<u8>| fs::write(folder.path().join(name), content).unwrap();
        put("X.npy", array(&[3, 2], Values::Integers(vec![1, 2, 3, 4, 5, 6])));
        put("y.npy", array(&[3], Values::Integers(vec![7, 10, 7])));
        let whole = crate::open(folder.path()).unwrap();
        assert_eq!((full_names(whole.as_ref()), whole.labels()), (vec!["10".into(), "7".into()], &[1, 0, 1][..]));
        assert_eq!(whole.vector(2), Some(&[5.0, 6.0][..]));
        put("test_features.npy", array(&[1, 2], Values::Floats(vec![1.0, 2.0])));
        put("test_labels.npy", array(&[1], Values::Texts(vec!["cat".into()])));
        let named = crate::open(&folder.path().join("test_features.npy")).unwrap();
        assert_eq!(full_names(named.as_ref()), ["cat"]);
    }

    #[test]
    fn safetensors_hold_vectors_and_names_in_their_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts.safetensors");
        let features: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let labels: Vec<u8> = [1i64, 0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = |dtype, shape: &[usize], data| safetensors::tensor::TensorView::new(dtype, shape.to_vec(), data);
        let tensors = [
            ("features", view(Dtype::F32, &[2, 2], &features).unwrap()),
            ("labels", view(Dtype::I64, &[2], &labels).unwrap()),
        ];
        let named = [("class_names".to_string(), r#"["ham", "spam"]"#.to_string())].into_iter().collect();
        fs::write(&path, safetensors::serialize(tensors, Some(named)).unwrap()).unwrap();
        assert!(is_vector_safetensors(&path));
        let data = crate::open(&path).unwrap();
        assert_eq!((full_names(data.as_ref()), data.labels()), (vec!["ham".into(), "spam".into()], &[1, 0][..]));
    }

    #[test]
    fn arrays_without_labels_or_of_other_shapes_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.npy");
        let error = || crate::open(&path).err().unwrap().to_string();
        fs::write(&path, array(&[2, 2], Values::Integers(vec![1, 2, 3, 4]))).unwrap();
        assert!(error().contains("put them beside it as labels.npy"), "{}", error());
        fs::write(folder.path().join("labels.npy"), array(&[1], Values::Integers(vec![0]))).unwrap();
        assert!(error().contains("2 vectors and 1 labels"), "{}", error());
        fs::write(&path, array(&[4], Values::Integers(vec![1, 2, 3, 4]))).unwrap();
        assert!(error().contains("shape [4]"), "{}", error());
    }
}
