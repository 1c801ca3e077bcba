//! The learner in the program: for line drawings, trained on invented alphabets alone
//! (`data/configs/lake-glyphs.toml`, packed by `cargo xtask pack-learner`).

use crate::output::Output;
use anyhow::{Result, bail};
use std::path::Path;
use taper_data::{Dataset, Sheet, Step, Transform, images_by_class};
use taper_learn::{Method, Model, Training};
use taper_meta::DENSE_MATCHING;

/// The packed learner; `docs/guide/drawings.md` has the commands that make it, and its hash.
static PACKED: &[u8] = include_bytes!("../learner/drawings.safetensors");

/// What is done to a drawing of any size and colors before the learner's own steps.
const FRAMED: &str = "gray ink frame(0.6,105)";

/// What tables and errors call it.
pub(crate) const NAME: &str = "the learner in the program";

/// Images that tell whether a data set's are line drawings.
const LOOKED_AT: usize = 20;

/// Dense matching as the program carries it: trained already.
pub(crate) const IN_PROGRAM: Method = Method {
    name: "in-program",
    title: NAME,
    paper: "dense matching, for line drawings",
    training: Training::Nothing,
    ..DENSE_MATCHING
};

/// The learner, for drawings like those of `support`.
///
/// Errs when they are no line drawings, or one is blank.
pub(crate) fn learner(support: &dyn Dataset, output: &Output) -> Result<Model> {
    let (mut pictures, mut light, mut first) = (0, 0, None);
    let images = support.labels().len();
    for index in 0..images {
        match Sheet::of(&support.image(index)?) {
            Sheet::Blank => bail!("{}: shows nothing, draw something or leave it out", support.image_name(index)),
            Sheet::Picture => {
                pictures += 1;
                first.get_or_insert(index);
            }
            Sheet::LightOnDark => light += 1,
            Sheet::DarkOnLight => {}
        }
    }
    if let Some(first) = first {
        bail!(
            "{pictures} of {images} images are no line drawings, such as {}, and {NAME} knows nothing else: \
             for photographs fetch weights (`cargo xtask fetch-weights resnet18`) and use `taper train`",
            support.image_name(first)
        );
    }
    output.note("no learner is named: the one in the program is used, which knows line drawings");
    if light > 0 {
        output.note(format!("{light} of {images} drawings are light on dark and are inverted"));
    }
    unpacked()
}

/// The learner for the drawings of a data set, where a look at some of them finds nothing else.
pub(crate) fn learner_where_it_fits(dataset: &dyn Dataset) -> Result<Option<Model>> {
    let firsts: Vec<usize> = images_by_class(dataset).iter().filter_map(|images| images.first().copied()).collect();
    for &index in firsts.iter().step_by(firsts.len().div_ceil(LOOKED_AT).max(1)) {
        if !matches!(Sheet::of(&dataset.image(index)?), Sheet::DarkOnLight | Sheet::LightOnDark) {
            return Ok(None);
        }
    }
    unpacked().map(Some)
}

/// A folder of class folders, and nothing that taper or anybody else wrote as a model?
pub(crate) fn is_support(path: &Path) -> bool {
    let written = ["config.json", "config.toml", "model.safetensors", "model"];
    let folders =
        || std::fs::read_dir(path).is_ok_and(|mut all| all.any(|one| one.is_ok_and(|one| one.path().is_dir())));
    path.is_dir() && !written.iter().any(|name| path.join(name).exists()) && folders()
}

fn unpacked() -> Result<Model> {
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
        let model = unpacked().unwrap();
        assert!(PACKED.len() <= 2_500_000, "{} bytes", PACKED.len());
        let transform: Transform = model.transform.parse().unwrap();
        assert_eq!(transform.shape((3, 640, 480)).unwrap(), model.network.backbone().input());
    }
}
