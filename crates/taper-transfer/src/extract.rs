//! The features of a data set as a data set of vectors.

use crate::problem::Prepared;
use crate::{FeatureCache, Features, ProblemOptions, Result};
use std::sync::Arc;
use taper_data::{Dataset, Inputs, Vectors};
use taper_learn::{Event, Observer};
use taper_models::catalog::Pretrained;

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
