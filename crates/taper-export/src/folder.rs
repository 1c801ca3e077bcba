//! Folders that timm and transformers load, in the layout of the Hugging Face hub.

use crate::card::{CARD, CardFacts, card};
use crate::{ExportError, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use taper_data::Filter;
use taper_learn::{Model, models::PublishedPreprocessing};

/// The files of a folder: names and contents.
pub type Files = Vec<(&'static str, Vec<u8>)>;

const TIMM_CODE: &str = "\
import timm
from PIL import Image

model = timm.create_model(\"local-dir:FOLDER\", pretrained=True).eval()
config = timm.data.resolve_model_data_config(model)
transform = timm.data.create_transform(**config, is_training=False)
probabilities = model(transform(Image.open(\"photo.jpg\").convert(\"RGB\"))[None]).softmax(-1)[0]
print(model.pretrained_cfg[\"label_names\"][probabilities.argmax()])";

const TRANSFORMERS_CODE: &str = "\
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained(\"FOLDER\").eval()
processor = AutoImageProcessor.from_pretrained(\"FOLDER\", use_fast=False)  # resizes as Pillow does
inputs = processor(Image.open(\"photo.jpg\").convert(\"RGB\"), return_tensors=\"pt\")
print(model.config.id2label[model(**inputs).logits.argmax().item()])";

/// A folder for `timm.create_model(\"local-dir:…\", pretrained=True)`: ResNet-18 to 152 and EfficientNet-Lite0 with a
/// linear head, for color photographs.
///
/// # Errors
/// Returns an error that says what timm lacks for other classifiers.
pub fn timm(model: &Model, facts: &CardFacts) -> Result<Files> {
    let config = model.timm_config().map_err(|problem| ExportError::Foreign { program: "timm", problem })?;
    Ok(vec![
        ("config.json", pretty(&config)?),
        ("model.safetensors", weights(model, |name| Some(name.to_string()))?),
        (CARD, card(model, facts, "timm", TIMM_CODE).into_bytes()),
    ])
}

/// A folder for `AutoModelForImageClassification` and `AutoImageProcessor` of transformers: ResNet-18 to 152 and ViT-B/16
/// with a linear head, for color photographs.
///
/// # Errors
/// Returns an error that says what transformers lacks for other classifiers.
pub fn transformers(model: &Model, facts: &CardFacts) -> Result<Files> {
    let foreign = |problem: String| ExportError::Foreign { program: "transformers", problem };
    let name = model.network.backbone().name();
    let mut config = config_of(&name).ok_or_else(|| foreign(format!("it has no {name} with these tensors")))?;
    let preprocessing = model.published_preprocessing().map_err(foreign)?;
    let labels: BTreeMap<String, &String> =
        model.labels.iter().enumerate().map(|(k, label)| (k.to_string(), label)).collect();
    let ids: BTreeMap<&String, usize> = model.labels.iter().enumerate().map(|(k, label)| (label, k)).collect();
    config["num_channels"] = 3.into();
    config["image_size"] = preprocessing.size[0].into();
    config["id2label"] = json!(labels);
    config["label2id"] = json!(ids);
    config["problem_type"] = "single_label_classification".into();
    config["torch_dtype"] = "float32".into();
    let rename = if name == "vit-base" { of_vit } else { of_resnet };
    Ok(vec![
        ("config.json", pretty(&config)?),
        ("preprocessor_config.json", pretty(&processor(&preprocessing))?),
        ("model.safetensors", weights(model, rename)?),
        (CARD, card(model, facts, "transformers", TRANSFORMERS_CODE).into_bytes()),
    ])
}

/// What transformers' configuration says of a network by itself; `None` for one that it doesn't have.
fn config_of(name: &str) -> Option<Value> {
    let (depths, is_bottleneck) = match name {
        "resnet18" => ([2, 2, 2, 2], false),
        "resnet34" => ([3, 4, 6, 3], false),
        "resnet50" => ([3, 4, 6, 3], true),
        "resnet101" => ([3, 4, 23, 3], true),
        "resnet152" => ([3, 8, 36, 3], true),
        "vit-base" => {
            return Some(json!({
                "architectures": ["ViTForImageClassification"],
                "model_type": "vit",
                "hidden_size": 768,
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "patch_size": 16,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-12,
                "qkv_bias": true,
            }));
        }
        _ => return None,
    };
    Some(json!({
        "architectures": ["ResNetForImageClassification"],
        "model_type": "resnet",
        "embedding_size": 64,
        "hidden_sizes": if is_bottleneck { [256, 512, 1024, 2048] } else { [64, 128, 256, 512] },
        "depths": depths,
        "layer_type": if is_bottleneck { "bottleneck" } else { "basic" },
        "hidden_act": "relu",
        "downsample_in_first_stage": false,
    }))
}

/// The preprocessing as an image processor that resizes the shorter side, crops and normalizes.
fn processor(preprocessing: &PublishedPreprocessing) -> Value {
    let PublishedPreprocessing { short_side, filter, size: [height, width], mean, std } = preprocessing;
    let size = match short_side {
        Some(short) => json!({"shortest_edge": short}),
        None => json!({"height": height, "width": width}),
    };
    // Pillow's numbers
    let resample = match filter {
        Filter::Bilinear => 2,
        Filter::Bicubic => 3,
    };
    json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": size,
        "resample": resample,
        "do_center_crop": short_side.is_some(),
        "crop_size": {"height": height, "width": width},
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": mean,
        "image_std": std,
    })
}

/// All tensors under other names.
fn weights(model: &Model, rename: impl Fn(&str) -> Option<String>) -> Result<Vec<u8>> {
    let all = model.state.params.iter().chain(model.state.buffers.iter());
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, tensor) in all {
        let new = rename(name).ok_or_else(|| ExportError::Foreign {
            program: "transformers",
            problem: format!("it has no tensor like `{name}`"),
        })?;
        // PyTorch counts the batches of a norm, which nothing reads after training
        if let Some(norm) = new.strip_suffix(".running_mean") {
            tensors.insert(format!("{norm}.num_batches_tracked"), Tensor::zeros((), DType::I64, &Device::Cpu)?);
        }
        tensors.insert(new, tensor.clone());
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(safetensors::serialize(&tensors, Some(metadata))?)
}

/// A vision transformer has transformers' names already.
fn of_vit(name: &str) -> Option<String> {
    (name.starts_with("vit.") || name.starts_with("classifier.")).then(|| name.to_string())
}

/// `layer1.1.conv3.weight` as `resnet.encoder.stages.0.layers.1.layer.2.convolution.weight`.
fn of_resnet(name: &str) -> Option<String> {
    let (rest, kind) = name.rsplit_once('.')?;
    let part = match rest {
        "conv1" => "resnet.embedder.embedder.convolution".to_string(),
        "bn1" => "resnet.embedder.embedder.normalization".to_string(),
        "fc" => "classifier.1".to_string(),
        _ => {
            let mut parts = rest.strip_prefix("layer")?.split('.');
            let (stage, block, layer) = (parts.next()?.parse::<usize>().ok()?, parts.next()?, parts.next()?);
            let inside = match (layer, parts.next()) {
                ("downsample", Some("0")) => "shortcut.convolution".to_string(),
                ("downsample", Some("1")) => "shortcut.normalization".to_string(),
                (layer, None) => {
                    let (kind, number) = match layer.strip_prefix("conv") {
                        Some(number) => ("convolution", number),
                        None => ("normalization", layer.strip_prefix("bn")?),
                    };
                    format!("layer.{}.{kind}", number.parse::<usize>().ok()?.checked_sub(1)?)
                }
                _ => return None,
            };
            format!("resnet.encoder.stages.{}.layers.{block}.{inside}", stage.checked_sub(1)?)
        }
    };
    Some(format!("{part}.{kind}"))
}

fn pretty(value: &Value) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_torchvision_become_those_of_transformers() {
        let pairs = [
            ("conv1.weight", "resnet.embedder.embedder.convolution.weight"),
            ("bn1.running_mean", "resnet.embedder.embedder.normalization.running_mean"),
            ("layer1.1.conv3.weight", "resnet.encoder.stages.0.layers.1.layer.2.convolution.weight"),
            ("layer4.0.bn1.bias", "resnet.encoder.stages.3.layers.0.layer.0.normalization.bias"),
            ("layer2.0.downsample.0.weight", "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight"),
            ("layer2.0.downsample.1.bias", "resnet.encoder.stages.1.layers.0.shortcut.normalization.bias"),
            ("fc.bias", "classifier.1.bias"),
        ];
        for (ours, theirs) in pairs {
            assert_eq!(of_resnet(ours).as_deref(), Some(theirs));
        }
        assert_eq!(of_resnet("head.support"), None);
    }
}
