//! A classification problem: labeled images in parts, and a network to start from.

mod head_shape;
mod options;
mod parts;
mod prepared;

pub use head_shape::HeadShape;
pub use options::ProblemOptions;

use crate::{FeatureCache, Features, Result, TransferError};
use parts::Parts;
pub(crate) use prepared::Prepared;
pub use prepared::input_transform;
use std::sync::Arc;
use taper_data::{Dataset, Transform, View};
use taper_learn::{
    Event, Model, Observer, TaskNorm,
    evaluation::Labeled,
    models::{CLASSIFIER, Origin},
    provenance::{Provenance, UsedData},
    support::Support,
};
use taper_models::catalog::Pretrained;
use taper_models::{Architecture, Backbone, Network, State};

/// A classification problem: labeled images in parts, and a network with the state to start from.
#[derive(Clone)]
pub struct Problem {
    view: Arc<View>,
    parts: Parts,
    network: Network,
    state: State,
    weights: Option<String>,
    published_preprocessing: bool,
    size_is_given: bool,
    architecture: Architecture,
    seed: u64,
    cache: Option<FeatureCache>,
}

impl Problem {
    /// The problem of classifying the classes of `dataset`, starting from `pretrained` weights with a
    /// fresh head, or from a fresh network.
    ///
    /// Images that are in a validation or test part although the same picture is in an earlier part are
    /// excluded and reported to `observer`.
    ///
    /// # Errors
    /// Returns an error if a class has too few images, if the network does not take such images, or if
    /// the weights don't fit it.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        pretrained: Option<&Pretrained>,
        options: &ProblemOptions,
        observer: &mut dyn Observer,
    ) -> Result<Self> {
        if dataset.classes().len() < 2 {
            return Err(TransferError::SingleClass { dataset: dataset.name().to_string() });
        }
        let parts = Parts::new(dataset.as_ref(), options.validation, options.seed, observer)?;
        let Prepared { view, network, state, architecture, published_preprocessing } =
            Prepared::new(dataset, pretrained, options)?;
        let seed = options.seed;
        let weights = pretrained.map(|pretrained| pretrained.name.clone());
        let size_is_given = options.image_size.is_some();
        let cache = None;
        Ok(Self {
            view,
            parts,
            network,
            state,
            weights,
            published_preprocessing,
            size_is_given,
            architecture,
            seed,
            cache,
        })
    }

    /// The same problem, with the features of its frozen network cached in `cache`; `None` caches nothing.
    pub fn with_cache(self, cache: Option<FeatureCache>) -> Self {
        Self { cache, ..self }
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        self.view.dataset()
    }

    /// The images as the network sees them.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Images to train on.
    pub fn training(&self) -> &Labeled {
        &self.parts.training
    }

    /// Images to validate on: no choice of a search depends on them.
    pub fn validation(&self) -> &Labeled {
        &self.parts.validation
    }

    /// Images to test on; empty if the data set has no test part.
    pub fn test(&self) -> &Labeled {
        &self.parts.test
    }

    /// The network, with a fresh head for the classes.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The state to start from.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The name of the pretrained weights; `None` for a fresh network.
    pub fn weights(&self) -> Option<&str> {
        self.weights.as_deref()
    }

    /// Whether the images are photographs, prepared as the publisher of the weights states.
    pub fn has_published_preprocessing(&self) -> bool {
        self.published_preprocessing
    }

    /// Whether the size of the images was asked for, rather than taken from the preprocessing.
    pub fn has_given_size(&self) -> bool {
        self.size_is_given
    }

    /// The seed of every random choice.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Full names of the classes, in the order of the labels.
    pub fn class_names(&self) -> Vec<String> {
        self.dataset().classes().iter().map(|class| class.full_name()).collect()
    }

    /// The same problem with the images through another transform.
    pub(crate) fn through(&self, transform: Transform) -> Result<Self> {
        let view = Arc::new(View::new(self.dataset().clone(), transform)?);
        let network = Network::new(self.architecture.backbone(view.shape())?, self.network.head());
        Ok(Self { view, network, ..self.clone() })
    }

    /// The same problem with another backbone that has the same parameters, and a fresh head for its features.
    pub(crate) fn with_backbone(&self, backbone: Arc<dyn Backbone>) -> Result<Self> {
        let network = Network::new(backbone, self.network.head());
        let state = network.replace_head(&self.state, self.seed)?;
        Ok(Self { network, state, ..self.clone() })
    }

    /// Features of `images` by the frozen network.
    pub(crate) fn features(&self, images: &[usize], observer: &mut dyn Observer) -> Result<Features> {
        let progress = |done, total| observer.advanced("features", done, total);
        let Self { view, network, state, cache, .. } = self;
        let features = Features::compute(view, images, network, state, cache.as_ref(), progress)?;
        if let Some(warning) = features.warning() {
            observer.on(Event::Warning(warning.to_string()))?;
        }
        Ok(features)
    }

    /// How many of `images` have no features in the cache.
    pub(crate) fn missing_features(&self, images: &[usize]) -> Result<usize> {
        match &self.cache {
            Some(cache) => Ok(Features::missing(&self.view, images, &self.network, &self.state, cache)?),
            None => Ok(images.len()),
        }
    }

    /// The initial state with its entries replaced by those of `trained`, which may belong to an upper part
    /// or have another head.
    pub(crate) fn merged(&self, trained: &State) -> State {
        let State { params, buffers } = &self.state;
        State {
            params: params.filter(|name| !self.network.in_head(name)).merged(&trained.params),
            buffers: buffers.merged(&trained.buffers),
        }
    }

    /// The trained classifier, as it is saved; `provenance` has the images that it was validated or chosen on, `support`
    /// what it keeps of those that it was trained on.
    pub(crate) fn model(
        &self,
        network: Network,
        state: State,
        provenance: Provenance,
        support: Option<Support>,
    ) -> Result<Model> {
        let (dataset, labels) = (self.dataset(), self.class_names());
        let pretraining = self.weights.iter().map(|name| UsedData::unrecorded(name, &[]));
        let training = self.learned_from()?;
        Ok(Model {
            network,
            state,
            labels: labels.clone(),
            transform: self.view.transform().to_string(),
            origin: Origin {
                method: CLASSIFIER.into(),
                on: format!("{} ({} images)", dataset.name(), self.training().images.len()),
                classes: labels,
                settings: taper_learn::methods::SettingValues::new(),
                norm: TaskNorm::Stored.to_string(),
                revised: false,
            },
            provenance: Provenance { trained_on: pretraining.chain([training]).collect(), ..provenance },
            support,
        })
    }

    /// A record of the training images, with the copies of their pictures.
    pub(crate) fn learned_from(&self) -> Result<UsedData> {
        self.used(&[&self.training().images[..], &self.parts.copies].concat())
    }

    /// A record of images of the data set.
    pub(crate) fn used(&self, images: &[usize]) -> Result<UsedData> {
        Ok(UsedData::of_images(self.dataset().as_ref(), images)?)
    }
}

impl std::fmt::Debug for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Problem")
            .field("dataset", &self.dataset().name())
            .field("network", &self.network.backbone().name())
            .field("transform", &self.view.transform().to_string())
            .finish_non_exhaustive()
    }
}
