//! Other images to meta-learn from.

use super::meta_classes::MetaClasses;
use super::options::OwnTask;
use super::report::MetaSummary;
use crate::from_weights::{Frozen, MetaTasks};
use crate::{CompareError, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use taper_data::{Dataset, Look, View, shared_pictures};
use taper_learn::{Observer, provenance::UsedData};

/// Other images to meta-learn from: none of them is in the data set that is compared on.
pub(super) struct MetaSource {
    dataset: Arc<dyn Dataset>,
    classes: MetaClasses,
    shared: usize,
}

/// The share of the time that their features may take.
const SHARE: f64 = 0.2;

impl MetaSource {
    /// The images of `meta` that `dataset` does not hold too, as many as the time allows.
    ///
    /// # Errors
    /// Returns an error if they look different and that was not asked for, or if fewer than two classes are left.
    pub(super) fn new(
        own: &OwnTask,
        dataset: &dyn Dataset,
        meta: &Arc<dyn Dataset>,
        seconds_per_image: f64,
        budget: f64,
    ) -> Result<Self> {
        if !own.allow_unlike {
            check_look(dataset, meta.as_ref())?;
        }
        let known: BTreeSet<usize> = shared_pictures(dataset, meta.as_ref())?.into_iter().collect();
        let held_out = meta.held_out();
        let left_out = |image: usize| known.contains(&image) || held_out.binary_search(&image).is_ok();
        let most = (SHARE * budget / seconds_per_image) as usize;
        let classes = MetaClasses::of(meta.as_ref(), left_out, most, own.seed);
        if classes.classes.len() < 2 {
            let (meta, classes) = (meta.name().to_string(), classes.classes.len());
            return Err(CompareError::TooLittleMetaData { meta, classes, shared: known.len() });
        }
        let shared = known.len();
        Ok(Self { dataset: meta.clone(), classes, shared })
    }

    /// How many images are used.
    pub(super) fn images(&self) -> usize {
        self.classes.classes.iter().map(|(_, images)| images.len()).sum()
    }

    pub(super) fn summary(&self) -> MetaSummary {
        MetaSummary {
            name: self.dataset.name().to_string(),
            classes: self.classes.classes.len(),
            images: self.images(),
            shared: self.shared,
        }
    }

    /// The record of what was used.
    pub(super) fn used(&self) -> Result<UsedData> {
        Ok(UsedData::of_images(self.dataset.as_ref(), &self.classes.images())?)
    }

    /// Episodes to train on, and others to validate on if there are enough classes.
    pub(super) fn tasks(
        &self,
        frozen: &Frozen,
        ways: usize,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<(MetaTasks, Option<MetaTasks>)> {
        let view = View::new(self.dataset.clone(), frozen.view.transform().clone())?;
        let images = self.classes.images();
        let activations = frozen.activations(&view, &images, "features to meta-learn from", observer)?;
        let (training, validation) = self.classes.clone().divided(seed);
        let tasks = |classes: MetaClasses| MetaTasks {
            activations: activations.clone(),
            ways: classes.ways(ways),
            name: self.dataset.name().to_string(),
            draw: Arc::new(move |seed, number| classes.episode(ways, seed, number)),
        };
        Ok((tasks(training), validation.map(tasks)))
    }
}

/// Fails if one data set is of photographs and the other of drawings.
fn check_look(dataset: &dyn Dataset, meta: &dyn Dataset) -> Result<()> {
    let (look, other) = (Look::of(dataset)?, Look::of(meta)?);
    if look.channels == other.channels {
        return Ok(());
    }
    let (looks, wanted) = match other.channels {
        1 => ("images without color, such as drawings,", "other photographs"),
        _ => ("photographs", "other drawings"),
    };
    let (meta, dataset) = (meta.name().to_string(), dataset.name().to_string());
    Err(CompareError::UnlikeMetaData { meta, looks, dataset, wanted })
}
