//! What a comparison learns from, and what it is tested on.

use crate::args::{Compare, ImageOptions, Usage};
use crate::data;
use crate::output::Output;
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;
use taper_data::{Scope, TaskShape, View};

/// What methods learn from, and what they are tested on.
pub(super) struct Setting {
    pub(super) train: Arc<View>,
    pub(super) train_classes: Vec<u32>,
    pub(super) train_scope: Scope,
    pub(super) test: Arc<View>,
    pub(super) test_classes: Vec<u32>,
    pub(super) test_scope: Scope,
    /// Shape of training and test tasks.
    pub(super) shape: TaskShape,
}

impl Setting {
    /// Training and test classes of DATA, or, where it has too few, training classes of other data.
    pub(super) fn of(options: &Compare, output: &Output) -> Result<Self> {
        let seed = options.run.common.seed;
        let dataset = data::dataset(options.data.as_deref())?;
        data::tell(dataset.as_ref(), output)?;
        let shape = options.tasks.shape()?;
        data::check_classes(dataset.as_ref(), &shape)?;
        let look = data::look(dataset.as_ref())?;
        let transform = data::transform(&options.image, options.backbone, look, look.channels)?;
        let test = data::view(dataset.clone(), transform)?;
        let test_scope = data::scope(options.tasks.scope, dataset.as_ref());
        if let Some(split) = data::split(dataset.as_ref(), &options.tasks, seed)? {
            let (mut train, test_classes) = (split.train, split.test);
            // nothing is chosen on validation classes here, so they are learned from too
            train.extend(split.validation);
            output.line(format!(
                "{}: {} classes to learn from, {} others to be tested on.",
                dataset.name(),
                train.len(),
                test_classes.len()
            ));
            return Ok(Self {
                train: test.clone(),
                train_classes: train,
                train_scope: test_scope,
                test,
                test_classes,
                test_scope,
                shape,
            });
        }
        let classes = dataset.classes().len();
        if classes < shape.ways().low() {
            return Err(Usage(format!(
                "{} has {classes} classes and tasks want {}: use --ways {classes}",
                dataset.name(),
                shape.ways()
            ))
            .into());
        }
        let other = data::dataset(Some(Path::new(&options.meta_data)))?;
        data::tell(other.as_ref(), output)?;
        data::check_classes(other.as_ref(), &shape)?;
        output.line(format!(
            "{} has {classes} classes, too few to split: methods learn from {} and are tested on {}.",
            dataset.name(),
            other.name(),
            dataset.name()
        ));
        let other_look = data::look(other.as_ref())?;
        let (_, side, _) = test.shape();
        let same_size = ImageOptions { image_size: Some(side), transform: options.image.transform.clone() };
        let transform = data::transform(&same_size, options.backbone, other_look, look.channels)?;
        let train_scope = data::scope(None, other.as_ref());
        let train_classes = (0..other.classes().len() as u32).collect();
        let train = data::view(other, transform)?;
        let test_classes = (0..classes as u32).collect();
        Ok(Self { train, train_classes, train_scope, test, test_classes, test_scope: Scope::All, shape })
    }
}
