//! What a training starts from: images in two parts, and a network.

use super::parts::{Parts, parts};
use crate::args::{ImageOptions, Usage, WeightOptions};
use crate::data;
use crate::output::Output;
use crate::pretrained::Pretrained;
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use taper_data::{Dataset, Transform, View};
use taper_learn::{Model, TaskNorm, Trained};
use taper_models::{Architecture, Head, Network, State};

/// Where a training's images and network come from.
pub(crate) struct Source<'a> {
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) weights: Option<&'a Path>,
    /// The one that the weights fit unless said.
    pub(crate) backbone: Option<Architecture>,
    /// Linear unless said.
    pub(crate) head: Option<&'a str>,
    pub(crate) image: &'a ImageOptions,
    /// Share of the images to validate on, where the data set has no such part.
    pub(crate) validation: f64,
    pub(crate) seed: u64,
}

/// What a training starts from.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) view: Arc<View>,
    pub(crate) parts: Parts,
    /// With a fresh head for the classes.
    pub(crate) network: Network,
    pub(crate) state: State,
    /// Do the network's makers say how it sees photographs, and are these some?
    pub(crate) as_published: bool,
    architecture: Architecture,
}

impl Setting {
    pub(crate) fn new(source: &Source, output: &Output) -> Result<Self> {
        let seed = source.seed;
        let dataset = source.dataset.clone();
        data::tell(dataset.as_ref(), output)?;
        let parts = parts(dataset.as_ref(), source.validation, seed, output)?;
        let said = WeightOptions { arch: source.backbone, classes: None };
        let pretrained = source.weights.map(|path| Pretrained::read(path, &said)).transpose()?;
        let architecture = match &pretrained {
            Some(pretrained) => pretrained.architecture,
            None => source.backbone.unwrap_or(Architecture::Conv4(64)),
        };
        let look = data::look(dataset.as_ref())?;
        let channels = if pretrained.is_some() { 3 } else { look.channels };
        // photographs as the network saw them in its training; drawings as drawings are prepared
        let published = match &pretrained {
            Some(pretrained) if look.channels == 3 && source.image.transform.is_none() => {
                pretrained.transform(source.image.image_size)?
            }
            _ => None,
        };
        let as_published = published.is_some();
        let transform = match published {
            Some(transform) => transform,
            None => data::transform(source.image, architecture, look, channels)?,
        };
        let view = data::view(dataset.clone(), transform)?;
        let network = Network::new(architecture.backbone(view.shape())?, head(source.head, dataset.classes().len())?);
        let state = match pretrained {
            Some(pretrained) => pretrained.start(&network, seed)?,
            None => network.init(seed)?,
        };
        Ok(Self { view, parts, network, state, as_published, architecture })
    }

    /// The same with the images through another transform.
    pub(crate) fn through(&self, transform: Transform) -> Result<Self> {
        let view = data::view(self.view.dataset().clone(), transform)?;
        let network = Network::new(self.architecture.backbone(view.shape())?, self.network.head());
        Ok(Self { view, network, ..self.clone() })
    }

    /// A trained state put onto the frozen one: that of an upper part, or with a head of its own.
    pub(crate) fn onto(&self, trained: &State) -> State {
        let State { params, buffers } = &self.state;
        State {
            params: params.filter(|name| !self.network.in_head(name)).merged(&trained.params),
            buffers: buffers.merged(&trained.buffers),
        }
    }

    /// The trained network as it is kept.
    pub(crate) fn model(&self, method: &str, network: Network, state: State) -> Model {
        let dataset = self.view.dataset();
        let labels: Vec<String> = dataset.classes().iter().map(|class| class.full_name()).collect();
        Model {
            network,
            state,
            labels: labels.clone(),
            transform: self.view.transform().to_string(),
            trained: Trained {
                method: method.into(),
                on: format!("{} ({} images)", dataset.name(), self.parts.training.images.len()),
                classes: labels,
                settings: BTreeMap::new(),
                norm: TaskNorm::Stored.to_string(),
            },
        }
    }
}

/// The head that the options name, for so many classes.
fn head(text: Option<&str>, outputs: usize) -> Result<Head> {
    let text = text.unwrap_or("linear");
    match text.split_once(':') {
        None if text == "linear" => Ok(Head::Linear { outputs }),
        Some(("mlp", hidden)) => match hidden.parse() {
            Ok(hidden) if hidden > 0 => Ok(Head::Mlp { hidden, outputs }),
            _ => Err(Usage(format!("--head {text}: give the hidden units as a number, such as mlp:1024")).into()),
        },
        _ => Err(Usage(format!("--head {text} is no head, use linear or mlp:1024")).into()),
    }
}
