//! A classifier in the terms of other programs: what timm's `config.json` says, and preprocessing in the words that
//! timm and transformers share.

use crate::Model;
use crate::models::CLASSIFIER;
use serde_json::{Value, json};
use taper_data::{Filter, Step, Transform};
use taper_models::Head;

/// A resize, a crop and a normalization.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedPreprocessing {
    /// The shorter side after the resize, from which the middle is cropped; `None` if the whole image is resized,
    /// whatever its proportions.
    pub short_side: Option<usize>,
    /// How pixels are weighted.
    pub filter: Filter,
    /// Rows and columns that the network takes.
    pub size: [usize; 2],
    /// Of red, green and blue.
    pub mean: [f32; 3],
    /// Of red, green and blue.
    pub std: [f32; 3],
}

impl PublishedPreprocessing {
    /// The preprocessing of color photographs that a transform does; random steps do nothing. `None` for other
    /// transforms.
    pub fn of(transform: &Transform) -> Option<Self> {
        let mut steps = transform.steps().iter().filter(|step| **step != Step::Color && !step.is_random()).peekable();
        let (short_side, size, filter) = match *steps.next()? {
            Step::ResizeShort { side, filter } => match *steps.next()? {
                Step::CenterCrop(crop) if crop <= side => (Some(side), [crop; 2], filter),
                _ => return None,
            },
            Step::Resize { width, height, filter } => (None, [height, width], filter),
            _ => return None,
        };
        let three = |numbers: &[f32]| [0, 1, 2].map(|channel| numbers[channel % numbers.len()]);
        let (mean, std) = match steps.next() {
            None => ([0.0; 3], [1.0; 3]),
            Some(Step::Normalize { mean, std }) => (three(mean), three(std)),
            Some(_) => return None,
        };
        steps.next().is_none().then_some(Self { short_side, filter, size, mean, std })
    }

    /// timm's `crop_pct`: it resizes the shorter side to the side divided by this, rounded down.
    fn crop_share(&self) -> f64 {
        let Some(short) = self.short_side else { return 1.0 };
        let (side, short) = (self.size[0] as f64, short as f64);
        let exact = side / short;
        // a quotient that is rounded must not lose a pixel
        if (side / exact).floor() == short { exact } else { side / (short + 0.5) }
    }
}

impl Model {
    /// What timm's `config.json` says about this classifier, whose tensors have timm's names already.
    ///
    /// # Errors
    /// Returns why timm has no such model.
    pub fn timm_config(&self) -> Result<Value, String> {
        let backbone = self.network.backbone();
        let name = backbone.name();
        let architecture = match name.as_str() {
            "resnet18" | "resnet34" | "resnet50" | "resnet101" | "resnet152" => name.as_str(),
            "efficientnet-lite0" => "tf_efficientnet_lite0",
            "dinov2-small" => "vit_small_patch14_dinov2",
            "dinov2-base" => "vit_base_patch14_dinov2",
            _ => return Err(format!("it has no {name}")),
        };
        let preprocessing = self.published_preprocessing()?;
        let PublishedPreprocessing { size: [height, width], filter, mean, std, short_side } = &preprocessing;
        let is_transformer = name.starts_with("dinov2");
        let first = match name.as_str() {
            "efficientnet-lite0" => "conv_stem",
            _ if is_transformer => "patch_embed.proj",
            _ => "conv1",
        };
        // a transformer's position embeddings are for images of one size
        let arguments = if is_transformer { json!({"img_size": [height, width]}) } else { json!({}) };
        Ok(json!({
            "architecture": architecture,
            "model_args": arguments,
            "num_classes": self.labels.len(),
            "num_features": backbone.width(),
            "label_names": self.labels,
            "pretrained_cfg": {
                "input_size": [3, height, width],
                "fixed_input_size": is_transformer,
                "interpolation": filter.to_string(),
                "crop_pct": preprocessing.crop_share(),
                "crop_mode": if short_side.is_some() { "center" } else { "squash" },
                "mean": mean,
                "std": std,
                "num_classes": self.labels.len(),
                "first_conv": first,
                "classifier": backbone.head_name(),
                "label_names": self.labels,
            },
        }))
    }

    /// The preprocessing of a classifier of color photographs with one linear layer as its head, which other programs
    /// can express.
    ///
    /// # Errors
    /// Returns what they can't express.
    pub fn published_preprocessing(&self) -> Result<PublishedPreprocessing, String> {
        let (channels, height, width) = self.network.backbone().input();
        if self.origin.method != CLASSIFIER {
            return Err(format!("it is a learner ({}), not a classifier", self.origin.method));
        }
        if !matches!(self.network.head(), Head::Linear { .. }) {
            return Err("its head is not one linear layer".into());
        }
        if channels != 3 {
            return Err("it takes only color images".into());
        }
        let wrong = || format!("it has no counterpart of the transform `{}`", self.transform);
        let transform: Transform = self.transform.parse().map_err(|_| wrong())?;
        PublishedPreprocessing::of(&transform).filter(|made| made.size == [height, width]).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<PublishedPreprocessing> {
        PublishedPreprocessing::of(&text.parse().unwrap())
    }

    #[test]
    fn resize_crop_and_normalization_are_read_and_anything_else_is_none() {
        let made =
            of("color resize-short(256,bicubic) random-flip center-crop(224) normalize(mean=0.5,std=0.1,0.2,0.3)");
        let right = PublishedPreprocessing {
            short_side: Some(256),
            filter: Filter::Bicubic,
            size: [224; 2],
            mean: [0.5; 3],
            std: [0.1, 0.2, 0.3],
        };
        assert_eq!(made, Some(right));
        assert_eq!(of("resize(64x32)").map(|made| (made.short_side, made.size)), Some((None, [32, 64])));
        for text in ["", "resize-short(64)", "gray resize(64)", "resize(64) invert", "center(box) resize(9)"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn the_share_of_the_crop_gives_the_resized_side_back() {
        for side in [32, 64, 160, 192, 224, 299] {
            for short in side..side + 90 {
                let text = format!("resize-short({short}) center-crop({side})");
                let share = of(&text).unwrap().crop_share();
                assert_eq!((side as f64 / share).floor() as usize, short, "{text}: {share}");
            }
        }
    }
}
