//! What a work needs on disk, written before its rounds, so that both programs read the same files.

use super::work::Work;
use anyhow::{Context, Result};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{Rgb, RgbImage};
use rand::Rng as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use taper_learn::{Model, methods::SettingValues, models::Origin, provenance::Provenance};
use taper_models::{Architecture, Head, Network};
use taper_ops::{Rng, map_in_order, rng};

/// Photographs in the folder of `folder-features`.
pub(crate) const PHOTOGRAPHS: usize = 400;

/// Classes that they are spread over, and that the classifier of `cold-start` knows.
const CLASSES: usize = 5;

/// Width and height of a photograph, in pixels.
const PHOTOGRAPH: (u32, u32) = (512, 384);

/// The side of the images that the classifier of `cold-start` takes, in pixels.
const SIDE: usize = 84;

/// The classifier and the image of `cold-start`.
pub(crate) fn cold_start(folder: &Path) -> [PathBuf; 2] {
    ["classifier", "image.jpg"].map(|name| folder.join(name))
}

/// Writes into `folder` what `work` reads; nothing for most works.
pub(crate) fn write(work: Work, folder: &Path) -> Result<()> {
    match work {
        Work::FolderFeatures => {
            for class in 0..CLASSES {
                fs::create_dir(folder.join(format!("class {class}")))?;
            }
            let numbers: Vec<usize> = (0..PHOTOGRAPHS).collect();
            let path = |number: usize| folder.join(format!("class {}", number % CLASSES)).join(format!("{number}.jpg"));
            map_in_order(&numbers, |_, &number| photograph(number, &path(number))).into_iter().collect()
        }
        Work::ColdStart => {
            let [classifier, image] = cold_start(folder);
            photograph(0, &image)?;
            small_classifier(&classifier)
        }
        _ => Ok(()),
    }
}

/// Writes a JPEG of smooth noise, about as large as a photograph of its size.
fn photograph(number: usize, path: &Path) -> Result<()> {
    let chance = &mut rng(0, "photographs", number as u64);
    let (width, height) = PHOTOGRAPH;
    let [coarse, fine] = [32, 4].map(|cell| smooth(chance, cell));
    let mixed = |x, y| {
        let (coarse, fine) = (coarse.get_pixel(x, y).0, fine.get_pixel(x, y).0);
        Rgb(std::array::from_fn(|channel| ((3 * u16::from(coarse[channel]) + u16::from(fine[channel])) / 4) as u8))
    };
    let image = RgbImage::from_fn(width, height, mixed);
    let file = File::create(path).with_context(|| path.display().to_string())?;
    JpegEncoder::new_with_quality(file, 90).encode_image(&image).with_context(|| path.display().to_string())
}

/// Random colors, one per square of `cell` pixels, interpolated to a photograph's size.
fn smooth(chance: &mut Rng, cell: u32) -> RgbImage {
    let (width, height) = PHOTOGRAPH;
    let colors = RgbImage::from_fn(width / cell, height / cell, |_, _| Rgb(std::array::from_fn(|_| chance.random())));
    resize(&colors, width, height, FilterType::CatmullRom)
}

/// Saves a Conv4-64 classifier with random weights.
fn small_classifier(path: &Path) -> Result<()> {
    let backbone = "conv4-64".parse::<Architecture>()?.backbone((3, SIDE, SIDE))?;
    let network = Network::new(backbone, Head::Linear { outputs: CLASSES });
    let origin = Origin {
        method: "classifier".into(),
        on: "noise".into(),
        classes: Vec::new(),
        settings: SettingValues::new(),
        norm: "stored".into(),
        revised: false,
    };
    let model = Model {
        state: network.init(0)?,
        network,
        labels: (0..CLASSES).map(|class| format!("class {class}")).collect(),
        transform: format!("color resize({SIDE}x{SIDE})"),
        origin,
        provenance: Provenance::default(),
        support: None,
    };
    Ok(model.save(path)?)
}
