//! The built-in learner: for line drawings, trained on synthetic alphabets only
//! (`data/configs/lake-glyphs.toml`, packed by `cargo xtask pack-learner`).

use crate::{CompareError, Result};
use taper_data::{Dataset, Sheet, Step, Transform, sample};
use taper_learn::{
    Context, Method, Model, TypedMethod,
    methods::{ConfiguredMethod, MethodInfo, SettingInfo, SettingValues, Training},
};
use taper_meta::{DENSE_MATCHING, DenseMatching};
use taper_models::Network;

/// The packed learner; `docs/guide/drawings.md` has the commands that make it, and its hash.
static PACKED: &[u8] = include_bytes!("../learner/drawings.safetensors");

/// What is done to a drawing of any size and colors before the learner's own steps.
const FRAMED: &str = "gray ink frame(0.6,105)";

/// What tables and errors call it.
pub const NAME: &str = "built-in learner";

/// Dense matching as the program carries it: already trained.
pub static BUILT_IN: &dyn Method = &BuiltInMethod;

struct BuiltInMethod;

impl Method for BuiltInMethod {
    fn info(&self) -> MethodInfo {
        MethodInfo {
            name: "in-program",
            title: NAME,
            paper: "dense matching, for line drawings",
            training: Training::Nothing,
            ..DenseMatching::INFO
        }
    }

    fn settings(&self) -> taper_learn::Result<Vec<SettingInfo>> {
        DENSE_MATCHING.settings()
    }

    fn resolve(&self, overrides: &SettingValues) -> taper_learn::Result<SettingValues> {
        DENSE_MATCHING.resolve(overrides)
    }

    fn network(&self, network: &Network, ways: usize) -> Network {
        DENSE_MATCHING.network(network, ways)
    }

    fn configure(&self, overrides: &SettingValues, context: Context) -> taper_learn::Result<Box<dyn ConfiguredMethod>> {
        DENSE_MATCHING.configure(overrides, context)
    }
}

/// The built-in learner, with what there is to know about the drawings it is given.
#[derive(Debug)]
pub struct BuiltIn {
    /// The learner.
    pub model: Model,
    /// Drawings that are light on dark, and are inverted.
    pub light_on_dark: usize,
}

/// The built-in learner for the drawings of `support`.
///
/// # Errors
/// Returns an error if an image is blank or is not a line drawing.
pub fn built_in(support: &dyn Dataset) -> Result<BuiltIn> {
    let (mut pictures, mut light_on_dark, mut first) = (0, 0, None);
    let images = support.labels().len();
    for index in 0..images {
        match Sheet::of(&support.image(index)?) {
            Sheet::Blank => return Err(CompareError::Blank { image: support.image_name(index) }),
            Sheet::Picture => {
                pictures += 1;
                first.get_or_insert(index);
            }
            Sheet::LightOnDark => light_on_dark += 1,
            Sheet::DarkOnLight => {}
        }
    }
    match first {
        Some(first) => Err(CompareError::NotDrawings { count: pictures, images, example: support.image_name(first) }),
        None => Ok(BuiltIn { model: drawing_learner()?, light_on_dark }),
    }
}

/// The built-in learner if a sample of a data set's images consists of line drawings.
///
/// # Errors
/// Returns an error if an image can't be read.
pub(crate) fn built_in_if_drawings(dataset: &dyn Dataset) -> Result<Option<Model>> {
    if dataset.vector(0).is_some() {
        return Ok(None);
    }
    for index in sample(dataset) {
        if !matches!(Sheet::of(&dataset.image(index)?), Sheet::DarkOnLight | Sheet::LightOnDark) {
            return Ok(None);
        }
    }
    drawing_learner().map(Some)
}

/// The built-in learner, for line drawings of any size and colors.
///
/// # Errors
/// Returns an error if the packed learner is broken.
pub fn drawing_learner() -> Result<Model> {
    let model = Model::unpack(PACKED)?;
    let transform = framed(&model.transform.parse()?)?.to_string();
    Ok(Model { transform, ..model })
}

/// The learner's transform for drawings of any size and colors.
fn framed(transform: &Transform) -> Result<Transform> {
    let mut steps = FRAMED.parse::<Transform>()?.steps().to_vec();
    steps.extend(transform.steps().iter().filter(|step| !matches!(step, Step::Gray | Step::Invert)).cloned());
    Ok(Transform::new(steps)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packed_learner_is_whole_and_small_and_takes_framed_drawings() {
        let model = drawing_learner().unwrap();
        assert!(PACKED.len() <= 2_500_000, "{} bytes", PACKED.len());
        let transform: Transform = model.transform.parse().unwrap();
        assert_eq!(transform.shape((3, 640, 480)).unwrap(), model.network.backbone().input());
    }
}
