//! `taper predict`: class names with probabilities, and how far to trust them.

use crate::args::{Predict, UsageError};
use crate::builtin::built_in_learner;
use crate::data;
use crate::explanation::{Explainer, Explanation, NO_LABELED_IMAGES, Neighbor, NotWritten};
use crate::hints::causes;
use crate::output::Output;
use crate::report::{result_json, with};
use crate::table::counted;
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use serde::Serialize;
use serde_json::json;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;
use taper_compare::adapt;
use taper_data::{DataError, Transform, Walk, copies, one_line, path_text, read_image, walk_images};
use taper_learn::{Model, evaluation::likeliest, support::Assessor};
use taper_models::{Forward, Mode, State};
use taper_ops::log_softmax;

/// Classes shown in a row of the table besides the likeliest.
const OTHERS_SHOWN: usize = 2;
/// Files in folders that are not images, or links to nothing, that are named.
const LEFT_OUT_SHOWN: usize = 5;
/// The answer for an image that is refused.
const NONE: &str = "none of these";

pub(crate) fn run(options: &Predict, output: &Output) -> Result<()> {
    let start = Instant::now();
    if options.views.views > 1 && (options.reject.is_some() || options.set.is_some()) {
        let problem = "--reject and --set promise rates for a single view of each image: remove --views";
        return Err(UsageError(problem.into()).into());
    }
    let model = if data::is_support_folder(&options.model) {
        let support = data::dataset(Some(&options.model))?;
        data::describe(support.as_ref(), output)?;
        let learner = built_in_learner(support.as_ref(), output)?;
        adapt(&learner, &support, options.views.views, options.common.seed)?
    } else {
        Model::open(&options.model, &options.weights.hints()?)?
    };
    data::check_classifier(&model, &options.model)?;
    let about = || options.model.display().to_string();
    let assessor = assessor(&model, options).with_context(about)?;
    let Images { files, mut skipped } = images(&options.images)?;
    let explainer = options.explain.as_deref().map(|folder| Explainer::new(&model, folder));
    let mut explainer = explainer.transpose().with_context(about)?;
    if explainer.is_some() && model.support.is_none() {
        output.note(format!("{}: keeps no labeled images, so none are named: only heat maps are written", about()));
    }
    let transform: Transform = model.transform.parse()?;
    for Skipped { path, reason } in skipped.iter().take(LEFT_OUT_SHOWN) {
        output.note(format!("skipped: {path}: {reason}"));
    }
    if let Some(more @ 1..) = skipped.len().checked_sub(LEFT_OUT_SHOWN) {
        let files = if more == 1 { "file that is not an image" } else { "files that are not images" };
        output.note(format!("skipped: {more} more {files}: --json lists them all"));
    }
    let several = files.len() + skipped.len() > 1;
    let mut answers = Vec::new();
    for file in &files {
        let answer = classify(&model, &transform, file, options)
            .and_then(|seen| Answer::new(&model, seen, file, assessor.as_ref(), explainer.as_mut(), options));
        match answer {
            Ok(answer) => {
                output.event(&answer.event(&model.labels));
                answers.push(answer);
            }
            Err(error) if several && !error.is::<NotWritten>() => {
                output.note(format!("skipped: {}", causes(&error)));
                skipped.push(Skipped { path: path_text(file), reason: reason(&error) });
            }
            Err(error) => return Err(error),
        }
    }
    if answers.is_empty() {
        bail!("none of {} could be read: see the messages above", counted(skipped.len(), "image"));
    }
    match options.csv {
        true => output.text(csv_text(&records(&answers, &model.labels, options))?),
        false => show(&answers, &model.labels, options, output),
    }
    if let Some(assessor) = &assessor {
        note_unlike(&answers, assessor, options, output);
    }
    let result = result_json("predict", start.elapsed().as_secs_f64(), Vec::new(), None);
    let facts = json!({"images": answers.len(), "skipped": skipped.len(), "skipped_files": skipped});
    output.event(&with(result, facts));
    Ok(())
}

