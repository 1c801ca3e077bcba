//! How long candidates take, and how much memory, before they are built.

use super::version::Version;
use super::{Candidate, CandidateBuilder, CandidateSpec, InputVariant, Views, default_fine_tuning};
use crate::labeled_support::MOST as MOST_KEPT;
use crate::{Activations, Features, FineTune, Init, Problem, Result};
use std::time::Instant;
use taper_learn::{Adapt, Observer};

impl CandidateBuilder<'_> {
    /// Estimated seconds for the features of the candidate's training images that are not cached.
    pub(crate) fn estimate_feature_time(&self, spec: &CandidateSpec) -> Result<f64> {
        let seconds = |version| {
            if self.means.contains_key(&version) {
                return Ok(0.0);
            }
            let problem = self.means_problem(version)?;
            let missing = problem.missing_features(&problem.training().images)?;
            Ok(self.seconds_per_image * missing as f64 * self.pixels(&problem))
        };
        self.versions(spec).into_iter().map(seconds).sum()
    }

    /// Estimated seconds for the report on the validation images in that variant.
    pub(crate) fn estimate_report_time(&self, variant: InputVariant) -> f64 {
        let scored = self.problem.validation().images.len() + self.problem.test().images.len();
        // a center has 9/16 of the pixels
        let passes = match variant.views {
            Views::One => 1.0,
            Views::Two => 2.0,
            Views::Four => 3.125,
        };
        self.seconds_per_image * self.pixels(self.problem(variant)) * passes * scored as f64
    }

    /// How many times as many pixels as in the given preprocessing its images have.
    fn pixels(&self, problem: &Problem) -> f64 {
        let of = |problem: &Problem| (problem.view().shape().1 * problem.view().shape().2) as f64;
        of(problem) / of(self.problem)
    }

    /// Bytes of the activations below `stage` of all training images, in the views that fine-tuning learns from.
    pub(crate) fn estimate_activation_bytes(&self, stage: &str, variant: InputVariant) -> Result<usize> {
        let problem = self.problem(variant);
        let (network, state) = (problem.network(), problem.state());
        let each = Activations::bytes_per_image(problem.view(), network, state, stage)?;
        let copies = if variant.views == Views::One { 1 } else { 2 };
        Ok(each * copies * problem.training().images.len())
    }

    /// Estimated seconds for what a fine-tuned classifier keeps: its features of training images, and its scores of
    /// validation images.
    pub(crate) fn estimate_keeping_time(&self, variant: InputVariant) -> f64 {
        let images = self.problem.training().images.len().min(MOST_KEPT) + self.problem.validation().images.len();
        self.seconds_per_image * self.pixels(self.problem(variant)) * images as f64
    }

    /// Estimated seconds that fine-tuning on all training images takes, from the faster of two passes over a few: as many
    /// as probably fit into `seconds`. `None` if that is too short for any.
    pub(crate) fn estimate_fine_tuning_time(
        &self,
        stage: &str,
        variant: InputVariant,
        seconds: f64,
    ) -> Result<Option<f64>> {
        const FEWEST: usize = 8;
        const MOST: usize = 64;
        /// Two passes forward and back, and one through the part below, in passes forward.
        const PASSES: f64 = 7.0;
        let problem = self.problem(variant);
        let training = problem.training();
        let affordable = seconds / (PASSES * self.seconds_per_image * self.pixels(problem)).max(f64::MIN_POSITIVE);
        if affordable < FEWEST as f64 {
            return Ok(None);
        }
        let every = training.images.len().div_ceil((affordable as usize).min(MOST));
        let sample = training.select(&(0..training.images.len()).step_by(every).collect::<Vec<_>>());
        let start = Instant::now();
        let candidate = Candidate::fine_tune(stage, problem, &[problem.view()], &sample.images)?;
        let below = start.elapsed().as_secs_f64() / sample.images.len() as f64;
        let tune = default_fine_tuning(stage, problem)?;
        let batch = sample.batch(candidate.plain())?;
        let one_pass = FineTune { epochs: 1, init: Init::FreshHead, ..tune.clone() };
        let pass = || -> Result<f64> {
            let start = Instant::now();
            one_pass.adapt(&batch, problem.seed())?;
            Ok(start.elapsed().as_secs_f64() / sample.images.len() as f64)
        };
        let above = pass()?.min(pass()?);
        let copies = if variant.views == Views::One { 1.0 } else { 2.0 };
        Ok(Some((copies * below + above * tune.epochs as f64) * training.images.len() as f64))
    }

    /// Of these images, those whose features of stages were not computed yet, as given.
    pub(crate) fn missing_features(&self, images: &[usize]) -> Result<usize> {
        self.means_problem(Version::default())?.missing_features(images)
    }
}

/// Seconds that the features of an image take. Cached images don't count.
pub(super) fn seconds_per_image(problem: &Problem, observer: &mut dyn Observer) -> Result<f64> {
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
