//! `taper predict`: class names with probabilities.

use super::adapt::classifier;
use super::{result_json, with};
use crate::args::Predict;
use crate::output::Output;
use crate::registry::CLASSIFIER;
use crate::table::table;
use crate::{data, drawings, pretrained};
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use taper_data::{Transform, copies, read_image};
use taper_learn::Model;
use taper_ops::log_softmax;

/// How many classes a row of the table names beside the likeliest.
const OTHERS_SHOWN: usize = 2;

pub(crate) fn run(options: &Predict, output: &Output) -> Result<()> {
    let start = Instant::now();
    let model = if drawings::is_support(&options.model) {
        let support = data::dataset(Some(&options.model))?;
        data::tell(support.as_ref(), output)?;
        let learner = drawings::learner(support.as_ref(), output)?;
        classifier(&learner, &support, options.views.views, options.common.seed)?
    } else {
        pretrained::load(&options.model, &options.weights)?
    };
    if model.trained.method != CLASSIFIER {
        bail!(
            "{}: is a learner ({}), not a classifier: run `taper adapt {} SUPPORT_FOLDER --out DIR` first",
            options.model.display(),
            model.trained.method,
            options.model.display()
        );
    }
    let transform: Transform = model.transform.parse()?;
    let files = files(&options.images)?;
    let mut rows = Vec::new();
    let mut failed = 0;
    for file in &files {
        let probabilities = match classify(&model, &transform, file, options) {
            Ok(probabilities) => probabilities,
            Err(error) if files.len() > 1 => {
                output.note(format!("skipped: {error:#}"));
                failed += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut ranked: Vec<(&String, f32)> = model.labels.iter().zip(probabilities).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let all: Vec<_> = ranked.iter().map(|(name, p)| json!({"class": name, "probability": p})).collect();
        output.event(&json!({"event": "prediction", "image": file, "class": ranked[0].0, "probability": ranked[0].1, "classes": all}));
        let likely = |(name, p): &(&String, f32)| format!("{name} {:.1} %", p * 100.0);
        let others: Vec<String> = ranked.iter().skip(1).take(OTHERS_SHOWN).map(likely).collect();
        let (class, p) = ranked[0];
        rows.push(vec![file.display().to_string(), class.clone(), format!("{:.1} %", p * 100.0), others.join(", ")]);
    }
    if rows.is_empty() {
        bail!("none of the {failed} images could be read, see above");
    }
    output.line(table(&["image", "class", "probability", "then"], &rows));
    let result = result_json("predict", start.elapsed().as_secs_f64(), Vec::new(), None);
    output.event(&with(result, json!({"images": rows.len(), "skipped": failed})));
    Ok(())
}

/// The probability of each of the model's classes, from the mean logits over the views.
fn classify(model: &Model, transform: &Transform, file: &Path, options: &Predict) -> Result<Vec<f32>> {
    let about = || file.display().to_string();
    let views = copies(transform, &read_image(file)?, options.views.views, options.common.seed).with_context(about)?;
    let (c, h, w) = views[0].shape();
    let expected = model.network.backbone().input();
    if (c, h, w) != expected {
        bail!("{}: becomes {c}x{h}x{w} by the model's transform, the network takes {expected:?}", file.display());
    }
    let values: Vec<f32> = views.iter().flat_map(|view| view.values.iter().copied()).collect();
    let inputs = Tensor::from_vec(values, (views.len(), c, h, w), &Device::Cpu)?;
    let logits = model.network.logits(&model.state, &inputs)?.mean_keepdim(0)?;
    Ok(log_softmax(&logits)?.exp()?.get(0)?.to_vec1()?)
}

/// The images named, and those inside the folders named.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut inside = Vec::new();
            collect(path, &mut inside)?;
            if inside.is_empty() {
                bail!("{}: holds no image, give images or folders of images", path.display());
            }
            inside.sort();
            files.extend(inside);
        } else if path.exists() {
            files.push(path.clone());
        } else {
            bail!("{}: no such file or folder, check the path", path.display());
        }
    }
    Ok(files)
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if taper_data::is_image_name(&path) {
            into.push(path);
        }
    }
    Ok(())
}
