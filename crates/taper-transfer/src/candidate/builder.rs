//! Builds candidates, computing features once for each input variant.

use super::{Approach, Candidate, CandidateSpec, CropPolicy, HEADS, InputVariant, default_fine_tuning};
use crate::{Features, FineTune, Problem, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Inputs, Step, Transform, View};
use taper_learn::{Adapt, Observer};

/// Builds candidates, computing features once for each input variant.
pub(crate) struct CandidateBuilder<'a> {
    problem: &'a Problem,
    whole: Option<Problem>,
    /// Features of the training images; mirrored copies have a separate entry.
    features: BTreeMap<InputVariant, Arc<dyn Inputs>>,
    /// Seconds that the features of an image take if they are not cached.
    seconds_per_image: f64,
}

impl<'a> CandidateBuilder<'a> {
    /// Measures the seconds per image on a few training images.
    pub(crate) fn new(problem: &'a Problem, observer: &mut dyn Observer) -> Result<Self> {
        let whole = whole(problem)?.map(|transform| problem.through(transform)).transpose()?;
        let seconds_per_image = seconds_per_image(problem, observer)?;
        Ok(Self { problem, whole, features: BTreeMap::new(), seconds_per_image })
    }

    /// Whether the published preprocessing crops the images.
    pub(crate) fn can_see_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Whether a mirrored image is an image of the same class.
    pub(crate) fn can_mirror(&self) -> bool {
        self.problem.has_published_preprocessing()
    }

    /// The problem with the variant's crop policy.
    pub(crate) fn problem(&self, variant: InputVariant) -> &Problem {
        let whole = self.whole.as_ref().filter(|_| variant.crop == CropPolicy::Whole);
        whole.unwrap_or(self.problem)
    }

    /// Estimated seconds for the features of the variant's training images that are not cached.
    pub(crate) fn estimate_feature_time(&self, variant: InputVariant) -> Result<f64> {
        if self.features.contains_key(&variant) {
            return Ok(0.0);
        }
        let problem = self.variant_problem(variant)?;
        let missing = problem.missing_features(&problem.training().images)?;
        let pixels = |problem: &Problem| (problem.view().shape().1 * problem.view().shape().2) as f64;
        Ok(self.seconds_per_image * missing as f64 * pixels(&problem) / pixels(self.problem))
    }

    /// Estimated seconds for the report on the validation images.
    pub(crate) fn estimate_report_time(&self) -> f64 {
        let scored = self.problem.validation().images.len() + self.problem.test().images.len();
        self.seconds_per_image * scored as f64
    }

    /// Estimated seconds that fine-tuning on all training images takes, from one pass over a few.
    pub(crate) fn estimate_fine_tuning_time(&self, stage: &str, variant: InputVariant) -> Result<f64> {
        const SAMPLE: usize = 64;
        let problem = self.problem(variant);
        let training = problem.training();
        let every = training.images.len().div_ceil(SAMPLE);
        let sample = training.select(&(0..training.images.len()).step_by(every).collect::<Vec<_>>());
        let candidate = Candidate::fine_tune(stage, problem, &[problem.view()], &sample.images)?;
        let tune = default_fine_tuning(stage, problem)?;
        let one_pass = FineTune { epochs: 1, ..tune.clone() };
        let start = Instant::now();
        one_pass.adapt(&sample.batch(candidate.plain())?, problem.seed())?;
        let passes = tune.epochs as f64 * training.images.len() as f64 / sample.images.len() as f64;
        Ok(start.elapsed().as_secs_f64() * passes)
    }

    /// Builds the candidate.
    pub(crate) fn build(&mut self, spec: &CandidateSpec, observer: &mut dyn Observer) -> Result<Candidate> {
        let variant = spec.variant;
        match &spec.approach {
            Approach::Head(name) => {
                let mut inputs = vec![self.features_of(InputVariant { mirrored: false, ..variant }, observer)?];
                if variant.mirrored {
                    inputs.push(self.features_of(variant, observer)?);
                }
                Ok(Candidate::head(name, &HEADS, self.problem(variant), &inputs))
            }
            Approach::FineTune(stage) => {
                let problem = self.problem(variant);
                let mirrored = variant.mirrored.then(|| mirrored(problem)).transpose()?;
                let problems = std::iter::once(problem).chain(&mirrored);
                let views: Vec<&View> = problems.map(|problem| problem.view().as_ref()).collect();
                Candidate::fine_tune(stage, problem, &views, &problem.training().images)
            }
        }
    }

