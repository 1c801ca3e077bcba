//! A pretrained network, and what it makes of images.

use crate::external::view;
use crate::{CompareError, Result};
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Dataset, Inputs, View};
use taper_learn::Observer;
use taper_models::catalog::Pretrained;
use taper_models::{Head, HeadPolicy, Network, State};
use taper_transfer::{Activations, Features, upper_part};

/// A pretrained network with a fresh head for the classes.
pub(crate) struct Frozen {
    pub(crate) name: String,
    pub(crate) view: Arc<View>,
    pub(crate) network: Network,
    pub(crate) state: State,
    /// The uppermost stage that the network can be cut at.
    pub(crate) stage: Option<String>,
}

/// What the frozen network makes of images.
pub(crate) struct Made {
    pub(crate) features: Arc<dyn Inputs>,
    /// What enters the uppermost stage; `None` if the network can't be cut.
    pub(crate) activations: Option<Arc<Activations>>,
}

impl Frozen {
    /// The network with a head for `ways` classes, seeing the images of `dataset` as published or `side` pixels wide.
    ///
    /// # Errors
    /// Returns an error if the weights don't fit the network.
    pub(crate) fn new(
        dataset: &Arc<dyn Dataset>,
        pretrained: &Pretrained,
        ways: usize,
        side: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        let view = view(dataset, pretrained, side)?;
        let network = Network::new(pretrained.architecture.backbone(view.shape())?, Head::Linear { outputs: ways });
        let state = pretrained.state(&network, HeadPolicy::Replace { seed })?;
        let stage = network.backbone().split_points().pop();
        Ok(Self { name: pretrained.name.clone(), view, network, state, stage })
    }

    /// Seconds of a forward pass per image, the image's decoding included.
    pub(crate) fn seconds_per_image(&self) -> Result<f64> {
        const SAMPLE: usize = 16;
        let images: Vec<usize> = taper_data::sample(self.view.dataset().as_ref());
        let mut seconds = f64::INFINITY;
        // the faster of two samples: the first one pays for what happens once
        for sample in images.chunks(SAMPLE.min(images.len().div_ceil(2))).take(2) {
            let start = Instant::now();
            Features::compute(&self.view, sample, &self.network, &self.state, None, |_, _| Ok(()))?;
            seconds = seconds.min(start.elapsed().as_secs_f64() / sample.len() as f64);
        }
        Ok(seconds)
    }

    /// Features and activations of the images `images` of `view`.
    pub(crate) fn make(&self, view: &View, images: &[usize], what: &str, observer: &mut dyn Observer) -> Result<Made> {
        let Self { network, state, .. } = self;
        let Some(stage) = &self.stage else {
            let progress = |done, total| observer.advanced(what, done, total);
            let features = Features::compute(view, images, network, state, None, progress)?;
            return Ok(Made { features: Arc::new(features), activations: None });
        };
        let activations = self.activations(view, images, what, observer)?;
        let (upper, upper_state) = upper_part(network, state, stage)?;
        let features = Features::of_activations(&activations, images, &upper, &upper_state)?;
        Ok(Made { features: Arc::new(features), activations: Some(activations) })
    }

    /// What enters the uppermost stage, of the images `images` of `view`.
    ///
    /// # Errors
    /// Returns an error if the network can't be cut, or an image can't be read.
    pub(crate) fn activations(
        &self,
        view: &View,
        images: &[usize],
        what: &str,
        observer: &mut dyn Observer,
    ) -> Result<Arc<Activations>> {
        let stages = [self.uppermost_stage()?.to_string()];
        let progress = |done, total| observer.advanced(what, done, total);
        let mut made = Activations::compute(view, images, &self.network, &self.state, &stages, progress)?;
        Ok(Arc::new(made.swap_remove(0)))
    }

    /// The uppermost stage that the network can be cut at.
    ///
    /// # Errors
    /// Returns an error if it can't be cut.
    pub(crate) fn uppermost_stage(&self) -> Result<&str> {
        self.stage.as_deref().ok_or_else(|| {
            CompareError::Invalid(format!("{} can't be trained in part: use another network", self.name))
        })
    }

    /// The whole network's state with the entries of a trained one, of an upper part or with another head.
    pub(crate) fn merged(&self, trained: &State) -> State {
        let State { params, buffers } = &self.state;
        State {
            params: params.filter(|name| !self.network.in_head(name)).merged(&trained.params),
            buffers: buffers.merged(&trained.buffers),
        }
    }
}
