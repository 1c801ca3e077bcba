//! What a comparison on a data set's own classes asks.

use crate::registry::{METHODS, method};
use crate::{CompareError, Result};
use serde::{Deserialize, Serialize};
use taper_learn::{
    Method,
    methods::{Kind, SettingOverrides, Training},
};
use taper_transfer::{HEADS, LabelCount};

/// A comparison on a data set's own classes: every task holds all of them, with so many labels each. As TOML
/// it is a run's `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct OwnTask {
    /// Labels per class; empty for those that the data allow.
    pub labels: Vec<LabelCount>,
    /// Methods by their names in the registry: heads on frozen features, `fine-tune`, methods that learn from
    /// episodes, `pixels` and `scratch`.
    pub methods: Vec<String>,
    /// Seconds for everything; `None` allows 50 seconds for 100 images, in proportion up to five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Side of the images that the pretrained network sees, in pixels; `None` for its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Settings of methods.
    #[serde(skip_serializing_if = "SettingOverrides::is_empty")]
    pub set: SettingOverrides,
    /// Whether the meta-training data may look different from the data set: drawings for photographs, or the
    /// other way round.
    pub allow_unlike: bool,
    /// Seed of every random choice.
    #[serde(with = "taper_learn::text")]
    pub seed: u64,
}

/// The methods compared on a data set's own classes unless others are asked for.
pub const OWN_TASK_METHODS: [&str; 11] = [
    "pixels",
    "scratch",
    "nearest-mean",
    "ridge",
    "lda",
    "linear-probe",
    "fine-tune",
    "protonet",
    "meta-baseline",
    "r2d2",
    "anil",
];

/// Labels per class unless others are asked for, as far as the data go.
const LABELS: [usize; 5] = [1, 2, 5, 10, 20];

impl Default for OwnTask {
    fn default() -> Self {
        Self {
            labels: Vec::new(),
            methods: OWN_TASK_METHODS.map(String::from).to_vec(),
            budget: None,
            image_size: None,
            set: SettingOverrides::default(),
            allow_unlike: false,
            seed: 0,
        }
    }
}

/// How a method of the registry takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Compares pixels.
    Floor,
    /// Learns everything from the labels.
    Scratch,
    /// A head on frozen features.
    Head,
    /// Fine-tunes the pretrained network.
    FineTune,
    /// Learns from episodes of other data first.
    Meta,
}

impl OwnTask {
    /// # Errors
    /// Returns an error that names the first value that makes no sense.
    pub fn check(&self) -> Result<()> {
        if self.methods.is_empty() {
            return Err(CompareError::Invalid("no methods are asked for: ask for at least one".into()));
        }
        self.parts()?;
        if self.budget.is_some_and(|budget| !(budget.is_finite() && budget > 0.0)) {
            return Err(CompareError::Invalid("the time budget must be above 0 seconds".into()));
        }
        Ok(())
    }

    /// The methods that are asked for, each once, with how they take part.
    pub(super) fn parts(&self) -> Result<Vec<(&'static dyn Method, Part)>> {
        let asked = |found: &&&'static dyn Method| self.methods.iter().any(|name| name == found.info().name);
        self.methods.iter().try_for_each(|name| method(name).and_then(part).map(|_| ()))?;
        METHODS.iter().filter(asked).map(|&method| Ok((method, part(method)?))).collect()
    }

    /// The labels per class to consider: those asked for, or the usual ones.
    pub(super) fn label_counts(&self) -> Vec<LabelCount> {
        match self.labels.as_slice() {
            [] => LABELS.map(LabelCount::Of).into_iter().chain([LabelCount::All]).collect(),
            labels => labels.to_vec(),
        }
    }

    /// Seconds for everything, for so many images of the data set.
    pub(super) fn seconds(&self, images: usize) -> f64 {
        const PER_IMAGE: f64 = 0.5;
        self.budget.unwrap_or_else(|| (PER_IMAGE * images as f64).clamp(50.0, 300.0))
    }
}

/// How a method takes part.
fn part(method: &'static dyn Method) -> Result<Part> {
    let info = method.info();
    let is_head = HEADS.iter().any(|head| head.info().name == info.name);
    match (info.kind, info.training) {
        _ if info.transductive => {}
        (Kind::Floor, _) => return Ok(Part::Floor),
        (Kind::Scratch, _) => return Ok(Part::Scratch),
        _ if is_head => return Ok(Part::Head),
        _ if info.name == "fine-tune" => return Ok(Part::FineTune),
        (Kind::Meta, Training::Episodes { .. }) => return Ok(Part::Meta),
        _ => {}
    }
    Err(CompareError::NotOnOwnTask { method: info.name.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_take_part_by_what_they_are() {
        let parts: Vec<Part> = OwnTask::default().parts().unwrap().into_iter().map(|(_, part)| part).collect();
        assert_eq!(parts.len(), OWN_TASK_METHODS.len());
        let count = |part| parts.iter().filter(|&&one| one == part).count();
        assert_eq!((count(Part::Head), count(Part::FineTune), count(Part::Meta)), (4, 1, 4));
        for name in ["multitask", "pt-map", "in-program"] {
            let asked = OwnTask { methods: vec![name.into()], ..OwnTask::default() };
            assert!(matches!(asked.check(), Err(CompareError::NotOnOwnTask { .. })), "{name}");
        }
    }

    #[test]
    fn a_hundred_images_have_less_than_a_minute_and_a_given_budget_counts() {
        let own = OwnTask::default();
        assert_eq!((own.seconds(100), own.seconds(250), own.seconds(5000)), (50.0, 125.0, 300.0));
        assert_eq!(OwnTask { budget: Some(7.0), ..own }.seconds(5000), 7.0);
    }
}
