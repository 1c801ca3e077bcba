//! Backbones by name: architectures, and what is made of them for inference.

use crate::{Architecture, Backbone, Result, StageFeatures, StageMeans, SymmetryEnsemble, ViewMean};
use std::sync::Arc;

/// The backbone of that name for images of `(channels, height, width)`: an [`Architecture`]'s, after prefixes that say
/// what is made of it, such as `four-view-staged-efficientnet-lite0`.
///
/// # Errors
///
/// Returns an error if there is none, or it does not take such images.
pub fn named_backbone(name: &str, input: (usize, usize, usize)) -> Result<Arc<dyn Backbone>> {
    let inner = |prefix: &str| name.strip_prefix(prefix).map(|name| named_backbone(name, input)).transpose();
    if let Some(inner) = inner(SymmetryEnsemble::PREFIX)? {
        return Ok(Arc::new(SymmetryEnsemble::new(inner)?));
    }
    if let Some(inner) = inner(ViewMean::TWO)? {
        return Ok(Arc::new(ViewMean::mirrored(inner)));
    }
    if let Some(inner) = inner(ViewMean::FOUR)? {
        return Ok(Arc::new(ViewMean::with_centers(inner)));
    }
    if let Some(inner) = inner(StageFeatures::PREFIX)? {
        return Ok(Arc::new(StageFeatures::new(inner)?));
    }
    if let Some(inner) = inner(StageMeans::PREFIX)? {
        return Ok(Arc::new(StageMeans::new(inner)?));
    }
    name.parse::<Architecture>()?.backbone(input)
}
