//! `taper features`: the features of a data set as a file.

use crate::args::{Features, UsageError};
use crate::data;
use crate::output::Output;
use crate::report::{result_json, with};
use crate::table::duration;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::Cursor;
use std::time::Instant;
use taper_data::Dataset;
use taper_learn::runs::write_atomically;
use taper_models::catalog::{Pretrained, WeightHints};
use taper_transfer::{ProblemOptions, extract};

pub(crate) fn run(options: &Features, output: &Output) -> Result<()> {
    let start = Instant::now();
    let out = options.out.display();
    if options.out.extension().is_none_or(|ending| ending != "npz") {
        return Err(UsageError(format!("--out {out}: features are written as .npz: give a name that ends so")).into());
    }
    if options.out.exists() && !options.force {
        return Err(UsageError(format!("{out}: exists already (use --force or another --out)")).into());
    }
    let dataset = data::given_labeled(Some(&options.data), &options.labels, output)?;
    let hints = WeightHints { architecture: options.backbone, classes: None };
    let pretrained = Pretrained::read(data::weights(&options.weights)?.path(), &hints)?;
    pretrained.notes.iter().for_each(|note| output.note(note));
    let prepared = ProblemOptions {
        backbone: options.backbone,
        image_size: options.image.image_size,
        transform: options.image.transform.clone(),
        seed: options.common.seed,
        ..ProblemOptions::default()
    };
    let cache = data::feature_cache(options.cache.as_deref());
    let vectors = extract(dataset, &pretrained, &prepared, cache.as_ref(), &mut output.reporter())?;
    let mut file = Cursor::new(Vec::new());
    vectors.write_npz(&mut file).with_context(|| out.to_string())?;
    write_atomically(&options.out, file.get_ref())?;
    let (count, width, seconds) = (vectors.labels().len(), vectors.width(), start.elapsed().as_secs_f64());
    output.line(format!("{count} vectors of {width} numbers, made in {}, are in {out}", duration(seconds)));
    let result = result_json("features", seconds, Vec::new(), Some(&options.out));
    output.event(&with(result, json!({"images": count, "width": width, "classes": vectors.classes().len()})));
    Ok(())
}