/// What tells images unlike the labeled ones; `None` if the classifier can't, and nothing asks for it.
fn assessor(model: &Model, options: &Predict) -> Result<Option<Assessor>> {
    let asked = [("--reject", options.reject), ("--set", options.set.map(|share| 1.0 - share))];
    let is_asked = asked.iter().any(|(_, rate)| rate.is_some());
    let made = match &model.support {
        Some(support) => Assessor::new(&model.network, &model.state, support).map_err(anyhow::Error::from),
        None => Err(anyhow::anyhow!(NO_LABELED_IMAGES)),
    };
    let assessor = match made {
        Ok(assessor) => assessor,
        Err(error) if is_asked => return Err(error),
        Err(_) => return Ok(None),
    };
    if options.reject.is_some() && !assessor.tells_foreign() {
        let problem =
            "--reject is not possible after a class was removed from a network that had learned it: train anew";
        return Err(UsageError(problem.into()).into());
    }
    let smallest = assessor.smallest_rate();
    for (option, rate) in asked {
        if rate.is_some_and(|rate| rate < smallest - 1e-9) {
            return Err(UsageError(out_of_reach(option, smallest, assessor.held_out())).into());
        }
    }
    Ok(Some(assessor))
}

/// What to give instead of a share that so many labeled images can't promise, rounded to the safe side.
fn out_of_reach(option: &str, smallest: f64, images: usize) -> String {
    let images = counted(images, "labeled image");
    let rounded = |percent: f64, steps: f64, up: bool| match up {
        // what is exact is not rounded to the next step
        true => (percent * steps - 1e-6).ceil() / steps,
        false => (percent * steps + 1e-6).floor() / steps,
    };
    let (which, percent, up) = match option {
        "--set" => ("share above", 100.0 * (1.0 - smallest), false),
        _ => ("rate below", 100.0 * smallest, true),
    };
    let (limit, advice) = (rounded(percent, 100.0, up), rounded(percent, 10.0, up));
    format!("{images} allow no {which} {limit}%: use {option} {advice}%, or label more images")
}

/// What the network makes of an image.
struct Seen {
    /// `(1, c, h, w)`, without random steps.
    input: Tensor,
    /// `(1, d)`, of the input.
    features: Tensor,
    /// `(1, ways)`, the mean over the views.
    logits: Tensor,
}

fn classify(model: &Model, transform: &Transform, file: &Path, options: &Predict) -> Result<Seen> {
    let about = || path_text(file);
    let views = copies(transform, &read_image(file)?, options.views.views, options.common.seed).with_context(about)?;
    let (c, h, w) = views[0].shape();
    let expected = model.network.backbone().input();
    if (c, h, w) != expected {
        bail!("{}: the model's transform produces {c}x{h}x{w}, but the network takes {expected:?}", path_text(file));
    }
    let values: Vec<f32> = views.iter().flat_map(|view| view.values.iter().copied()).collect();
    let inputs = Tensor::from_vec(values, (views.len(), c, h, w), &Device::Cpu)?;
    let State { params, buffers } = &model.state;
    let Forward { output, features, .. } = model.network.forward(params, buffers, &inputs, Mode::evaluate())?;
    let (input, features) = (inputs.narrow(0, 0, 1)?, features.narrow(0, 0, 1)?.detach());
    Ok(Seen { input, features, logits: output.mean_keepdim(0)?.detach() })
}

/// What is said about an image.
struct Answer {
    image: String,
    /// Of each class.
    probabilities: Vec<f32>,
    /// The likeliest class.
    class: usize,
    /// The share of known images that look at least as foreign; `None` if that is not known.
    familiarity: Option<f64>,
    /// Whether it is refused; `None` if that was not asked for.
    rejected: Option<bool>,
    /// The classes that it may belong to; `None` if that was not asked for.
    set: Option<Vec<usize>>,
    explanation: Option<Explanation>,
}

impl Answer {
    fn new(
        model: &Model,
        Seen { input, features, logits }: Seen,
        file: &Path,
        assessor: Option<&Assessor>,
        explainer: Option<&mut Explainer>,
        options: &Predict,
    ) -> Result<Self> {
        let probabilities: Vec<f32> = log_softmax(&logits)?.exp()?.get(0)?.to_vec1()?;
        let class = likeliest(&probabilities).with_context(|| format!("{} has no classes", model.origin.on))?;
        let telling = assessor.filter(|assessor| assessor.tells_foreign());
        let familiarity = telling.map(|assessor| assessor.familiarity(&features, &logits)).transpose()?;
        let familiarity = familiarity.and_then(|all| all.first().copied());
        let rejected = options.reject.and_then(|rate| familiarity.map(|share| share <= rate + 1e-9));
        let set = match (assessor, options.set) {
            (Some(assessor), Some(share)) => assessor.prediction_sets(&logits, share)?.pop(),
            _ => None,
        };
        let explanation = explainer.map(|explainer| explainer.explain(file, &input, &features, class)).transpose()?;
        Ok(Self { image: path_text(file), probabilities, class, familiarity, rejected, set, explanation })
    }

