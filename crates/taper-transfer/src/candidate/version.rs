//! Versions of the images that a network sees.

use super::{CropPolicy, Scale};
use crate::{Problem, Result};
use std::collections::BTreeMap;
use taper_data::{Filter, Step, Transform};
use taper_models::center_side;

/// A version of the images that the network sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) crop: CropPolicy,
    pub(super) scale: Scale,
    pub(super) mirrored: bool,
    /// Whether it is the center of the crop.
    pub(super) center: bool,
}

/// A problem with each version of its images.
pub(super) struct Versions {
    given: Problem,
    others: BTreeMap<(CropPolicy, Scale), Problem>,
}

impl Versions {
    /// Those that the published preprocessing and the images allow.
    pub(super) fn new(given: &Problem) -> Result<Self> {
        let mut others = BTreeMap::new();
        let larger = larger(given)?;
        let transforms = [
            ((CropPolicy::Whole, Scale::AsGiven), whole(given, given.view().transform())?),
            (
                (CropPolicy::Whole, Scale::Larger),
                larger.as_ref().map(|larger| whole(given, larger)).transpose()?.flatten(),
            ),
            ((CropPolicy::AsGiven, Scale::Larger), larger),
        ];
        for (version, transform) in transforms {
            if let Some(transform) = transform {
                others.insert(version, given.through(transform)?);
            }
        }
        Ok(Self { given: given.clone(), others })
    }

    /// Whether there is such a version.
    pub(super) fn has(&self, crop: CropPolicy, scale: Scale) -> bool {
        (crop, scale) == Default::default() || self.others.contains_key(&(crop, scale))
    }

    /// The problem with the images in that crop and at that scale. If there is no such version, the images are as given.
    pub(super) fn problem(&self, crop: CropPolicy, scale: Scale) -> &Problem {
        self.others.get(&(crop, scale)).unwrap_or(&self.given)
    }

    /// The problem with the images in that version.
    pub(super) fn problem_of(&self, version: Version) -> Result<Problem> {
        let mut problem = self.problem(version.crop, version.scale).clone();
        if version.center {
            problem = center(&problem)?;
        }
        if version.mirrored {
            problem = mirrored(&problem)?;
        }
        Ok(problem)
    }
}

/// The published steps at 10/7 of their size, to the nearest multiple of 32 pixels; `None` if most images have fewer
/// pixels, the network takes one size only, or the size was asked for.
fn larger(problem: &Problem) -> Result<Option<Transform>> {
    /// Networks halve images five times.
    const MULTIPLE: usize = 32;
    let (_, height, width) = problem.view().shape();
    let side = (height.min(width) * 10 / 7 + MULTIPLE / 2) / MULTIPLE * MULTIPLE;
    let takes_any = problem.network().backbone().takes_any_size();
    if !problem.has_published_preprocessing() || problem.has_given_size() || !takes_any || side <= height.min(width) {
        return Ok(None);
    }
    let dataset = problem.dataset();
    let mut sides = problem
        .training()
        .images
        .iter()
        .map(|&image| {
            let (_, height, width) = dataset.size(image)?;
            Ok(height.min(width))
        })
        .collect::<Result<Vec<_>>>()?;
    sides.sort_unstable();
    if sides.get(sides.len() / 2).is_none_or(|&median| median < side) {
        return Ok(None);
    }
    let scaled = |length: usize| (length * side).div_ceil(height.min(width));
    let steps = problem.view().transform().steps().iter().map(|step| match step {
        &Step::ResizeShort { side, filter } => Step::ResizeShort { side: scaled(side), filter },
        &Step::Resize { width, height, filter } => {
            Step::Resize { width: scaled(width), height: scaled(height), filter }
        }
        &Step::CenterCrop(side) => Step::CenterCrop(scaled(side)),
        other => other.clone(),
    });
    Ok(Some(Transform::new(steps.collect())?))
}

/// These published steps without their center crop: the whole image in its proportions, or as a square if
/// their proportions differ; `None` if the steps crop nothing.
fn whole(problem: &Problem, published: &Transform) -> Result<Option<Transform>> {
    let steps = published.steps();
    let Some((place, &Step::ResizeShort { side, filter })) =
        steps.iter().enumerate().find(|(_, step)| matches!(step, Step::ResizeShort { .. }))
    else {
        return Ok(None);
    };
    if !problem.has_published_preprocessing() || !matches!(steps.get(place + 1), Some(Step::CenterCrop(_))) {
        return Ok(None);
    }
    let (height, width) = match problem.network().backbone().takes_any_size() {
        true => whole_size(problem, side, filter)?,
        // squeezed into the only size that the network takes
        false => (problem.view().shape().1, problem.view().shape().2),
    };
    let resize = Step::Resize { width, height, filter };
    let kept = steps[..place].iter().cloned().chain([resize]).chain(steps[place + 2..].iter().cloned());
    Ok(Some(Transform::new(kept.collect())?))
}

