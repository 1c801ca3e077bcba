//! How images are prepared for a published network.

use crate::{Architecture, ModelError, Result};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// How images are prepared for a network.
#[derive(Debug, Clone, PartialEq)]
pub enum Preparation {
    /// Size, crop and normalization, as the publisher of the weights states them.
    Published(Preprocessing),
    /// The steps as text, as Taper writes them into its own models.
    Steps(String),
}

impl Preparation {
    /// The steps as text, for images of `side` pixels unless `None`; `None` if steps given as text can't be
    /// changed to another side.
    ///
    /// # Errors
    /// Returns an error if the values are invalid.
    pub fn steps(&self, side: Option<usize>) -> Result<Option<String>> {
        match self {
            Self::Published(preprocessing) => preprocessing.steps(side).map(Some),
            Self::Steps(steps) => Ok(side.is_none().then(|| steps.clone())),
        }
    }

    /// Reads timm's `config.json`, or the `preprocessor_config.json` of transformers or Taper, next to a
    /// weight file or in its folder; `None` if neither exists.
    ///
    /// # Errors
    /// Returns an error if one exists but can't be understood.
    pub fn beside(path: &Path) -> Result<Option<Self>> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        for (name, read) in READERS {
            let file = folder.join(name);
            let bad = |problem: String| ModelError::BadFile { path: file.clone(), problem };
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let value: Value = serde_json::from_str(&text).map_err(|error| bad(format!("invalid JSON: {error}")))?;
            if let Some(steps) = value["transform"].as_str() {
                return Ok(Some(Self::Steps(steps.to_string())));
            }
            // a config.json without anything about images is fine
            if name == "config.json" && value["pretrained_cfg"].is_null() {
                continue;
            }
            let understood = read(&value);
            let problem = || bad("does not say how images are prepared: correct or remove it".into());
            return Ok(Some(Self::Published(understood.ok_or_else(problem)?)));
        }
        Ok(None)
    }
}

type Reader = fn(&Value) -> Option<Preprocessing>;

/// Files that say how images are prepared, the most reliable first.
const READERS: [(&str, Reader); 2] =
    [("preprocessor_config.json", of_transformers), ("config.json", |config| of_timm(&config["pretrained_cfg"]))];

/// Size, crop, filter and normalization, as the catalog and timm state them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Preprocessing {
    /// Side of the square that the network takes, in pixels.
    pub size: usize,
    /// That square's share of the resized image's shorter side.
    pub crop: f64,
    /// `bilinear` or `bicubic`.
    pub interpolation: String,
    /// Mean of samples from 0 to 1: red, green, blue.
    pub mean: [f32; 3],
    /// Standard deviation, likewise.
    pub std: [f32; 3],
}

/// ImageNet's mean and deviation, which most networks were trained with.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

impl Preprocessing {
    /// The preprocessing that most networks of this architecture were trained with.
    pub fn default_for(architecture: Architecture) -> Self {
        let size = architecture.default_side();
        let crop = if size >= 224 { 0.875 } else { 1.0 };
        Self { size, crop, interpolation: "bilinear".into(), mean: MEAN, std: STD }
    }

    /// The steps as text (`color resize-short(256,bilinear) center-crop(224) normalize(…)`), for
    /// images of `side` pixels instead of [`Self::size`] unless `None`.
    ///
    /// # Errors
    /// Returns an error if the crop is not between 0.1 and 1.
    pub fn steps(&self, side: Option<usize>) -> Result<String> {
        let side = side.unwrap_or(self.size);
        if !(0.1..=1.0).contains(&self.crop) {
            return Err(ModelError::Invalid(format!("the crop is {} of the image: it must be 0.1 to 1", self.crop)));
        }
        let short = (side as f64 / self.crop).floor() as usize;
        let list = |numbers: [f32; 3]| numbers.map(|number| number.to_string()).join(",");
        let (filter, mean, std) = (&self.interpolation, list(self.mean), list(self.std));
        Ok(format!("color resize-short({short},{filter}) center-crop({side}) normalize(mean={mean},std={std})"))
    }
}

