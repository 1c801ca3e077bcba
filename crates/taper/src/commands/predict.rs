//! `taper predict`: class names with probabilities.

use crate::args::Predict;
use crate::builtin::built_in_learner;
use crate::data;
use crate::output::Output;
use crate::report::{result_json, with};
use crate::table::table;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use serde::Serialize;
use serde_json::json;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;
use taper_compare::adapt;
use taper_data::{DataError, Transform, Walk, copies, one_line, path_text, read_image, walk_images};
use taper_learn::{Model, models::CLASSIFIER};
use taper_ops::log_softmax;

/// Classes shown in a row of the table besides the likeliest.
const OTHERS_SHOWN: usize = 2;

pub(crate) fn run(options: &Predict, output: &Output) -> Result<()> {
    let start = Instant::now();
    let model = if data::is_support_folder(&options.model) {
        let support = data::dataset(Some(&options.model))?;
        data::describe(support.as_ref(), output)?;
        let learner = built_in_learner(support.as_ref(), output)?;
        adapt(&learner, &support, options.views.views, options.common.seed)?
    } else {
        Model::open(&options.model, &options.weights.hints()?)?
    };
    if model.origin.method != CLASSIFIER {
        bail!(
            "{}: is a learner ({}), not a classifier: run `taper adapt {} SUPPORT_FOLDER --out DIR` first",
            options.model.display(),
            model.origin.method,
            options.model.display()
        );
    }
    let transform: Transform = model.transform.parse()?;
    let Images { files, mut skipped } = images(&options.images)?;
    let several = files.len() + skipped.len() > 1;
    let mut rows = Vec::new();
    let mut records = vec![["image", "class", "probability"].map(String::from).to_vec()];
    records[0].extend(model.labels.iter().cloned());
    for file in &files {
        let name = path_text(file);
        let probabilities = match classify(&model, &transform, file, options) {
            Ok(probabilities) => probabilities,
            Err(error) if several => {
                output.note(format!("skipped: {error:#}"));
                skipped.push(Skipped { path: name, reason: reason(&error) });
                continue;
            }
            Err(error) => return Err(error),
        };
        let columns: Vec<String> = probabilities.iter().map(|p| format!("{p:.6}")).collect();
        let mut ranked: Vec<(&String, f32)> = model.labels.iter().zip(probabilities).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let all: Vec<_> = ranked.iter().map(|(name, p)| json!({"class": name, "probability": p})).collect();
        output.event(&json!({"event": "prediction", "image": name, "class": ranked[0].0, "probability": ranked[0].1, "classes": all}));
        let likely = |(name, p): &(&String, f32)| format!("{} {:.1}%", one_line(name), p * 100.0);
        let others: Vec<String> = ranked.iter().skip(1).take(OTHERS_SHOWN).map(likely).collect();
        let (class, p) = ranked[0];
        records.push([name.clone(), class.clone(), format!("{p:.6}")].into_iter().chain(columns).collect());
        rows.push(vec![name, one_line(class).into_owned(), format!("{:.1}%", p * 100.0), others.join(", ")]);
    }
    if rows.is_empty() {
        bail!("none of the {} images could be read: see the messages above", skipped.len());
    }
    output.line(match options.csv {
        true => csv_text(&records)?,
        false => table(&["image", "class", "probability", "next best"], &rows),
    });
    let result = result_json("predict", start.elapsed().as_secs_f64(), Vec::new(), None);
    output.event(&with(result, json!({"images": rows.len(), "skipped": skipped.len(), "skipped_files": skipped})));
    Ok(())
}

/// The probability of each of the model's classes, from the mean logits over the views.
fn classify(model: &Model, transform: &Transform, file: &Path, options: &Predict) -> Result<Vec<f32>> {
    let about = || path_text(file);
    let views = copies(transform, &read_image(file)?, options.views.views, options.common.seed).with_context(about)?;
    let (c, h, w) = views[0].shape();
    let expected = model.network.backbone().input();
    if (c, h, w) != expected {
        bail!("{}: the model's transform produces {c}x{h}x{w}, but the network takes {expected:?}", path_text(file));
    }
    let values: Vec<f32> = views.iter().flat_map(|view| view.values.iter().copied()).collect();
    let inputs = Tensor::from_vec(values, (views.len(), c, h, w), &Device::Cpu)?;
    let logits = model.network.logits(&model.state, &inputs)?.mean_keepdim(0)?;
    Ok(log_softmax(&logits)?.exp()?.get(0)?.to_vec1()?)
}

