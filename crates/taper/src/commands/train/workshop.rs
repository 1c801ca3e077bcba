//! Makes the ways that are tried: which head or stages, on images seen how.

use super::candidates::{Candidate, fine_tune, head, probe};
use super::features::features;
use super::setting::Setting;
use crate::output::Output;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Inputs, Step, Transform, View};
use taper_learn::Deadline;

/// How images are seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sight {
    /// The whole image, not its middle?
    pub(super) whole: bool,
    /// Are mirrored copies learned from too?
    pub(super) mirrored: bool,
}

/// What is made of what is seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    /// A head of the registry on frozen features.
    Head(&'static str),
    /// Fine-tuning from a stage on.
    FineTune(String),
}

/// One way to make a classifier.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe {
    pub(super) way: Way,
    pub(super) sight: Sight,
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.way {
            Way::Head(name) => f.write_str(name)?,
            Way::FineTune(stage) => write!(f, "fine-tune from {stage}")?,
        }
        f.write_str(if self.sight.whole { ", whole image" } else { "" })?;
        f.write_str(if self.sight.mirrored { ", mirrored too" } else { "" })
    }
}

/// Where candidates are made; features are computed once for each sight.
pub(super) struct Workshop<'a> {
    cache: Option<&'a str>,
    output: &'a Output,
    seed: u64,
    published: &'a Setting,
    whole: Option<Setting>,
    /// Features of the training images, mirrored ones by themselves.
    features: BTreeMap<Sight, Arc<dyn Inputs>>,
    /// Seconds that the features of an image take where they are not kept.
    pub(super) seconds_per_image: f64,
}

impl<'a> Workshop<'a> {
    /// The seconds an image are measured on a few of them.
    pub(super) fn new(cache: Option<&'a str>, setting: &'a Setting, seed: u64, output: &'a Output) -> Result<Self> {
        const SAMPLE: usize = 8;
        let whole = whole(setting)?.map(|transform| setting.through(transform)).transpose()?;
        // the quicker of two samples: the first is held up by what happens once
        let mut seconds_per_image = f64::INFINITY;
        for sample in setting.parts.training.images.chunks(SAMPLE).take(2) {
            let start = Instant::now();
            features(cache, setting, &setting.view, sample, output)?;
            seconds_per_image = seconds_per_image.min(start.elapsed().as_secs_f64() / sample.len() as f64);
        }
        Ok(Self { cache, output, seed, published: setting, whole, features: BTreeMap::new(), seconds_per_image })
    }

    /// Does the published way of seeing leave parts of the images out?
    pub(super) fn can_see_whole(&self) -> bool {
        self.whole.is_some()
    }

    /// Are the images such that a mirrored one is one of its class?
    pub(super) fn can_mirror(&self) -> bool {
        self.published.as_published
    }

    /// The setting whose images are seen so.
    pub(super) fn setting(&self, sight: Sight) -> &Setting {
        self.whole.as_ref().filter(|_| sight.whole).unwrap_or(self.published)
    }

    /// About how many seconds the features of the training images take that are not there yet.
    pub(super) fn seconds_to_see(&self, sight: Sight) -> f64 {
        let missing = if self.features.contains_key(&sight) { 0 } else { self.published.parts.training.images.len() };
        let pixels = |setting: &Setting| (setting.view.shape().1 * setting.view.shape().2) as f64;
        self.seconds_per_image * missing as f64 * pixels(self.setting(sight)) / pixels(self.published)
    }

    /// About how many seconds the figure on the validation images takes.
    pub(super) fn seconds_to_validate(&self) -> f64 {
        self.seconds_per_image * self.published.parts.validation.images.len() as f64
    }

    /// Makes the candidate.
    pub(super) fn candidate(&mut self, recipe: &Recipe, until: Deadline) -> Result<Candidate> {
        let sight = recipe.sight;
        match &recipe.way {
            Way::Head(name) => {
                let mut inputs = vec![self.see(Sight { mirrored: false, ..sight })?];
                if sight.mirrored {
                    inputs.push(self.see(sight)?);
                }
                let setting = self.setting(sight);
                match *name {
                    "linear-probe" => probe(setting, &inputs, &setting.parts.training, until, self.seed),
                    name => head(name, setting, &inputs),
                }
            }
            Way::FineTune(stage) => self.tune(stage, sight, until),
        }
    }

