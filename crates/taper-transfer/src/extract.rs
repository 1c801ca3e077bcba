//! The features of a data set as a data set of vectors.

use crate::problem::Prepared;
use crate::{FeatureCache, Features, ProblemOptions, Result};
use std::sync::Arc;
use taper_data::{Dataset, Inputs, Vectors};
use taper_learn::{Event, LearnError, Observer};
use taper_models::catalog::Pretrained;

/// Computes the features of those images of `dataset` whose numbers `mine` accepts, by `pretrained` weights, and keeps them in
/// the cache, which processes can fill together; returns how many images there are. Of `options`, the image size and the
/// transform count.
///
/// # Errors
/// Returns an error if the network does not take such images, an image can't be read, or the cache can't keep the
/// features.
pub fn fill_cache(
    dataset: Arc<dyn Dataset>,
    pretrained: &Pretrained,
    options: &ProblemOptions,
    cache: &FeatureCache,
    mine: impl Fn(usize) -> bool,
    observer: &mut dyn Observer,
) -> Result<usize> {
    let Prepared { view, network, state, .. } = Prepared::new(dataset.clone(), Some(pretrained), options)?;
    let images: Vec<usize> = (0..dataset.labels().len()).filter(|&image| mine(image)).collect();
    let progress = |done, total| observer.advanced("features", done, total);
    let features = Features::compute(&view, &images, &network, &state, Some(cache), progress)?;
    if let Some(warning) = features.warning() {
        return Err(LearnError::Invalid(warning.to_string()).into());
    }
    let missing = Features::missing(&view, &images, &network, &state, cache)?;
    if missing > 0 {
        let problem = format!("the cache has no room for {missing} of {} images: clear it", images.len());
        return Err(LearnError::Invalid(problem).into());
    }
    Ok(images.len())
}

/// The features of every image of `dataset` by `pretrained` weights, with labels, names and parts. Of `options`, the
/// image size and the transform count.
///
/// # Errors
/// Returns an error if the network does not take such images, or an image can't be read.
pub fn extract(
    dataset: Arc<dyn Dataset>,
    pretrained: &Pretrained,
    options: &ProblemOptions,
    cache: Option<&FeatureCache>,
    observer: &mut dyn Observer,
) -> Result<Vectors> {
    let Prepared { view, network, state, .. } = Prepared::new(dataset.clone(), Some(pretrained), options)?;
    let images: Vec<usize> = (0..dataset.labels().len()).collect();
    let progress = |done, total| observer.advanced("features", done, total);
    let features = Features::compute(&view, &images, &network, &state, cache, progress)?;
    if let Some(warning) = features.warning() {
        observer.on(Event::Warning(warning.to_string()))?;
    }
    let values = features.inputs(&images, None)?.flatten_all().and_then(|values| values.to_vec1::<f32>());
    Ok(Vectors::new(
        dataset.name(),
        (network.backbone().width(), values.map_err(taper_data::DataError::from)?),
        (dataset.classes().to_vec(), dataset.labels().to_vec()),
        images.iter().map(|&image| dataset.image_name(image)).collect(),
        images.iter().map(|&image| dataset.part(image)).collect(),
    )?)
}