    /// Classes with their probabilities, the likeliest first.
    fn ranked<'a>(&self, labels: &'a [String]) -> Vec<(&'a String, f32)> {
        let mut ranked: Vec<(&String, f32)> = labels.iter().zip(self.probabilities.iter().copied()).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        ranked
    }

    /// The likeliest class; `None` for an image that is refused.
    fn class<'a>(&self, labels: &'a [String]) -> Option<&'a str> {
        (self.rejected != Some(true)).then(|| labels[self.class].as_str())
    }

    fn set<'a>(&self, labels: &'a [String]) -> Option<Vec<&'a str>> {
        self.set.as_ref().map(|set| set.iter().map(|&class| labels[class].as_str()).collect())
    }

    fn event(&self, labels: &[String]) -> serde_json::Value {
        let ranked = self.ranked(labels);
        let all: Vec<_> = ranked.iter().map(|(name, p)| json!({"class": name, "probability": p})).collect();
        let mut event = json!({
            "event": "prediction", "image": self.image, "class": self.class(labels), "probability": ranked[0].1,
            "classes": all, "familiarity": self.familiarity,
        });
        if let Some(rejected) = self.rejected {
            event["rejected"] = rejected.into();
        }
        if let Some(set) = self.set(labels) {
            event["set"] = set.into();
        }
        if let Some(explanation) = &self.explanation {
            event = with(event, json!(explanation));
        }
        event
    }
}

/// Shows the answers as a table, and what each image resembles below it.
fn show(answers: &[Answer], labels: &[String], options: &Predict, output: &Output) {
    let mut header = vec!["image", "class", "probability"];
    header.extend(options.reject.map(|_| "familiarity"));
    header.extend(options.set.map(|_| "set"));
    let kept = header.len();
    // of an image that is refused, the likeliest class is one of them
    header.push(if options.reject.is_some() { "nearest classes" } else { "next best" });
    let row = |answer: &Answer| {
        let ranked = answer.ranked(labels);
        let first = usize::from(answer.class(labels).is_some());
        let others = ranked.iter().skip(first).take(OTHERS_SHOWN);
        let others: Vec<String> = others.map(|(name, p)| format!("{} {}", one_line(name), percent(*p))).collect();
        let class = answer.class(labels).map_or(NONE.into(), |class| one_line(class).into_owned());
        let probability = if first == 1 { percent(ranked[0].1) } else { String::new() };
        let mut row = vec![answer.image.clone(), class, probability];
        row.extend(options.reject.map(|_| answer.familiarity.map_or(String::new(), |share| percent(share as f32))));
        let set = answer.set(labels).map(|set| set.iter().map(|name| one_line(name)).collect::<Vec<_>>().join(", "));
        row.extend(set.map(|set| if set.is_empty() { "(none)".into() } else { set }));
        row.push(others.join(", "));
        row
    };
    output.table_with_paths(&header, &answers.iter().map(row).collect::<Vec<_>>(), kept, &[0]);
    show_explanations(answers, output);
}

fn percent(share: f32) -> String {
    format!("{:.1}%", share * 100.0)
}