    fn tune(&self, stage: &str, sight: Sight, until: Deadline) -> Result<Candidate> {
        let setting = self.setting(sight);
        let copies = sight.mirrored.then(|| mirrored(setting)).transpose()?;
        let settings = [Some(setting), copies.as_ref()].into_iter().flatten();
        let views: Vec<&View> = settings.map(|setting| setting.view.as_ref()).collect();
        let (candidate, tune) = fine_tune(stage, setting, &views, &setting.parts.training.images)?;
        let adapt = Box::new(taper_transfer::PartialFineTune { until, ..tune });
        Ok(Candidate { adapt, ..candidate })
    }

    /// Seconds that fine-tuning all training images takes: from one pass over a few of them.
    pub(super) fn seconds_to_tune(&self, stage: &str, sight: Sight) -> Result<f64> {
        const SAMPLE: usize = 64;
        let setting = self.setting(sight);
        let training = &setting.parts.training;
        let every = training.images.len().div_ceil(SAMPLE);
        let sample = training.select(&(0..training.images.len()).step_by(every).collect::<Vec<_>>());
        let (candidate, tune) = fine_tune(stage, setting, &[&setting.view], &sample.images)?;
        let one_pass = taper_transfer::PartialFineTune { epochs: 1, ..tune.clone() };
        let start = Instant::now();
        taper_learn::Adapt::adapt(&one_pass, &sample.batch(candidate.plain())?, self.seed)?;
        let passes = tune.epochs as f64 * training.images.len() as f64 / sample.images.len() as f64;
        Ok(start.elapsed().as_secs_f64() * passes)
    }

    /// Features of the training images.
    fn see(&mut self, sight: Sight) -> Result<Arc<dyn Inputs>> {
        if let Some(seen) = self.features.get(&sight) {
            return Ok(seen.clone());
        }
        let setting = self.setting(sight);
        let copies = sight.mirrored.then(|| mirrored(setting)).transpose()?;
        let view = &copies.as_ref().unwrap_or(setting).view;
        let seen: Arc<dyn Inputs> =
            Arc::new(features(self.cache, setting, view, &setting.parts.training.images, self.output)?);
        self.features.insert(sight, seen.clone());
        Ok(seen)
    }
}

/// The published steps without their cut to the middle: the whole image in its proportions, or in
/// a square where the images have several; none where the steps cut nothing.
fn whole(setting: &Setting) -> Result<Option<Transform>> {
    let steps = setting.view.transform().steps();
    let Some((place, &Step::ResizeShort { side, filter })) =
        steps.iter().enumerate().find(|(_, step)| matches!(step, Step::ResizeShort { .. }))
    else {
        return Ok(None);
    };
    if !setting.as_published || !matches!(steps.get(place + 1), Some(Step::CenterCrop(_))) {
        return Ok(None);
    }
    let dataset = setting.view.dataset();
    let shape = |image: usize| -> Result<(usize, usize)> {
        let resized: Transform = Transform::new(vec![Step::ResizeShort { side, filter }])?;
        let (_, height, width) = resized.shape(dataset.size(image)?)?;
        Ok((height, width))
    };
    let (mut height, mut width) = shape(0).context("looking at the images' proportions")?;
    for image in 1..dataset.labels().len() {
        if shape(image)? != (height, width) {
            (height, width) = (side, side);
        }
    }
    let resize = Step::Resize { width, height, filter };
    let kept = steps[..place].iter().cloned().chain([resize]).chain(steps[place + 2..].iter().cloned());
    Ok(Some(Transform::new(kept.collect())?))
}

/// The setting with its images mirrored, before they are normalized.
fn mirrored(setting: &Setting) -> Result<Setting> {
    let mut steps = setting.view.transform().steps().to_vec();
    let place = steps.iter().position(|step| matches!(step, Step::Normalize { .. })).unwrap_or(steps.len());
    steps.insert(place, Step::Flip);
    setting.through(Transform::new(steps)?)
}
