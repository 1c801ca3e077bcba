//! A data set as a network sees it, and the network.

use super::ProblemOptions;
use crate::{Result, TransferError};
use std::sync::Arc;
use taper_data::{Dataset, Look, View};
use taper_learn::models::default_transform;
use taper_models::catalog::Pretrained;
use taper_models::{Architecture, HeadPolicy, Network, State};

/// A data set through the transform that fits a network, and the network with the state to start from.
pub(crate) struct Prepared {
    pub(crate) view: Arc<View>,
    pub(crate) network: Network,
    pub(crate) state: State,
    pub(crate) architecture: Architecture,
    /// Whether the images are photographs, prepared as the publisher of the weights states.
    pub(crate) published_preprocessing: bool,
}

impl Prepared {
    /// The images of `dataset` for the network of `pretrained` with a fresh head, or for a fresh network.
    pub(crate) fn new(
        dataset: Arc<dyn Dataset>,
        pretrained: Option<&Pretrained>,
        options: &ProblemOptions,
    ) -> Result<Self> {
        let vectors = dataset.vector(0).is_some();
        if let (true, Some(Pretrained { name, .. })) = (vectors, pretrained) {
            let problem = format!("{}: holds vectors, and {name} takes images: use no weights", dataset.name());
            return Err(TransferError::Invalid(problem));
        }
        let architecture = match (pretrained, options.backbone) {
            (Some(Pretrained { name, architecture, .. }), Some(asked)) if *architecture != asked => {
                return Err(TransferError::Invalid(format!("{name}: is of {architecture}, not of {asked}")));
            }
            (Some(pretrained), _) => pretrained.architecture,
            (None, asked) => asked.unwrap_or(if vectors { Architecture::Adapter(64) } else { Architecture::Conv4(64) }),
        };
        let look = Look::of(dataset.as_ref())?;
        let channels = pretrained.map_or(look.channels, Pretrained::channels);
        // photographs are prepared as for the pretraining, drawings as drawings are
        let preparation = pretrained.and_then(|pretrained| pretrained.preparation.as_ref());
        let published = match preparation.filter(|_| look.channels == 3 && options.transform.is_none()) {
            Some(preparation) => preparation.steps(options.image_size)?.map(|steps| steps.parse()).transpose()?,
            None => None,
        };
        let published_preprocessing = published.is_some();
        let transform = match published.or_else(|| options.transform.clone()) {
            Some(transform) => transform,
            None => default_transform(architecture, look, channels, options.image_size)?,
        };
        let view = Arc::new(View::new(dataset.clone(), transform)?);
        let network = Network::new(architecture.backbone(view.shape())?, options.head.of(dataset.classes().len()));
        let seed = options.seed;
        let state = match pretrained {
            Some(pretrained) => pretrained.state(&network, HeadPolicy::Replace { seed })?,
            None => network.init(seed)?,
        };
        Ok(Self { view, network, state, architecture, published_preprocessing })
    }
}
