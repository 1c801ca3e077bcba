//! The sources of training tasks: classes of one data set, and of additional ones.

use rand::Rng as _;
use std::sync::Arc;
use taper_data::{DataError, Dataset, Episode, EpisodeSampler, Inputs, Scope, TaskShape, View};
use taper_learn::{Draw, LearnError, Result};

/// Classes of a data set to draw tasks from, seen as a network sees their images.
#[derive(Clone)]
pub struct TaskSource {
    /// The data set and its transform.
    pub view: Arc<View>,
    /// The classes.
    pub classes: Vec<u32>,
    /// Where the classes of one task come from.
    pub scope: Scope,
}

impl TaskSource {
    /// Classes of a data set, each task within a group if there are any.
    pub fn new(view: Arc<View>, classes: Vec<u32>) -> Self {
        let scope = Scope::default_for(view.dataset().as_ref());
        Self { view, classes, scope }
    }

    /// The data set.
    pub fn dataset(&self) -> &dyn Dataset {
        self.view.dataset().as_ref()
    }

    /// Draws tasks of this shape.
    ///
    /// # Errors
    /// Returns an error if no group of classes fills the shape.
    pub fn sampler(&self, shape: TaskShape) -> Result<EpisodeSampler> {
        let named = |error| match error {
            DataError::Unfillable { asked, limit, ways } => {
                DataError::Unfillable { asked: format!("{asked} from {}", self.dataset().name()), limit, ways }
            }
            other => other,
        };
        Ok(EpisodeSampler::new(self.dataset(), &self.classes, shape, self.scope).map_err(named)?)
    }
}

/// An additional source.
#[derive(Clone)]
pub struct Auxiliary {
    /// The source.
    pub source: TaskSource,
    /// Its share of all tasks, between 0 and 1.
    pub share: f64,
}

/// Everything that training tasks are drawn from.
#[derive(Clone)]
pub struct TrainingTasks {
    /// Where most tasks come from.
    pub main: TaskSource,
    /// Additional sources.
    pub auxiliary: Vec<Auxiliary>,
    /// Shape of the tasks.
    pub shape: TaskShape,
    samplers: Vec<EpisodeSampler>,
}

impl TrainingTasks {
    /// Tasks of one source and of additional ones.
    ///
    /// # Errors
    /// Returns an error if a source does not fill the shape, or nothing is left for the main one.
    pub fn new(main: TaskSource, auxiliary: Vec<Auxiliary>, shape: TaskShape) -> Result<Self> {
        let total: f64 = auxiliary.iter().map(|auxiliary| auxiliary.share).sum();
        if total >= 1.0 {
            return Err(LearnError::Invalid(format!(
                "the shares of the additional data sets sum to {total}: use shares that sum to less than 1"
            )));
        }
        let sources = std::iter::once(&main).chain(auxiliary.iter().map(|auxiliary| &auxiliary.source));
        let samplers = sources.map(|source| source.sampler(shape)).collect::<Result<_>>()?;
        Ok(Self { main, auxiliary, shape, samplers })
    }

    /// The task of a draw, with the random steps of the transform applied to its images.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn episode(&self, at: Draw) -> Result<Episode> {
        let place = self.source_of(at);
        let source = place.checked_sub(1).map_or(&self.main, |place| &self.auxiliary[place].source);
        let drawn = self.samplers[place].draw(at.seed, at.number);
        Ok(source.view.episode(&drawn, Some(&mut at.rng("transform")))?)
    }

    /// All sources, the main one first.
    pub fn sources(&self) -> impl Iterator<Item = &TaskSource> {
        std::iter::once(&self.main).chain(self.auxiliary.iter().map(|auxiliary| &auxiliary.source))
    }

    /// A description, such as `omniglot (964 classes) and glyphs (800 classes)`.
    pub fn description(&self) -> String {
        let described = |source: &TaskSource| format!("{} ({} classes)", source.dataset().name(), source.classes.len());
        self.sources().map(described).collect::<Vec<_>>().join(" and ")
    }

    /// The place among all sources of the one that a draw's task comes from.
    fn source_of(&self, at: Draw) -> usize {
        let mut left = at.rng("source").random::<f64>();
        let drawn = self.auxiliary.iter().position(|auxiliary| {
            left -= auxiliary.share;
            left < 0.0
        });
        drawn.map_or(0, |place| place + 1)
    }
}
