//! Builds candidates, computing features once for each version of the images.

use super::estimates;
use super::version::{Version, Versions, mirrored};
use super::{Approach, Candidate, CandidateSpec, CropPolicy, HEADS, InputVariant, Scale, Views};
use crate::{Features, Problem, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::{Inputs, View};
use taper_learn::{Observer, evaluation::Labeled};
use taper_models::{Backbone, StageFeatures, ViewMean, center_side};

/// Images whose single views are learned from beside their mean, at most.
const MOST_IN_VIEWS: usize = 3000;

/// Builds candidates, computing features once for each version of the images.
pub(crate) struct CandidateBuilder<'a> {
    pub(super) problem: &'a Problem,
    /// The problem with other versions of the images.
    versions: Versions,
    /// What makes features of stages.
    stages: StageFeatures,
    /// Means of the stages of the training images.
    pub(super) means: BTreeMap<Version, Arc<Features>>,
    /// Seconds that the features of an image take if they are not cached.
    pub(super) seconds_per_image: f64,
}

impl<'a> CandidateBuilder<'a> {
    /// Measures the seconds per image on a few training images.
    pub(crate) fn new(problem: &'a Problem, observer: &mut dyn Observer) -> Result<Self> {
        let versions = Versions::new(problem)?;
        let stages = StageFeatures::new(problem.network().backbone().clone())?;
        let mut builder = Self { problem, versions, stages, means: BTreeMap::new(), seconds_per_image: 0.0 };
        builder.seconds_per_image =
            estimates::seconds_per_image(&builder.means_problem(Version::default())?, observer)?;
        Ok(builder)
    }

    /// Whether the images have such a version: whole ones if the published preprocessing crops them, larger ones if they
    /// have more pixels than it uses and the network can do with them.
    pub(crate) fn has(&self, crop: CropPolicy, scale: Scale) -> bool {
        self.versions.has(crop, scale)
    }

    /// The most views that an image has: a mirrored photograph is mostly one of the same class (where it is not, a head in
    /// one view is better), and some networks take its center too, which is smaller.
    pub(crate) fn views(&self) -> Views {
        match self.problem.has_published_preprocessing() {
            false => Views::One,
            true if self.problem.network().backbone().takes_any_size() && has_center(self.problem) => Views::Four,
            true => Views::Two,
        }
    }

    /// The problem with the images in the variant's crop and at its scale.
    pub(crate) fn problem(&self, variant: InputVariant) -> &Problem {
        self.versions.problem(variant.crop, variant.scale)
    }

    /// The problem as the candidate solves it: with the images in its crop, and the network that makes its features.
    pub(crate) fn problem_of(&self, spec: &CandidateSpec) -> Result<Problem> {
        let problem = self.problem(spec.variant);
        if !matches!(spec.approach, Approach::Staged(_)) {
            return Ok(problem.clone());
        }
        let staged: Arc<dyn Backbone> = Arc::new(StageFeatures::new(problem.network().backbone().clone())?);
        problem.with_backbone(match spec.variant.views {
            Views::One => staged,
            Views::Two => Arc::new(ViewMean::mirrored(staged)),
            Views::Four => Arc::new(ViewMean::with_centers(staged)),
        })
    }

    /// The views that the candidate's features are made from.
    pub(super) fn versions(&self, spec: &CandidateSpec) -> Vec<Version> {
        let InputVariant { crop, scale, views } = spec.variant;
        let version = |center, mirrored| Version { crop, scale, mirrored, center };
        match views {
            Views::One => vec![version(false, false)],
            Views::Two => vec![version(false, false), version(false, true)],
            Views::Four => [false, true].map(|center| [version(center, false), version(center, true)]).concat(),
        }
    }

    /// Builds the candidate.
    pub(crate) fn build(&mut self, spec: &CandidateSpec, observer: &mut dyn Observer) -> Result<Candidate> {
        let variant = spec.variant;
        match &spec.approach {
            Approach::Head(name) | Approach::Staged(name) => {
                let images = self.problem.training().images.clone();
                let means = self.versions(spec).into_iter().map(|version| self.means_of(version, observer));
                let means = means.collect::<Result<Vec<_>>>()?;
                let inputs = self.inputs(spec, &means, &images)?;
                Ok(Candidate::head(name, &HEADS, &self.problem_of(spec)?, &inputs))
            }
            Approach::FineTune(stage) => {
                let problem = self.problem(variant);
                let mirrored = (variant.views != Views::One).then(|| mirrored(problem)).transpose()?;
                let problems = std::iter::once(problem).chain(&mirrored);
                let views: Vec<&View> = problems.map(|problem| problem.view().as_ref()).collect();
                Candidate::fine_tune(stage, problem, &views, &problem.training().images)
            }
        }
    }