/// timm's `pretrained_cfg`.
fn of_timm(config: &Value) -> Option<Preprocessing> {
    Some(Preprocessing {
        size: config["input_size"].get(1)?.as_u64()? as usize,
        crop: config["crop_pct"].as_f64()?,
        interpolation: config["interpolation"].as_str()?.to_string(),
        mean: three(&config["mean"])?,
        std: three(&config["std"])?,
    })
}

/// transformers' image processor: `size` is the resized shorter side, `crop_size` the side of the crop.
fn of_transformers(config: &Value) -> Option<Preprocessing> {
    let side = |value: &Value| {
        let named = ["shortest_edge", "height"].iter().find_map(|key| value[*key].as_u64());
        Some(named.or(value.as_u64())? as usize)
    };
    let short = side(&config["size"])?;
    let cropped = config["do_center_crop"].as_bool() != Some(false);
    let size = side(&config["crop_size"]).filter(|_| cropped).unwrap_or(short);
    let share = config["crop_pct"].as_f64();
    Some(Preprocessing {
        size,
        crop: share.unwrap_or(size as f64 / short as f64),
        interpolation: if config["resample"].as_u64() == Some(3) { "bicubic" } else { "bilinear" }.into(),
        mean: three(&config["image_mean"])?,
        std: three(&config["image_std"])?,
    })
}

fn three(numbers: &Value) -> Option<[f32; 3]> {
    let numbers: Vec<f32> = numbers.as_array()?.iter().filter_map(|number| Some(number.as_f64()? as f32)).collect();
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(name: &str, text: &str) -> Result<Option<String>> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        let found = Preparation::beside(&folder.path().join("model.safetensors"))?;
        Ok(found.map(|found| found.steps(None)).transpose()?.flatten())
    }

    #[test]
    fn timms_and_transformers_files_are_understood() {
        let timm = r#"{"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"input_size": [3, 224, 224],
            "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#;
        let normalize = "normalize(mean=0.485,0.456,0.406,std=0.229,0.224,0.225)";
        let expected = format!("color resize-short(235,bicubic) center-crop(224) {normalize}");
        assert_eq!(beside("config.json", timm).unwrap(), Some(expected));
        let clip = r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "resample": 3,
            "size": {"shortest_edge": 256}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}"#;
        let expected =
            "color resize-short(256,bicubic) center-crop(224) normalize(mean=0.5,0.5,0.5,std=0.25,0.25,0.25)";
        assert_eq!(beside("preprocessor_config.json", clip).unwrap(), Some(expected.into()));
        let old = r#"{"size": 224, "crop_pct": 0.875, "image_mean": [0, 0, 0], "image_std": [1, 1, 1], "resample": 2}"#;
        let expected = "color resize-short(256,bilinear) center-crop(224) normalize(mean=0,0,0,std=1,1,1)";
        assert_eq!(beside("preprocessor_config.json", old).unwrap(), Some(expected.into()));
    }

    #[test]
    fn steps_that_taper_wrote_are_taken_unchanged() {
        let steps = "gray resize(28x28) invert";
        let written = beside("preprocessor_config.json", &format!(r#"{{"transform": "{steps}"}}"#));
        assert_eq!(written.unwrap(), Some(steps.into()));
    }

    #[test]
    fn a_config_without_images_is_skipped_and_a_senseless_one_is_named() {
        assert_eq!(beside("config.json", r#"{"architectures": ["ResNetForImageClassification"]}"#).unwrap(), None);
        assert_eq!(beside("notes.txt", "").unwrap(), None);
        for (name, text) in [("config.json", r#"{"pretrained_cfg": {}}"#), ("preprocessor_config.json", "{}")] {
            assert!(format!("{:#}", beside(name, text).unwrap_err()).contains(name));
        }
        assert!(format!("{:#}", beside("config.json", "{").unwrap_err()).contains("invalid JSON"));
    }
}