    /// Features of the training images in the variant's crop and mirroring.
    fn features_of(&mut self, variant: InputVariant, observer: &mut dyn Observer) -> Result<Arc<dyn Inputs>> {
        if let Some(computed) = self.features.get(&variant) {
            return Ok(computed.clone());
        }
        let problem = self.variant_problem(variant)?;
        let computed: Arc<dyn Inputs> = Arc::new(problem.features(&problem.training().images, observer)?);
        self.features.insert(variant, computed.clone());
        Ok(computed)
    }

    fn variant_problem(&self, variant: InputVariant) -> Result<Problem> {
        let problem = self.problem(variant);
        if variant.mirrored { mirrored(problem) } else { Ok(problem.clone()) }
    }
}

/// Seconds that the features of an image take. Cached images don't count.
fn seconds_per_image(problem: &Problem, observer: &mut dyn Observer) -> Result<f64> {
    const SAMPLE: usize = 8;
    // the faster of two samples: the first one includes one-time costs
    let mut seconds = f64::INFINITY;
    for sample in problem.training().images.chunks(SAMPLE).take(2) {
        let missing = problem.missing_features(sample)?;
        let start = Instant::now();
        let computed = if missing > 0 {
            problem.features(sample, observer)?;
            missing
        } else {
            let (view, network, state) = (problem.view(), problem.network(), problem.state());
            Features::compute(view, sample, network, state, None, |_, _| Ok(()))?;
            sample.len()
        };
        seconds = seconds.min(start.elapsed().as_secs_f64() / computed as f64);
    }
    Ok(seconds)
}

/// The published steps without their center crop: the whole image in its proportions, or as a square if
/// their proportions differ; `None` if the steps crop nothing.
fn whole(problem: &Problem) -> Result<Option<Transform>> {
    let steps = problem.view().transform().steps();
    let Some((place, &Step::ResizeShort { side, filter })) =
        steps.iter().enumerate().find(|(_, step)| matches!(step, Step::ResizeShort { .. }))
    else {
        return Ok(None);
    };
    if !problem.has_published_preprocessing() || !matches!(steps.get(place + 1), Some(Step::CenterCrop(_))) {
        return Ok(None);
    }
    let dataset = problem.dataset();
    let shape = |image: usize| -> Result<(usize, usize)> {
        let resized = Transform::new(vec![Step::ResizeShort { side, filter }])?;
        let (_, height, width) = resized.shape(dataset.size(image)?)?;
        Ok((height, width))
    };
    let (mut height, mut width) = shape(0)?;
    for image in 1..dataset.labels().len() {
        if shape(image)? != (height, width) {
            (height, width) = (side, side);
        }
    }
    let resize = Step::Resize { width, height, filter };
    let kept = steps[..place].iter().cloned().chain([resize]).chain(steps[place + 2..].iter().cloned());
    Ok(Some(Transform::new(kept.collect())?))
}

/// The problem with its images mirrored, before they are normalized.
fn mirrored(problem: &Problem) -> Result<Problem> {
    let mut steps = problem.view().transform().steps().to_vec();
    let place = steps.iter().position(|step| matches!(step, Step::Normalize { .. })).unwrap_or(steps.len());
    steps.insert(place, Step::Flip);
    problem.through(Transform::new(steps)?)
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
        let plain = InputVariant::default();
        let first = problem();
        let builder = CandidateBuilder::new(&first, &mut NoopObserver).unwrap();
        assert!(builder.seconds_per_image > least);
        assert!(builder.estimate_feature_time(plain).unwrap() > 7.0 * least, "8 images are not measured");
        first.features(&first.training().images, &mut NoopObserver).unwrap();
        let second = problem();
        let builder = CandidateBuilder::new(&second, &mut NoopObserver).unwrap();
        assert!(builder.seconds_per_image > least, "{} s per image", builder.seconds_per_image);
        assert_eq!(builder.estimate_feature_time(plain).unwrap(), 0.0);
        let mirrored = InputVariant { mirrored: true, ..plain };
        assert!(builder.estimate_feature_time(mirrored).unwrap() > 23.0 * least);
    }
}
