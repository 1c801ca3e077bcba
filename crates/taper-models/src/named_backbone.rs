//! Backbones by name: architectures, and what is made of them for inference.

use crate::{Architecture, Backbone, Result, StageFeatures, StageMeans, SymmetryEnsemble, ViewMean};
use std::sync::Arc;

/// The backbone of that name for images of `(channels, height, width)`: an [`Architecture`]'s, after prefixes that say
/// what is made of it: `turned-`, or `two-view-` or `four-view-` and then `staged-`, or `stage-means-`.
///
/// # Errors
///
/// Returns an error if there is none, or it does not take such images.
pub fn named_backbone(name: &str, input: (usize, usize, usize)) -> Result<Arc<dyn Backbone>> {
    let plain = |name: &str| name.parse::<Architecture>()?.backbone(input);
    if let Some(name) = name.strip_prefix(SymmetryEnsemble::PREFIX) {
        return Ok(Arc::new(SymmetryEnsemble::new(plain(name)?)?));
    }
    if let Some(name) = name.strip_prefix(StageMeans::PREFIX) {
        return Ok(Arc::new(StageMeans::new(plain(name)?)?));
    }
    let staged = |name: &str| -> Result<Arc<dyn Backbone>> {
        match name.strip_prefix(StageFeatures::PREFIX) {
            Some(name) => Ok(Arc::new(StageFeatures::new(plain(name)?)?)),
            None => plain(name),
        }
    };
    if let Some(name) = name.strip_prefix(ViewMean::TWO) {
        return Ok(Arc::new(ViewMean::mirrored(staged(name)?)));
    }
    match name.strip_prefix(ViewMean::FOUR) {
        Some(name) => Ok(Arc::new(ViewMean::with_centers(staged(name)?))),
        None => staged(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_backbones_and_prefixes_do_not_pile_up() {
        for name in ["resnet18", "staged-resnet18", "four-view-staged-resnet18", "two-view-conv4-4", "turned-conv4-4"] {
            assert_eq!(named_backbone(name, (3, 32, 32)).unwrap().name(), name);
        }
        let many = format!("{}resnet18", "staged-".repeat(100_000));
        for name in ["four-view-four-view-resnet18", "turned-turned-conv4-4", "staged-turned-conv4-4", &many] {
            assert!(named_backbone(name, (3, 32, 32)).is_err(), "{}", &name[..30.min(name.len())]);
        }
    }
}