/// Height and width of the whole training images with this shorter side; of a square if their proportions differ, or
/// one side is more than four times the other.
fn whole_size(problem: &Problem, side: usize, filter: Filter) -> Result<(usize, usize)> {
    const LONGEST: usize = 4;
    let dataset = problem.dataset();
    let resized = Transform::new(vec![Step::ResizeShort { side, filter }])?;
    let mut whole = None;
    for &image in &problem.training().images {
        // a strip may be too long to be resized at all
        let size = resized.shape(dataset.size(image)?).ok().map(|(_, height, width)| (height, width));
        let Some(size) = size.filter(|(height, width)| (*height).max(*width) <= LONGEST * side) else {
            return Ok((side, side));
        };
        if *whole.get_or_insert(size) != size {
            return Ok((side, side));
        }
    }
    Ok(whole.unwrap_or((side, side)))
}

/// The problem with its images mirrored, before they are normalized.
pub(super) fn mirrored(problem: &Problem) -> Result<Problem> {
    before_normalizing(problem, Step::Flip)
}

/// The problem with the centers of its images.
fn center(problem: &Problem) -> Result<Problem> {
    let (_, height, width) = problem.view().shape();
    before_normalizing(problem, Step::CenterCrop(center_side(height, width)))
}

/// The problem with one more step before its images are normalized.
fn before_normalizing(problem: &Problem, step: Step) -> Result<Problem> {
    let mut steps = problem.view().transform().steps().to_vec();
    let place = steps.iter().position(|step| matches!(step, Step::Normalize { .. })).unwrap_or(steps.len());
    steps.insert(place, step);
    problem.through(Transform::new(steps)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;
    use crate::{ProblemOptions, SearchOptions, search};
    use std::sync::Arc;
    use taper_learn::NoopObserver;
    use taper_models::catalog::{Pretrained, WeightHints};

    #[test]
    fn a_network_of_one_size_sees_whole_images_squeezed_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weights.safetensors");
        let network = "dinov2-small".parse::<taper_models::Architecture>().unwrap().backbone((3, 28, 28)).unwrap();
        let state = taper_models::Network::new(network, taper_models::Head::Identity).init(0).unwrap();
        taper_models::write_weights(&file, &state).unwrap();
        let steps = "color resize-short(32) center-crop(28) normalize(mean=0.5,0.5,0.5,std=0.25,0.25,0.25)";
        let said = serde_json::json!({"transform": steps}).to_string();
        std::fs::write(folder.path().join("preprocessor_config.json"), said).unwrap();
        let weights = Pretrained::read(&file, &WeightHints { architecture: None, classes: None }).unwrap();
        let images = Arc::new(Toy { side: 64, ..Toy::new(&[4, 4]) });
        let problem = Problem::new(images, Some(&weights), &ProblemOptions::default(), &mut NoopObserver).unwrap();
        let versions = Versions::new(&problem).unwrap();
        assert!(!versions.has(CropPolicy::AsGiven, Scale::Larger) && !versions.has(CropPolicy::Whole, Scale::Larger));
        let whole = versions.problem(CropPolicy::Whole, Scale::AsGiven);
        assert_eq!(whole.view().shape(), (3, 28, 28));
        assert!(whole.features(&[0], &mut NoopObserver).is_ok());
        let options = SearchOptions { budget: 3600.0, plain: false };
        let fitted = search(&problem, &options, None, &mut NoopObserver).unwrap();
        for name in ["rda on stages, whole image", "two views", "fine-tune from blocks."] {
            assert!(fitted.candidates.iter().any(|tried| tried.name.contains(name)), "{name}: {:?}", fitted.candidates);
        }
    }

    #[test]
    fn larger_versions_are_there_for_images_with_enough_pixels() {
        let versions = |side| Versions::new(&Toy { side, ..Toy::new(&[4, 4]) }.problem(0)).unwrap();
        let small = versions(31);
        assert!(small.has(CropPolicy::Whole, Scale::AsGiven) && !small.has(CropPolicy::AsGiven, Scale::Larger));
        let large = versions(32);
        // published: the shorter side to 18 pixels, then a crop of 16
        for (crop, side) in [(CropPolicy::AsGiven, 32), (CropPolicy::Whole, 36)] {
            let problem = large.problem(crop, Scale::Larger);
            assert_eq!(problem.view().shape(), (3, side, side), "{crop:?}");
            assert!(problem.features(&[0], &mut NoopObserver).is_ok());
        }
    }
}
