//! A data set of vectors: features of images, texts or sounds that some network has made before.

use crate::readers::numpy::{Array, Values};
use crate::{Class, DataError, Dataset, Hash, Image, Part, Result};
use std::io::{Seek, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Labeled vectors of one length.
///
/// As a [`Dataset`], vector `index` is [`Dataset::vector`]; there are no images. A [`View`](crate::View) shows
/// them as `(d, 1, 1)`, through a transform without steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    name: String,
    width: usize,
    values: Vec<f32>,
    classes: Vec<Class>,
    labels: Vec<u32>,
    names: Vec<String>,
    parts: Vec<Part>,
    held_out: Vec<usize>,
    notes: Vec<String>,
}

impl Vectors {
    /// Vectors `(n, width)` with labels. `names` are the files that they were made of, and `parts` the parts that
    /// these belong to; either may be empty.
    ///
    /// # Errors
    ///
    /// Returns an error if the numbers of vectors, labels, names and parts differ, a label has no class, or a value
    /// is not finite.
    pub fn new(
        name: &str,
        (width, values): (usize, Vec<f32>),
        (classes, labels): (Vec<Class>, Vec<u32>),
        names: Vec<String>,
        parts: Vec<Part>,
    ) -> Result<Self> {
        let wrong = |problem: String| Err(DataError::Invalid(problem));
        let count = values.len().checked_div(width).unwrap_or(0);
        if count == 0 || count * width != values.len() {
            return wrong(format!("{name}: holds no vectors: give an array of (vectors, numbers)"));
        }
        for (what, found) in [("labels", labels.len()), ("names", names.len()), ("parts", parts.len())] {
            if found != count && (what == "labels" || found > 0) {
                return wrong(format!("{name}: has {count} vectors and {found} {what}: give one for each vector"));
            }
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= classes.len()) {
            return wrong(format!("{name}: has the label {label} and {} class names: name all classes", classes.len()));
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return wrong(format!("{name}: vector {} holds NaN or infinity: make it again", place / width));
        }
        let held_out = (0..parts.len()).filter(|&at| parts[at] != Part::Train).collect();
        let name = name.to_string();
        Ok(Self { name, width, values, classes, labels, names, parts, held_out, notes: Vec::new() })
    }

    /// The same with notes for the user.
    pub(crate) fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }

    /// Numbers per vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes an `.npz` that [`open`](crate::open) and `numpy.load` read: `features (n, d)` float32, `labels (n)`
    /// int64, `class_names`, `file_names (n)` and `parts (n)`, texts without pickles.
    ///
    /// # Errors
    ///
    /// Returns the errors of the writer.
    pub fn write_npz(&self, to: impl Write + Seek) -> std::io::Result<()> {
        let count = self.labels.len();
        let texts = |texts: Vec<String>| Array { shape: vec![texts.len()], values: Values::Texts(texts) };
        let labels = Values::Integers(self.labels.iter().map(|&label| i64::from(label)).collect());
        let arrays = [
            ("features", Array { shape: vec![count, self.width], values: Values::Floats(self.values.clone()) }),
            ("labels", Array { shape: vec![count], values: labels }),
            ("class_names", texts(self.classes.iter().map(Class::full_name).collect())),
            ("file_names", texts((0..count).map(|at| self.image_name(at)).collect())),
            ("parts", texts((0..count).map(|at| self.part(at).name().to_string()).collect())),
        ];
        let mut zip = ZipWriter::new(to);
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
        for (name, array) in arrays {
            zip.start_file(format!("{name}.npy"), options)?;
            zip.write_all(&array.write())?;
        }
        zip.finish()?;
        Ok(())
    }
}

impl Dataset for Vectors {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, _: usize) -> Result<Image> {
        Err(DataError::Invalid(format!("{}: holds vectors, not images: give the images", self.name)))
    }

    fn size(&self, _: usize) -> Result<(usize, usize, usize)> {
        Ok((self.width, 1, 1))
    }

    fn vector(&self, index: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.width).nth(index)
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        let bytes: Vec<u8> = self.vector(index).unwrap_or_default().iter().flat_map(|v| v.to_le_bytes()).collect();
        Ok(Hash::of(&bytes))
    }

    fn image_name(&self, index: usize) -> String {
        self.names.get(index).cloned().unwrap_or_else(|| format!("{} vector {index}", self.name))
    }

    fn held_out(&self) -> &[usize] {
        &self.held_out
    }

    fn part(&self, image: usize) -> Part {
        self.parts.get(image).copied().unwrap_or(Part::Train)
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Inputs, View};
    use std::sync::Arc;

    fn vectors() -> Vectors {
        let class = |name: &str| Class { name: name.into(), group: String::new() };
        Vectors::new(
            "sounds",
            (2, vec![1.0, 2.0, -3.5, 4.0, 5.0, 6.0]),
            (vec![class("bark"), class("caf\u{e9}")], vec![0, 1, 1]),
            ["a.wav", "b.wav", "c.wav"].map(String::from).to_vec(),
            vec![Part::Train, Part::Train, Part::Test],
        )
        .unwrap()
    }

    #[test]
    fn what_is_written_opens_as_the_same_data_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sounds.npz");
        vectors().write_npz(std::fs::File::create(&path).unwrap()).unwrap();
        let data = crate::open(&path).unwrap();
        assert_eq!((data.name(), data.classes(), data.labels()), ("sounds", vectors().classes(), &[0, 1, 1][..]));
        assert_eq!((data.vector(1), data.vector(2)), (Some(&[-3.5, 4.0][..]), Some(&[5.0, 6.0][..])));
        assert_eq!((data.image_name(2), data.part(2), data.held_out()), ("c.wav".to_string(), Part::Test, &[2][..]));
        assert!(data.image(0).unwrap_err().to_string().contains("holds vectors, not images"));
    }

    #[test]
    fn a_view_shows_vectors_as_they_are_and_takes_no_steps() {
        let data: Arc<dyn Dataset> = Arc::new(vectors());
        let view = View::new(data.clone(), "".parse().unwrap()).unwrap();
        let rows = view.inputs(&[1, 0], None).unwrap();
        assert_eq!(rows.dims(), [2, 2, 1, 1]);
        assert_eq!(rows.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [-3.5, 4.0, 1.0, 2.0]);
        let error = View::new(data, "gray".parse().unwrap()).err().unwrap().to_string();
        assert!(error.contains("sounds: holds vectors"), "{error}");
    }

    #[test]
    fn vectors_that_do_not_fit_together_are_refused() {
        let new = |values: Vec<f32>, labels: Vec<u32>| {
            let class = Class { name: "a".into(), group: String::new() };
            Vectors::new("v", (2, values), (vec![class], labels), vec![], vec![]).unwrap_err().to_string()
        };
        assert!(new(vec![1.0; 4], vec![0]).contains("2 vectors and 1 labels"));
        assert!(new(vec![1.0; 4], vec![0, 1]).contains("the label 1"));
        assert!(new(vec![1.0, f32::NAN], vec![0]).contains("vector 0 holds NaN"));
        assert!(new(vec![1.0], vec![0]).contains("no vectors"));
    }
}
