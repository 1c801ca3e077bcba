//! The runs of the challenge, as published.

use super::tree::Tree;
use crate::readers::decode;
use crate::{Class, DataError, Dataset, EpisodeIndices, Hash, Image, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The file that says which test image is which character.
const ANSWERS: &str = "class_labels.txt";

/// Runs of the challenge: a data set of single drawings, with one fixed task per run.
///
/// A run `run01` has its characters in `training/class01.png` and so on, the drawings to classify in
/// `test/item01.png`, and in `class_labels.txt` a line for each, the test image and then the
/// training image of the same character: `run01/test/item01.png run01/training/class08.png`.
pub struct LakeRuns {
    name: String,
    classes: Vec<Class>,
    labels: Vec<u32>,
    images: Vec<(String, Image)>,
    hashes: Vec<Hash>,
    tasks: Vec<EpisodeIndices>,
}

impl LakeRuns {
    /// The runs anywhere inside a folder or zip, in the order of their names.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none, if a line of answers names no image of its run, or if an
    /// image is missing, can't be read or has no answer.
    pub fn open(path: &Path) -> Result<Self> {
        let hidden = |name: &str| name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
        let tree = Tree::read(path, |name| (name.ends_with(".png") || name.ends_with(ANSWERS)) && !hidden(name))?;
        let runs: Vec<&str> = tree.names().filter_map(|name| name.strip_suffix(ANSWERS)?.strip_suffix('/')).collect();
        if runs.is_empty() {
            return Err(DataError::BadFile {
                path: path.to_path_buf(),
                problem: format!(
                    "holds no run with a {ANSWERS}: give the folder or zip of the Omniglot challenge's runs, run01 to run20"
                ),
            });
        }
        let mut read = Self {
            name: path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            classes: Vec::new(),
            labels: Vec::new(),
            images: Vec::new(),
            hashes: Vec::new(),
            tasks: Vec::new(),
        };
        for run in runs {
            read.add(&tree, run)
                .map_err(|problem| DataError::BadFile { path: path.to_path_buf(), problem: problem.to_string() })?;
        }
        Ok(read)
    }

    /// How many runs there are.
    pub fn runs(&self) -> usize {
        self.tasks.len()
    }

    /// The task that a run is; its source is the run's name.
    pub fn task(&self, run: usize) -> &EpisodeIndices {
        &self.tasks[run]
    }

    /// Adds the run in the folder `run`.
    fn add(&mut self, tree: &Tree, run: &str) -> Result<()> {
        let (around, name) = run.rsplit_once('/').map_or(("", run), |(_, name)| (&run[..run.len() - name.len()], name));
        let answers = format!("{run}/{ANSWERS}");
        let text = String::from_utf8_lossy(tree.bytes(&answers).unwrap_or_default()).into_owned();
        let training: Vec<&str> = tree.names().filter(|file| file.starts_with(&format!("{run}/training/"))).collect();
        let first = self.classes.len() as u32;
        let mut task = EpisodeIndices {
            classes: (first..first + training.len() as u32).collect(),
            support: Vec::new(),
            support_labels: (0..training.len() as u32).collect(),
            query: Vec::new(),
            query_labels: Vec::new(),
            source: name.to_string(),
        };
        for file in &training {
            let class = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".png");
            self.classes.push(Class { name: class.to_string(), group: name.to_string() });
            task.support.push(self.add_image(tree, file, self.classes.len() as u32 - 1)?);
        }
        let mut answered = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |problem: String| DataError::Invalid(format!("{answers} line {}: {problem}", number + 1));
            let (test, class) = line.trim().split_once(char::is_whitespace).ok_or_else(|| {
                wrong(format!(
                    "`{line}` is not a pair of a test and a training image: write {name}/test/item01.png {name}/training/class01.png"
                ))
            })?;
            let (test, class) = (format!("{around}{test}"), format!("{around}{}", class.trim()));
            let missing = |file: &str| wrong(format!("names {file}, which is missing: download the run again"));
            let label = training.iter().position(|file| *file == class).ok_or_else(|| missing(&class))?;
            if !test.starts_with(&format!("{run}/test/")) || tree.bytes(&test).is_none() {
                return Err(missing(&test));
            }
            if answered.insert(test.clone(), number).is_some() {
                return Err(wrong(format!("answers {test} a second time: keep one answer")));
            }
            task.query.push(self.add_image(tree, &test, first + label as u32)?);
            task.query_labels.push(label as u32);
        }
        let silent =
            tree.names().find(|file| file.starts_with(&format!("{run}/test/")) && !answered.contains_key(*file));
        if let Some(file) = silent {
            return Err(DataError::Invalid(format!("{answers} has no answer for {file}: add its line")));
        }
        if task.support.len() < 2 || task.query.is_empty() {
            return Err(DataError::Invalid(format!(
                "{run} has {} training and {} test images, but needs at least 2 and 1: download it again",
                task.support.len(),
                task.query.len()
            )));
        }
        self.tasks.push(task);
        Ok(())
    }

    /// Adds an image; returns its number.
    fn add_image(&mut self, tree: &Tree, file: &str, label: u32) -> Result<usize> {
        let bytes = tree.bytes(file).unwrap_or_default();
        let image = decode(bytes).map_err(|problem| DataError::Invalid(format!("{file} {problem}")))?;
        self.images.push((file.to_string(), image));
        self.hashes.push(Hash::of(bytes));
        self.labels.push(label);
        Ok(self.images.len() - 1)
    }

    fn at(&self, index: usize) -> Result<&(String, Image)> {
        self.images.get(index).ok_or_else(|| {
            DataError::Invalid(format!("{} has no image {index}: use a number below {}", self.name, self.images.len()))
        })
    }
}

