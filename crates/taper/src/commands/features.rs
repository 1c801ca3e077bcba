//! `taper features`: the features of a data set as a file.

use crate::args::{Features, UsageError};
use crate::data;
use crate::output::Output;
use crate::report::{result_json, with};
use crate::table::duration;
use anyhow::{Context, Result};
use serde_json::json;
use std::io::Cursor;
use std::path::Path;
use std::time::Instant;
use taper_data::Dataset;
use taper_learn::runs::write_atomically;
use taper_models::catalog::{Pretrained, WeightHints};
use taper_transfer::{ProblemOptions, extract, fill_cache};

pub(crate) fn run(options: &Features, output: &Output) -> Result<()> {
    let start = Instant::now();
    if let Some(out) = &options.out {
        check(out, options.force)?;
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
    let reporter = &mut output.reporter();
    match (&options.out, options.shard) {
        (Some(out), _) => {
            let vectors = extract(dataset, &pretrained, &prepared, cache.as_ref(), reporter)?;
            let mut file = Cursor::new(Vec::new());
            vectors.write_npz(&mut file).with_context(|| out.display().to_string())?;
            write_atomically(out, file.get_ref())?;
            let (count, width, seconds) = (vectors.labels().len(), vectors.width(), start.elapsed().as_secs_f64());
            let (took, path) = (duration(seconds), out.display());
            output.line(format!("{count} vectors of {width} numbers, made in {took}, are in {path}"));
            let facts = json!({"images": count, "width": width, "classes": vectors.classes().len()});
            output.event(&with(result_json("features", seconds, Vec::new(), Some(out)), facts));
        }
        (None, Some(shard)) => {
            let Some(cache) = cache else {
                let problem = "--shard keeps its features in the cache: give another --cache than none";
                return Err(UsageError(problem.into()).into());
            };
            let total = dataset.labels().len();
            shard.check(total, "images")?;
            let count = fill_cache(dataset, &pretrained, &prepared, &cache, |image| shard.owns(image), reporter)?;
            let seconds = start.elapsed().as_secs_f64();
            let took = duration(seconds);
            output.line(format!(
                "the features of part {shard} ({count} of {total} images), made in {took}, are in the cache"
            ));
            let facts = json!({"images": count, "shard": shard.to_string()});
            output.event(&with(result_json("features", seconds, Vec::new(), None), facts));
        }
        (None, None) => return Err(UsageError("give --out a name such as features.npz".into()).into()),
    }
    Ok(())
}

/// Fails if the features can't be written to this path.
fn check(out: &Path, force: bool) -> Result<(), UsageError> {
    let name = out.display();
    if out.extension().is_none_or(|ending| ending != "npz") {
        return Err(UsageError(format!("--out {name}: features are written as .npz: use a name that ends in .npz")));
    }
    if out.exists() && !force {
        return Err(UsageError(format!("{name}: exists already (use --force or another --out)")));
    }
    Ok(())
}
