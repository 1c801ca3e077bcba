//! Where tasks come from: DATA, or what is mixed in with it.

use crate::args::{Also, MetaTrain, TaskOptions, Usage};
use crate::course::Beside;
use crate::data;
use crate::output::Output;
use anyhow::{Context, Result};
use std::sync::Arc;
use taper_data::{Dataset, EpisodeSampler, Scope, Split, TaskShape, Transform, View};

/// A data set, its classes shared out.
pub(super) struct Source {
    pub(super) view: Arc<View>,
    pub(super) split: Split,
    pub(super) scope: Scope,
    shape: TaskShape,
}

impl Source {
    /// A data set seen through `transform`; all its classes are trained on where there are too few
    /// to keep some, or the user says so.
    ///
    /// Errs when a class has too few images for a task, or no group has enough classes.
    pub(super) fn new(
        options: &MetaTrain,
        tasks: &TaskOptions,
        dataset: Arc<dyn Dataset>,
        transform: Transform,
        output: &Output,
    ) -> Result<Self> {
        let shape = tasks.shape()?;
        let every = 0..dataset.classes().len() as u32;
        let all = || Split { train: every.clone().collect(), validation: Vec::new(), test: Vec::new() };
        let split = match options.train_on_all {
            true => all(),
            false => data::split(dataset.as_ref(), tasks, options.run.common.seed)?.unwrap_or_else(|| {
                let name = dataset.name();
                output.note(format!("{name}: too few classes to keep some for validation: all are trained on"));
                all()
            }),
        };
        let scope = data::scope(tasks.scope, dataset.as_ref());
        Ok(Self { view: data::view(dataset, transform)?, split, scope, shape })
    }

    /// Errs when nothing fills the shape of the tasks.
    pub(super) fn check(&self) -> Result<()> {
        data::check_classes(self.dataset(), &self.shape)?;
        self.tasks(&self.split.train).map(|_| ())
    }

    /// Tasks of the classes that are kept for the end; none where there are none.
    pub(super) fn test(&self) -> Option<EpisodeSampler> {
        self.tasks(&self.split.test).ok()
    }

    /// Tasks of the classes to choose on.
    pub(super) fn validation(&self) -> Option<EpisodeSampler> {
        self.tasks(&self.split.validation).ok()
    }

    pub(super) fn dataset(&self) -> &dyn Dataset {
        self.view.dataset().as_ref()
    }

    fn tasks(&self, classes: &[u32]) -> Result<EpisodeSampler> {
        let dataset = self.dataset();
        EpisodeSampler::new(dataset, classes, self.shape, self.scope).with_context(|| dataset.name().to_string())
    }
}

/// What `--also` mixes in, each with its share of the tasks.
///
/// Errs when a data set can't be read or fills no task, or nothing is left for DATA.
pub(super) fn also(options: &MetaTrain, transform: &Transform, output: &Output) -> Result<Vec<(Source, f64)>> {
    let invented = if options.data.is_some() && options.glyphs.is_some() { options.glyphs_share } else { 0.0 };
    if options.also.iter().map(|also| also.share).sum::<f64>() + invented >= 1.0 {
        return Err(Usage(
            "--also and --glyphs-share leave no task for DATA: give shares that sum to less than 1".into(),
        )
        .into());
    }
    let source = |also: &Also| {
        let dataset = data::dataset(Some(&also.path))?;
        data::tell(dataset.as_ref(), output)?;
        // a published split is DATA's
        let tasks = TaskOptions { split: None, ..options.tasks.clone() };
        let source = Source::new(options, &tasks, dataset, transform.clone(), output)?;
        source.check()?;
        Ok((source, also.share))
    };
    options.also.iter().map(source).collect()
}

/// Everything that is mixed in with DATA, seen through the same transform.
pub(super) fn beside(options: &MetaTrain, view: &View, also: &[(Source, f64)]) -> Result<Vec<Beside>> {
    let mut all = Vec::new();
    if let (Some(_), Some(alphabets)) = (&options.data, options.glyphs) {
        let glyphs = data::invented(alphabets)?;
        let classes: Vec<u32> = (0..glyphs.classes().len() as u32).collect();
        let sampler = EpisodeSampler::new(glyphs.as_ref(), &classes, options.tasks.shape()?, Scope::Group)?;
        let view = data::view(glyphs, view.transform().clone())?;
        // alphabets invented for training meet nobody again: their names would only fill a model's file
        all.push(Beside { view, sampler, share: options.glyphs_share, classes: Vec::new() });
    }
    for (source, share) in also {
        let sampler = source.tasks(&source.split.train)?;
        all.push(Beside { view: source.view.clone(), sampler, share: *share, classes: source.split.train.clone() });
    }
    Ok(all)
}