impl Dataset for LakeRuns {
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
        Ok(self.at(index)?.1.clone())
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        self.at(index)?;
        Ok(self.hashes[index])
    }

    fn image_name(&self, index: usize) -> String {
        self.at(index).map_or_else(|_| format!("{} image {index}", self.name), |(name, _)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;
    use tempfile::TempDir;

    fn drawing(level: u8) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::GrayImage::from_pixel(4, 4, image::Luma([level])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    /// Files of two runs with three characters each, the answers in reverse.
    fn files() -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for run in ["run01", "run02"] {
            let mut answers = String::new();
            for number in 1..=3u8 {
                files.push((format!("{run}/training/class{number:02}.png"), drawing(10 * number)));
                files.push((format!("{run}/test/item{number:02}.png"), drawing(10 * (4 - number) + 1)));
                answers += &format!("{run}/test/item{number:02}.png {run}/training/class{:02}.png\n", 4 - number);
            }
            files.push((format!("{run}/{ANSWERS}"), answers.into_bytes()));
        }
        files
    }

    fn folder(files: &[(String, Vec<u8>)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join("all_runs").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn problem(change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> String {
        let mut files = files();
        change(&mut files);
        LakeRuns::open(folder(&files).path()).err().unwrap().to_string()
    }

    fn answers<'a>(files: &'a mut [(String, Vec<u8>)], run: &str) -> &'a mut Vec<u8> {
        &mut files.iter_mut().find(|(name, _)| *name == format!("{run}/{ANSWERS}")).unwrap().1
    }

    #[test]
    fn a_run_is_a_task_whose_answers_are_those_of_its_file() {
        let folder = folder(&files());
        let runs = LakeRuns::open(folder.path()).unwrap();
        assert_eq!((runs.runs(), runs.task(1).source.as_str()), (2, "run02"));
        let task = runs.task(1);
        assert_eq!((&task.support_labels, &task.query_labels), (&vec![0, 1, 2], &vec![2, 1, 0]));
        for (&query, &label) in task.query.iter().zip(&task.query_labels) {
            let level = |index| runs.image(index).unwrap().pixels[0];
            assert_eq!(level(query), level(task.support[label as usize]) + 1);
        }
        assert_eq!(runs.classes()[5].full_name(), "run02/class03");
    }

    #[test]
    fn a_zip_of_the_same_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.zip");
        let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, bytes) in files() {
            archive.start_file(format!("all_runs/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
        let runs = LakeRuns::open(&path).unwrap();
        assert_eq!((runs.runs(), &runs.task(0).query_labels), (2, &vec![2, 1, 0]));
    }

    #[test]
    fn files_larger_than_runs_can_be_are_refused() {
        let mut files = files();
        files.push(("run01/test/item09.png".into(), vec![0; 17 << 20]));
        let error = LakeRuns::open(folder(&files).path()).err().unwrap().to_string();
        assert!(error.contains("item09.png: is larger than 16 MiB"), "{error}");
        let at = tempfile::tempdir().unwrap();
        let path = at.path().join("runs.zip");
        let mut archive = zip::ZipWriter::new(fs::File::create(&path).unwrap());
        for (name, bytes) in files {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
        let error = LakeRuns::open(&path).err().unwrap().to_string();
        assert!(error.contains("item09.png: unpacks to more than 16 MiB"), "{error}");
    }

    #[test]
    fn what_is_wrong_with_a_run_is_named_with_its_line() {
        let missing = problem(|files| files.retain(|(name, _)| name != "run02/test/item02.png"));
        assert!(missing.contains("run02/class_labels.txt line 2") && missing.contains("run02/test/item02.png, which"));
        let missing = problem(|files| files.retain(|(name, _)| name != "run02/training/class01.png"));
        assert!(missing.contains("line 3") && missing.contains("training/class01.png, which is missing"), "{missing}");
        let nothing = problem(|files| *answers(files, "run01") = b"run01/test/item01.png\n".to_vec());
        assert!(nothing.contains("line 1") && nothing.contains("write run01/test"), "{nothing}");
        let silent = problem(|files| {
            let text = answers(files, "run01");
            text.truncate(text.len() / 3);
        });
        assert!(silent.contains("no answer for all_runs/run01/test/item02.png"), "{silent}");
        let none = problem(|files| files.retain(|(name, _)| !name.ends_with(ANSWERS)));
        assert!(none.contains("no run with a class_labels.txt"), "{none}");
        let broken = problem(|files| files[0].1.truncate(20));
        assert!(broken.contains("run01/training/class01.png") && broken.ends_with("remove it"), "{broken}");
    }
}
