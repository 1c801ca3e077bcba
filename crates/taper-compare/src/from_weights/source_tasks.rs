//! Tasks of classes of a data set, for meta-training from pretrained weights.

use super::{Frozen, MetaTasks};
use crate::Result;
use std::collections::BTreeSet;
use std::sync::Arc;
use taper_data::{TaskShape, View};
use taper_learn::Observer;
use taper_meta::training::TaskSource;

impl Frozen {
    /// Tasks of a source as activations below the stage that is trained.
    pub(crate) fn tasks(
        &self,
        source: &TaskSource,
        shape: TaskShape,
        seed: u64,
        observer: &mut dyn Observer,
    ) -> Result<MetaTasks> {
        let sampler = source.sampler(shape)?;
        let classes: BTreeSet<u32> = source.classes.iter().copied().collect();
        let labels = source.dataset().labels();
        let images: Vec<usize> = (0..labels.len()).filter(|&image| classes.contains(&labels[image])).collect();
        let view = View::new(source.view.dataset().clone(), self.view.transform().clone())?;
        let activations = self.activations(&view, &images, "features to meta-learn from", observer)?;
        let name = format!("{} ({} classes)", source.dataset().name(), source.classes.len());
        let ways = shape.ways().high();
        Ok(MetaTasks { activations, ways, name, draw: Arc::new(move |_, number| sampler.draw(seed, number)) })
    }
}
