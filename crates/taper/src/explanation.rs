//! Why a class was predicted: the most similar labeled images, and a heat map beside.

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use taper_data::{Planes, Step, Transform, path_text, read_image};
use taper_learn::{
    Model,
    support::{Similarity, Support, class_activation, matched_places},
};

/// Labeled images named per image.
const NEAREST: usize = 3;

/// Explains predictions into a directory of its own.
pub(crate) struct Explainer<'a> {
    model: &'a Model,
    support: &'a Support,
    similarity: Similarity,
    /// The steps that make what the network sees, without what makes numbers of it.
    visible: Transform,
    folder: NewFolder,
    taken: BTreeSet<String>,
}

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
    /// The most similar labeled images, the most similar first.
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
    /// For a classifier that keeps labeled images. `folder` must be new or empty, so that nothing is overwritten.
    pub(crate) fn new(model: &'a Model, folder: &Path) -> Result<Self> {
        let Some(support) = &model.support else {
            bail!("it keeps no labeled images to compare with: make it again with this version of Taper");
        };
        if folder.exists() && !fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) {
            bail!("{}: is not empty: choose a new directory for explanations", path_text(folder));
        }
        let folder = NewFolder::create(folder).with_context(|| path_text(folder))?;
        let similarity = Similarity::new(&model.network, &model.state, &support.features)?;
        let steps = model.transform.parse::<Transform>()?.steps().to_vec();
        let visible =
            Transform::new(steps.into_iter().filter(|step| !matches!(step, Step::Normalize { .. })).collect())?;
        Ok(Self { model, support, similarity, visible, folder, taken: BTreeSet::new() })
    }

    /// Explains why the image in `file`, with the network's `input (1, c, h, w)` and `features (1, d)`, is of `class`.
    pub(crate) fn explain(
        &mut self,
        file: &Path,
        input: &Tensor,
        features: &Tensor,
        class: usize,
    ) -> Result<Explanation> {
        let Self { model, support, .. } = *self;
        let similar = self.similarity.of(features)?.concat();
        let mut order: Vec<usize> = (0..similar.len()).collect();
        order.sort_by(|&a, &b| similar[b].total_cmp(&similar[a]));
        let neighbor = |&row: &usize| Neighbor {
            image: support.images[row].name.clone(),
            class: model.labels.get(support.labels[row] as usize).cloned().unwrap_or_default(),
            similarity: similar[row],
        };
        let nearest = order.iter().take(NEAREST).map(neighbor).collect();
        // of dense matching, what matches the most similar drawing of the class
        let own = order.iter().find(|&&row| support.labels[row] as usize == class);
        let mut map = class_activation(&model.network, &model.state, input, class)?;
        if let (None, Some(&own)) = (&map, own) {
            let labeled = support.features.narrow(0, own, 1)?;
            map = matched_places(&model.network, &model.state, features, &labeled)?;
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
        let name = std::iter::once(stem.clone()).chain(numbered).find(|name| self.taken.insert(name.clone()));
        let path = self.folder.path.join(format!("{}.png", name.unwrap_or(stem)));
        let mut created = fs::File::create_new(&path).with_context(|| path_text(&path))?;
        created.write_all(png).and_then(|()| created.sync_all()).with_context(|| path_text(&path))?;
        Ok(path_text(&path))
    }
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