/// Records as CSV (RFC 4180), without the last line's end.
fn csv_text(records: &[Vec<String>]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    records.iter().try_for_each(|record| writer.write_record(record))?;
    let text = String::from_utf8(writer.into_inner()?)?;
    Ok(text.trim_end_matches('\n').to_string())
}

/// An image that could not be classified.
#[derive(Serialize)]
struct Skipped {
    path: String,
    reason: String,
}

/// What is wrong with the image, without its path.
fn reason(error: &anyhow::Error) -> String {
    match error.downcast_ref::<DataError>() {
        Some(DataError::BadFile { problem, .. }) => problem.clone(),
        _ => format!("{error:#}"),
    }
}

/// Images to classify, and files in the folders named that are not images.
#[derive(Default)]
struct Images {
    files: Vec<PathBuf>,
    skipped: Vec<Skipped>,
}

/// The images named, those inside the folders named, and for `-` those that standard input names.
fn images(paths: &[PathBuf]) -> Result<Images> {
    let mut images = Images::default();
    for path in paths {
        if path.as_os_str() == "-" {
            listed(std::io::stdin().lock(), &mut images).context("standard input")?;
        } else if path.exists() {
            images.add(path)?;
        } else {
            bail!("{}: no such file or folder: check the path", path_text(path));
        }
    }
    if images.files.is_empty() {
        bail!("no images to classify: give images, folders of images, or their paths on standard input");
    }
    Ok(images)
}

/// Adds the images whose paths `source` gives, one per line. One that does not exist is skipped later.
fn listed(source: impl BufRead, images: &mut Images) -> Result<()> {
    for line in source.split(b'\n') {
        let line = line?;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            images.add(&path_of(line))?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(bytes).into()
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    String::from_utf8_lossy(bytes).into_owned().into()
}

impl Images {
    /// Adds a file, or the images inside a folder.
    fn add(&mut self, path: &Path) -> Result<()> {
        if !path.is_dir() {
            self.files.push(path.to_path_buf());
            return Ok(());
        }
        let Walk { files, skipped, .. } = walk_images(path)?;
        if files.is_empty() {
            bail!("{}: contains no images: give images or folders of images", path_text(path));
        }
        self.files.extend(files.into_iter().map(|found| found.path));
        let folder = path_text(path);
        let told = skipped.into_iter().filter(|left_out| left_out.reason.matters());
        self.skipped.extend(told.map(|left_out| Skipped {
            path: format!("{}/{}", folder.trim_end_matches('/'), left_out.path),
            reason: left_out.detail,
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn csv_quotes_names_with_commas_quotes_and_line_breaks() {
        let records = [vec!["a,b".to_string(), "say \"x\"".into()], vec!["new\nline".into(), "0.5".into()]];
        assert_eq!(csv_text(&records).unwrap(), "\"a,b\",\"say \"\"x\"\"\"\n\"new\nline\",0.5");
    }

    #[test]
    fn paths_are_read_from_a_list_with_either_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut images = Images::default();
        let list = format!("{0}/a b.png\r\n\n{0}/new.jpg", folder.path().display());
        listed(list.as_bytes(), &mut images).unwrap();
        assert_eq!(images.files, [folder.path().join("a b.png"), folder.path().join("new.jpg")]);
    }

    #[test]
    fn a_folder_gives_its_images_by_content_and_the_files_left_out_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("a", &b"\x89PNG\r\n\x1a\n"[..]), ("b.jpg", b"text"), ("c.mp4", b"\x1aE\xdf\xa3")] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        fs::write(folder.path().join("README"), "words").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(".", folder.path().join("loop")).unwrap();
        let mut images = Images::default();
        images.add(folder.path()).unwrap();
        let names = |path: &PathBuf| path.file_name().unwrap().to_owned();
        assert_eq!(images.files.iter().map(names).collect::<Vec<_>>(), ["a", "b.jpg"]);
        let video = images.skipped.iter().find(|skipped| skipped.path.ends_with("/c.mp4")).unwrap();
        assert!(video.reason.starts_with("is a video"), "{}", video.reason);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf_8_are_listed_and_shown() {
        let mut images = Images::default();
        listed(&b"caf\xe9.png\n"[..], &mut images).unwrap();
        assert_eq!(path_text(&images.files[0]), "caf\\xe9.png");
    }
}
