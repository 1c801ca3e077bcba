//! A data set as a network sees it, and the network.

use super::ProblemOptions;
use crate::{Result, TransferError};
use std::sync::Arc;
use taper_data::{Dataset, Look, Transform, View};
use taper_learn::models::default_transform;
use taper_models::catalog::Pretrained;
use taper_models::{Architecture, HeadPolicy, Network, State};

/// The transform that the publisher of the weights states, for images `side` pixels wide or as published; `None` if
/// nothing is stated.
///
/// # Errors
/// Returns an error if the network does not take images of that size.
pub(crate) fn published_transform(pretrained: &Pretrained, side: Option<usize>) -> Result<Option<Transform>> {
    let steps = pretrained.preparation.as_ref().map(|preparation| preparation.steps(side)).transpose()?;
    Ok(steps.flatten().map(|steps| steps.parse()).transpose()?)
}

/// How images that look like this reach a pretrained network, `side` pixels wide or as wide as it wants: as in its
/// training if that is known, otherwise as such images usually are.
///
/// # Errors
/// Returns an error if the network does not take images of this size.
pub fn input_transform(pretrained: &Pretrained, look: Look, side: Option<usize>) -> Result<Transform> {
    match published_transform(pretrained, side)? {
        Some(published) => Ok(published),
        None => Ok(default_transform(pretrained.architecture, look, pretrained.channels(), side)?),
    }
}

/// A data set through the transform that fits a network, and the network with the state to start from.
pub(crate) struct Prepared {
    pub(crate) view: Arc<View>,
    pub(crate) network: Network,
    pub(crate) state: State,
    pub(crate) architecture: Architecture,
    /// Whether the images are prepared as the publisher of the weights states.
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
        let published = match pretrained.filter(|_| options.transform.is_none()) {
            Some(pretrained) => published_transform(pretrained, options.image_size)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::{STEPS, pretrained};
    use taper_data::{Glyphs, GlyphsSize};

    #[test]
    fn gray_images_are_prepared_as_published_too() {
        let size = GlyphsSize { alphabets: 1, characters: 2, drawings: 2 };
        let drawings: Arc<dyn Dataset> = Arc::new(Glyphs::new(0, size).unwrap());
        let look = Look::of(drawings.as_ref()).unwrap();
        assert_eq!(look.channels, 1);
        let pretrained = pretrained(0);
        assert_eq!(input_transform(&pretrained, look, None).unwrap(), STEPS.parse().unwrap());
        let prepared = Prepared::new(drawings, Some(&pretrained), &ProblemOptions::default()).unwrap();
        assert_eq!(prepared.view.transform(), &STEPS.parse().unwrap());
        assert!(prepared.published_preprocessing);
    }
}
