//! Why a class was predicted: the most similar labeled images, and a heat map beside.

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use taper_data::{Planes, Step, Transform, path_text, read_image};
use taper_learn::{
    LearnError, Model,
    runs::write_atomically,
    support::{Similarity, Support, class_activation, matched_places},
};

/// Labeled images named per image.
const NEAREST: usize = 3;

/// Explains predictions into a directory of its own.
pub(crate) struct Explainer<'a> {
    model: &'a Model,
    /// The labeled images, with the similarity to them; `None` if the classifier keeps none.
    labeled: Option<(&'a Support, Similarity)>,
    /// The steps that make what the network sees, without what makes numbers of it.
    visible: Transform,
    folder: NewFolder,
    /// Names of files, in lower case: some systems don't tell them apart.
    taken: BTreeSet<String>,
}

/// A heat map that could not be written, so that none can be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotWritten(String);

/// What a classifier without labeled images lacks, after its path, and what to do.
pub(crate) const NO_LABELED_IMAGES: &str = "keeps no labeled images (`taper compare` fine-tuned it, an \
    earlier version of Taper made it, or it was imported): train one with `taper train`";

/// A folder for results. If it is new and stays empty, it is removed in the end.
struct NewFolder {
    path: PathBuf,
    is_new: bool,
}

impl NewFolder {
    fn create(path: &Path) -> std::io::Result<Self> {
        let is_new = !path.exists();
        fs::create_dir_all(path)?;
        Ok(Self { path: path.to_path_buf(), is_new })
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if self.is_new {
            // fails if it holds something, as it should
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Why a class was predicted.
#[derive(Serialize)]
pub(crate) struct Explanation {
    /// The most similar labeled images, the most similar first; none if the classifier keeps none.
    pub(crate) nearest: Vec<Neighbor>,
    /// The file with the heat map; `None` if the network has none.
    pub(crate) heat_map: Option<String>,
}

/// A labeled image.
#[derive(Serialize)]
pub(crate) struct Neighbor {
    pub(crate) image: String,
    pub(crate) class: String,
    /// At most 1.
    pub(crate) similarity: f64,
}

impl<'a> Explainer<'a> {
    /// For a classifier that keeps labeled images or has heat maps. `folder` must be new or empty, so that nothing is
    /// overwritten.
    pub(crate) fn new(model: &'a Model, folder: &Path) -> Result<Self> {
        if model.support.is_none() && !has_heat_maps(model)? {
            bail!(NO_LABELED_IMAGES);
        }
        if folder.exists() && !fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
            bail!("{}: is not empty: choose a new directory for explanations", path_text(folder));
        }
        let folder = NewFolder::create(folder).with_context(|| path_text(folder))?;
        let similarity = |support: &'a Support| -> Result<_> {
            Ok((support, Similarity::new(&model.network, &model.state, &support.features)?))
        };
        let labeled = model.support.as_ref().map(similarity).transpose()?;
        let steps = model.transform.parse::<Transform>()?.steps().to_vec();
        let visible =
            Transform::new(steps.into_iter().filter(|step| !matches!(step, Step::Normalize { .. })).collect())?;
        Ok(Self { model, labeled, visible, folder, taken: BTreeSet::new() })
    }

    /// Explains why the image in `file`, with the network's `input (1, c, h, w)` and `features (1, d)`, is of `class`.
    pub(crate) fn explain(
        &mut self,
        file: &Path,
        input: &Tensor,
        features: &Tensor,
        class: usize,
    ) -> Result<Explanation> {
        let model = self.model;
        let mut nearest = Vec::new();
        let mut map = class_activation(&model.network, &model.state, input, class)?;
        if let Some((support, similarity)) = &self.labeled {
            let similar = similarity.of(features)?.concat();
            let mut order: Vec<usize> = (0..similar.len()).collect();
            order.sort_by(|&a, &b| similar[b].total_cmp(&similar[a]));
            let neighbor = |&row: &usize| Neighbor {
                image: support.images[row].name.clone(),
                class: model.labels.get(support.labels[row] as usize).cloned().unwrap_or_default(),
                similarity: similar[row],
            };
            nearest = order.iter().take(NEAREST).map(neighbor).collect();
            // of dense matching, what matches the most similar drawing of the class
            let own = order.iter().find(|&&row| support.labels[row] as usize == class);
            if let (None, Some(&own)) = (&map, own) {
                let drawing = support.features.narrow(0, own, 1)?;
                map = matched_places(&model.network, &model.state, features, &drawing)?;
            }
        }
        let heat_map = match map {
            None => None,
            Some(map) => {
                let picture: Planes = self.visible.apply(&read_image(file)?, None)?;
                Some(self.write(file, &map.over(&picture)?)?)
            }
        };
        Ok(Explanation { nearest, heat_map })
    }

    /// Writes a new file named like the image.
    fn write(&mut self, file: &Path, png: &[u8]) -> Result<String> {
        let stem = file.file_stem().map_or("image".into(), |stem| path_text(Path::new(stem)));
        let numbered = (2..).map(|number| format!("{stem}-{number}"));
        let mut names = std::iter::once(stem.clone()).chain(numbered);
        let name = names.find(|name| self.taken.insert(name.to_lowercase()));
        let path = self.folder.path.join(format!("{}.png", name.unwrap_or(stem)));
        write_atomically(&path, png).map_err(|error| {
            let reason = match &error {
                // what is not the system's own error is about a temporary file
                LearnError::File { source, .. } if source.raw_os_error().is_none() => source.kind().to_string(),
                LearnError::File { source, .. } => source.to_string(),
                other => other.to_string(),
            };
            let folder = path_text(&self.folder.path);
            NotWritten(format!(
                "{folder}: a heat map can't be written ({reason}): free some space or give another folder"
            ))
        })?;
        Ok(path_text(&path))
    }
}

/// Whether the network shows what speaks for a class.
fn has_heat_maps(model: &Model) -> Result<bool> {
    let (c, h, w) = model.network.backbone().input();
    let blank = Tensor::zeros((1, c, h, w), DType::F32, &Device::Cpu)?;
    Ok(class_activation(&model.network, &model.state, &blank, 0)?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_that_stays_empty_is_removed_and_no_other() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("why");
        drop(NewFolder::create(&path).unwrap());
        assert!(!path.exists());
        let folder = NewFolder::create(&path).unwrap();
        fs::write(path.join("map.png"), "pixels").unwrap();
        drop(folder);
        assert!(path.join("map.png").exists());
        drop(NewFolder::create(parent.path()).unwrap());
        assert!(parent.path().exists());
    }
}
