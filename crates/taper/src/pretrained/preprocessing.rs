//! How a published network saw its images in training.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use taper_data::Transform;
use taper_models::Architecture;

/// What says how images are prepared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Preparation {
    /// Those who published the weights.
    Published(Preprocessing),
    /// taper, which wrote the steps down.
    Written(Transform),
}

impl Preparation {
    /// The steps, for images of `side` where it is not the usual one; none where steps that are
    /// written down are for another.
    ///
    /// Errs when they make no sense.
    pub(super) fn transform(&self, side: Option<usize>) -> Result<Option<Transform>> {
        match self {
            Self::Published(preprocessing) => preprocessing.transform(side).map(Some),
            Self::Written(transform) => Ok(side.is_none().then(|| transform.clone())),
        }
    }

    /// From timm's `config.json`, or the `preprocessor_config.json` of transformers or taper, beside
    /// a weight file or in its folder; none where neither is there.
    ///
    /// Errs when one is there and can't be understood.
    pub(super) fn beside(path: &Path) -> Result<Option<Self>> {
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
        for (name, read) in READERS {
            let file = folder.join(name);
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let value: Value =
                serde_json::from_str(&text).with_context(|| format!("{}: is no JSON", file.display()))?;
            if let Some(steps) = value["transform"].as_str() {
                return Ok(Some(Self::Written(steps.parse().with_context(|| file.display().to_string())?)));
            }
            // a config.json that says nothing of images is no mistake
            if name == "config.json" && value["pretrained_cfg"].is_null() {
                continue;
            }
            let understood = read(&value);
            return Ok(Some(Self::Published(understood.with_context(|| {
                format!("{}: does not say how images are prepared, correct or remove it", file.display())
            })?)));
        }
        Ok(None)
    }
}

type Reader = fn(&Value) -> Option<Preprocessing>;

/// Files that say how images are prepared, the surest first.
const READERS: [(&str, Reader); 2] =
    [("preprocessor_config.json", of_transformers), ("config.json", |config| of_timm(&config["pretrained_cfg"]))];

/// Size, crop, filter and normalization, as `data/weights.toml` and timm say them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Preprocessing {
    /// Side of the square that the network sees.
    size: usize,
    /// That square's share of the resized image's shorter side.
    crop: f64,
    /// `bilinear` or `bicubic`.
    interpolation: String,
    /// Of samples from 0 to 1: red, green, blue.
    mean: [f32; 3],
    /// Likewise.
    std: [f32; 3],
}

/// ImageNet's mean and deviation, which most networks were trained with.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

impl Preprocessing {
    /// What most networks of this architecture were trained with.
    pub(super) fn usual(architecture: Architecture) -> Self {
        let size = architecture.default_side();
        let crop = if size >= 224 { 0.875 } else { 1.0 };
        Self { size, crop, interpolation: "bilinear".into(), mean: MEAN, std: STD }
    }

    /// The steps, for images of `side` where it is not the usual one.
    ///
    /// Errs when they make no sense.
    pub(super) fn transform(&self, side: Option<usize>) -> Result<Transform> {
        let side = side.unwrap_or(self.size);
        if !(0.1..=1.0).contains(&self.crop) {
            bail!("a crop of {} of the image makes no sense, it must be from 0.1 to 1", self.crop);
        }
        let short = (side as f64 / self.crop).floor() as usize;
        let list = |numbers: [f32; 3]| numbers.map(|number| number.to_string()).join(",");
        let (filter, mean, std) = (&self.interpolation, list(self.mean), list(self.std));
        let text = format!("color resize-short({short},{filter}) center-crop({side}) normalize(mean={mean},std={std})");
        Ok(text.parse()?)
    }
}

/// Is this a folder that the hub gave, not one of taper's models?
pub(super) fn is_hub_folder(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path.join("config.json")) else { return false };
    let config: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    path.join("model.safetensors").is_file() && config.is_object() && config["model_type"] != "taper"
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

/// transformers' image processor: `size` is the resized shorter side, `crop_size` what is left.
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
        let transform = found.map(|found| found.transform(None)).transpose()?.flatten();
        Ok(transform.map(|transform| transform.to_string()))
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
    fn what_taper_wrote_is_taken_as_it_is() {
        let steps = "gray resize(28x28) invert";
        let written = beside("preprocessor_config.json", &format!(r#"{{"transform": "{steps}"}}"#));
        assert_eq!(written.unwrap(), Some(steps.into()));
    }

    #[test]
    fn what_says_nothing_is_passed_over_and_what_makes_no_sense_is_named() {
        assert_eq!(beside("config.json", r#"{"architectures": ["ResNetForImageClassification"]}"#).unwrap(), None);
        assert_eq!(beside("notes.txt", "").unwrap(), None);
        for (name, text) in [("config.json", r#"{"pretrained_cfg": {}}"#), ("preprocessor_config.json", "{}")] {
            assert!(format!("{:#}", beside(name, text).unwrap_err()).contains(name));
        }
        assert!(format!("{:#}", beside("config.json", "{").unwrap_err()).contains("no JSON"));
    }
}