/// Shows what each image resembles, and where its heat map is.
fn show_explanations(answers: &[Answer], output: &Output) {
    let explained: Vec<(&Answer, &Explanation)> =
        answers.iter().filter_map(|answer| Some((answer, answer.explanation.as_ref()?))).collect();
    let heat_map = |why: &Explanation| why.heat_map.clone().unwrap_or_default();
    let resembled = |&(answer, why): &(&Answer, &Explanation)| {
        let row = |(rank, nearest): (usize, &Neighbor)| {
            let (image, map) = match rank {
                0 => (answer.image.clone(), heat_map(why)),
                _ => (String::new(), String::new()),
            };
            let (path, class) = (one_line(&nearest.image).into_owned(), one_line(&nearest.class).into_owned());
            vec![image, path, class, format!("{:.2}", nearest.similarity), map]
        };
        why.nearest.iter().enumerate().map(row).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = explained.iter().flat_map(resembled).collect();
    if !rows.is_empty() {
        output.line("");
        let header = ["image", "most similar labeled images", "class", "similarity", "heat map"];
        output.table_with_paths(&header, &rows, header.len(), &[0, 1, 4]);
    } else if !explained.is_empty() {
        output.line("");
        let rows: Vec<_> = explained.iter().map(|(answer, why)| vec![answer.image.clone(), heat_map(why)]).collect();
        output.table_with_paths(&["image", "heat map"], &rows, 2, &[0, 1]);
    }
    if explained.iter().any(|(_, why)| why.heat_map.is_some()) {
        output.line("\nheat maps: yellow speaks most for the likeliest class, gray least or against it");
    }
}

/// The answers for a CSV.
fn records(answers: &[Answer], labels: &[String], options: &Predict) -> Vec<Vec<String>> {
    let mut header = ["image", "class", "probability"].map(String::from).to_vec();
    header.extend(labels.iter().cloned());
    header.extend(options.reject.map(|_| "familiarity".to_string()));
    header.extend(options.set.map(|_| "set".to_string()));
    let row = |answer: &Answer| {
        let class = answer.class(labels).unwrap_or(NONE).to_string();
        let mut row = vec![answer.image.clone(), class, format!("{:.6}", answer.probabilities[answer.class])];
        row.extend(answer.probabilities.iter().map(|p| format!("{p:.6}")));
        row.extend(options.reject.map(|_| answer.familiarity.map_or(String::new(), |share| format!("{share:.6}"))));
        row.extend(answer.set(labels).map(|set| set.join(";")));
        row
    };
    std::iter::once(header).chain(answers.iter().map(row)).collect()
}

/// Says which images look unlike the labeled ones, if nothing else does.
fn note_unlike(answers: &[Answer], assessor: &Assessor, options: &Predict, output: &Output) {
    /// So few known images look as foreign.
    const RARE: f64 = 0.01;
    /// With fewer labeled images, too many known ones would be named.
    const MOST: f64 = 0.05;
    let rate = RARE.max(assessor.smallest_rate());
    if options.reject.is_some() || rate > MOST {
        return;
    }
    let is_unlike = |answer: &&Answer| answer.familiarity.is_some_and(|share| share <= rate + 1e-9);
    let unlike: Vec<&Answer> = answers.iter().filter(is_unlike).collect();
    if let Some(first) = unlike.first() {
        let (looks, such_as, they) = if unlike.len() == 1 { ("looks", "", "it") } else { ("look", "such as ", "they") };
        output.note(format!(
            "{} of {} {looks} less familiar than {}% of the labeled ones ({such_as}{}); with --reject {}% {they} would be \
             answered \"{NONE}\"",
            unlike.len(),
            counted(answers.len(), "image"),
            (1000.0 * (1.0 - rate) + 1e-6).floor() / 10.0,
            one_line(&first.image),
            100.0 * MOST
        ));
    }
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
        _ => causes(error),
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
    fn the_share_that_is_advised_can_be_promised() {
        assert_eq!(
            out_of_reach("--reject", 1.0 / 97.0, 96),
            "96 labeled images allow no rate below 1.04%: use --reject 1.1%, or label more images"
        );
        assert!(out_of_reach("--set", 1.0 / 97.0, 96).contains("no share above 98.96%: use --set 98.9%"));
        assert!(out_of_reach("--reject", 0.05, 19).contains("below 5%: use --reject 5%"));
        for images in 1..3000 {
            let smallest = 1.0 / (images as f64 + 1.0);
            for (option, of) in [("--reject", 0.0), ("--set", 1.0)] {
                let text = out_of_reach(option, smallest, images);
                for (before, after) in [(option, ","), (" below", ":"), (" above", ":")] {
                    let Some((_, rest)) = text.split_once(&format!("{before} ")) else { continue };
                    let percent = rest.split(after).next().unwrap().trim_end_matches('%');
                    let share = percent.parse::<f64>().unwrap() / 100.0;
                    assert!(f64::abs(of - share) >= smallest - 1e-9, "{text}");
                }
            }
        }
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
