//! Data sets by path or by name, and notes about them.

use crate::args::{InputPath, LabelOptions, UsageError};
use crate::cluster::data_fingerprint;
use crate::output::Output;
use crate::table::counted;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use taper_data::{Dataset, Glyphs, Split, one_line, open, open_with_labels, path_text};
use taper_learn::ranks::agree;
use taper_learn::{Model, models::CLASSIFIER};
use taper_models::Architecture;
use taper_models::catalog::KnownWeights;
use taper_transfer::FeatureCache;

/// The built-in data set's name.
pub(crate) const GLYPHS: &str = "glyphs";

/// The data set at a path; without one, or by its name, the built-in glyphs.
pub(crate) fn dataset(path: Option<&Path>) -> Result<Arc<dyn Dataset>> {
    match path {
        Some(path) if path != Path::new(GLYPHS) || path.exists() => with_classes(open(path)?, path),
        _ => Ok(Arc::new(Glyphs::standard()?)),
    }
}

fn with_classes(dataset: Arc<dyn Dataset>, path: &Path) -> Result<Arc<dyn Dataset>> {
    if dataset.classes().len() < 2 {
        bail!("{}: has only one class: a classifier needs at least two", path.display());
    }
    Ok(dataset)
}

/// The data set at a path, with the labels of a table if one is given.
pub(crate) fn labeled(path: Option<&Path>, labels: &LabelOptions) -> Result<Arc<dyn Dataset>> {
    match (path, &labels.labels_from) {
        (_, None) => dataset(path),
        (Some(path), Some(table)) => with_classes(open_with_labels(path, table.path(), &labels.columns())?, path),
        (None, Some(_)) => Err(UsageError("--labels-from needs the folder of the images: give it too".into()).into()),
    }
}

/// The data set of an option.
pub(crate) fn given(path: Option<&InputPath>, output: &Output) -> Result<Arc<dyn Dataset>> {
    given_labeled(path, &LabelOptions::default(), output)
}

/// The data set of an option, with the labels of a table if one is given.
pub(crate) fn given_labeled(
    path: Option<&InputPath>,
    labels: &LabelOptions,
    output: &Output,
) -> Result<Arc<dyn Dataset>> {
    let dataset = labeled(path.map(InputPath::path), labels)?;
    if output.ranks().count() > 1 {
        agree(output.ranks(), "data", &data_fingerprint(dataset.as_ref())?)?;
    }
    describe(dataset.as_ref(), output)?;
    Ok(dataset)
}

/// The network for a data set: `asked`, unless that is the command's default and the data are vectors.
pub(crate) fn backbone(dataset: &dyn Dataset, asked: Architecture, default: Architecture) -> Architecture {
    if dataset.vector(0).is_some() && asked == default { Architecture::Adapter(64) } else { asked }
}

/// Prints what a user should know about a data set: its notes, the number of files skipped, and whether
/// its images differ in size.
pub(crate) fn describe(dataset: &dyn Dataset, output: &Output) -> Result<()> {
    for note in dataset.notes() {
        output.note(format!("{}: {note}", one_line(dataset.name())));
    }
    let skipped = dataset.skipped();
    if let Some((path, reason)) = skipped.first() {
        output.note(format!(
            "{}: {} skipped, such as {path} ({reason}); `taper inspect` lists them",
            dataset.name(),
            counted(skipped.len(), "file")
        ));
    }
    let first = dataset.size(0)?;
    for image in 1..dataset.labels().len() {
        if dataset.size(image)? != first {
            output.note(format!("{}: images differ in size: resizing all of them", dataset.name()));
            break;
        }
    }
    Ok(())
}

/// The weights of an option: a file or folder, or fetched ones by the catalog's name.
pub(crate) fn weights(given: &InputPath) -> Result<InputPath> {
    let path = given.path();
    let is_name = path.components().count() == 1 && !path.exists();
    let Some(name) = path.to_str().filter(|_| is_name) else { return Ok(given.clone()) };
    // a file that is not there is better said to be missing than to be no name
    let Ok(known) = KnownWeights::named(name) else { return Ok(given.clone()) };
    match hub_cache().and_then(|hub| known.in_hub_cache(&hub)) {
        Some(file) => Ok(InputPath::new(file)),
        None => bail!(
            "{name} has not been fetched: run `cargo xtask fetch-weights {name}` in Taper's source folder, or give a file: \
             --weights FILE.pth"
        ),
    }
}

/// The default weights for photographs, if they were fetched; what is done about it is said. `meanwhile` is what
/// happens without.
pub(crate) fn default_weights(meanwhile: &str, output: &Output) -> Result<Option<InputPath>> {
    let default = KnownWeights::default_for_photographs()?;
    let found = hub_cache().and_then(|hub| default.in_hub_cache(&hub));
    output.note(match &found {
        Some(file) => format!("no --weights given: using {} from the hub's cache", file.display()),
        None => format!(
            "no --weights given: {meanwhile}; on few photographs pretrained weights do better \
             (`cargo xtask fetch-weights {}` in Taper's source folder fetches some, or give a file: --weights FILE.pth)",
            default.name
        ),
    });
    Ok(found.map(InputPath::new))
}

/// The published split of an option.
pub(crate) fn split(path: Option<&InputPath>, dataset: &dyn Dataset) -> Result<Option<Split>> {
    let Some(path) = path.map(InputPath::path) else { return Ok(None) };
    if !path.is_file() {
        let problem = "is not a file: give --split a text file of lines such as class,train";
        return Err(UsageError(format!("{}: {problem}", path.display())).into());
    }
    Ok(Some(Split::read(path, dataset)?))
}

/// Whether the path is a folder of class folders, and not a model of any kind.
pub(crate) fn is_support_folder(path: &Path) -> bool {
    let written = ["config.json", "config.toml", "model.safetensors", "model"];
    let folders =
        || std::fs::read_dir(path).is_ok_and(|mut all| all.any(|one| one.is_ok_and(|one| one.path().is_dir())));
    path.is_dir() && !written.iter().any(|name| path.join(name).exists()) && folders()
}

/// The cache of features in the folder of an option, or the user's; `None` for "none".
pub(crate) fn feature_cache(folder: Option<&str>) -> Option<FeatureCache> {
    let folder = match folder {
        Some("none") => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None => user_cache(),
    };
    folder.map(|folder| FeatureCache::new(&folder))
}

/// Where the user's feature cache is, by the system's convention; `None` without a home.
pub(crate) fn user_cache() -> Option<PathBuf> {
    use etcetera::BaseStrategy as _;
    Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("taper").join("features"))
}

/// The Hugging Face hub's cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`, or where the hub puts it.
pub(crate) fn hub_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || Some(etcetera::home_dir().ok()?.join(".cache/huggingface"));
    set("HF_HUB_CACHE").or_else(|| Some(set("HF_HOME").or_else(home)?.join("hub")))
}

/// Fails if the model at a path is a learner, which names no classes.
pub(crate) fn check_classifier(model: &Model, path: &Path) -> Result<()> {
    if model.origin.method == CLASSIFIER {
        return Ok(());
    }
    bail!(
        "{}: is a learner ({}), not a classifier: run `taper adapt {} SUPPORT_FOLDER --out DIR` first",
        path_text(path),
        model.origin.method,
        path_text(path)
    )
}