    /// The candidate's features of labeled images, as it classifies them; the images themselves for fine-tuning.
    pub(crate) fn scored_inputs(
        &self,
        spec: &CandidateSpec,
        labeled: &Labeled,
        observer: &mut dyn Observer,
    ) -> Result<Arc<dyn Inputs>> {
        if matches!(spec.approach, Approach::FineTune(_)) {
            return Ok(self.problem(spec.variant).view().clone());
        }
        let means = |version| Ok(Arc::new(self.means_problem(version)?.features(&labeled.images, observer)?));
        let means = self.versions(spec).into_iter().map(means).collect::<Result<Vec<_>>>()?;
        Ok(self.inputs(spec, &means, &labeled.images)?.swap_remove(0))
    }

    /// What a head learns from, made of the means of [`CandidateBuilder::versions`]: first the images as it classifies
    /// them.
    fn inputs(&self, spec: &CandidateSpec, means: &[Arc<Features>], images: &[usize]) -> Result<Vec<Arc<dyn Inputs>>> {
        let is_own = matches!(spec.approach, Approach::Head(_));
        let made = |means: &Arc<Features>| match is_own {
            true => means.map(images, |rows| self.stages.means().own_features(rows)),
            false => means.map(images, |rows| self.stages.of_means(rows)),
        };
        let mut features = means.iter().map(made).collect::<taper_learn::Result<Vec<_>>>()?;
        if spec.variant.views != Views::One && !is_own {
            let views =
                features.iter().map(|view| view.inputs(images, None)).collect::<taper_data::Result<Vec<_>>>()?;
            let mean = features[0].map(images, |_| ViewMean::of_views(&views))?;
            // single views add little to many images, and take memory
            features.truncate(if images.len() > MOST_IN_VIEWS { 0 } else { features.len() });
            features.insert(0, mean);
        }
        Ok(features.into_iter().map(|features| Arc::new(features) as Arc<dyn Inputs>).collect())
    }

    /// Means of the stages of the training images in that version.
    fn means_of(&mut self, version: Version, observer: &mut dyn Observer) -> Result<Arc<Features>> {
        if let Some(computed) = self.means.get(&version) {
            return Ok(computed.clone());
        }
        let problem = self.means_problem(version)?;
        let computed = Arc::new(problem.features(&problem.training().images, observer)?);
        self.means.insert(version, computed.clone());
        Ok(computed)
    }

    /// The problem with the images in that version, and a network that makes means of stages.
    pub(super) fn means_problem(&self, version: Version) -> Result<Problem> {
        let problem = self.versions.problem_of(version)?;
        if !problem.network().backbone().takes_any_size() {
            return Ok(problem);
        }
        let means = StageFeatures::new(problem.network().backbone().clone())?.means().clone();
        problem.with_backbone(Arc::new(means))
    }
}

/// Whether the images are large enough for a center.
fn has_center(problem: &Problem) -> bool {
    let (_, height, width) = problem.view().shape();
    center_side(height, width) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FeatureCache;
    use crate::toy::Toy;
    use std::time::Duration;
    use taper_learn::NoopObserver;

    #[test]
    fn cached_images_do_not_enter_the_estimate_of_seconds_per_image() {
        let folder = tempfile::tempdir().unwrap();
        let delay = Duration::from_millis(20);
        // a new problem each time: a view keeps the images that it has decoded
        let problem = || {
            let toy = Toy { delay, ..Toy::new(&[12, 12]) };
            toy.problem(0).with_cache(Some(FeatureCache::new(folder.path())))
        };
        // images are decoded by several threads at once
        let least = delay.as_secs_f64() / (2.0 * taper_ops::threads() as f64);
        let plain = CandidateSpec::staged("rda", InputVariant::default());
        let first = problem();
        let builder = CandidateBuilder::new(&first, &mut NoopObserver).unwrap();
        assert!(builder.seconds_per_image > least);
        assert!(builder.estimate_feature_time(&plain).unwrap() > 7.0 * least, "8 images are not measured");
        CandidateBuilder::new(&first, &mut NoopObserver).unwrap().build(&plain, &mut NoopObserver).unwrap();
        let second = problem();
        let builder = CandidateBuilder::new(&second, &mut NoopObserver).unwrap();
        assert!(builder.seconds_per_image > least, "{} s per image", builder.seconds_per_image);
        assert_eq!(builder.estimate_feature_time(&plain).unwrap(), 0.0);
        let mirrored = CandidateSpec::staged("rda", InputVariant { views: Views::Two, ..InputVariant::default() });
        assert!(builder.estimate_feature_time(&mirrored).unwrap() > 23.0 * least);
    }
}
