//! Other programs' tensor names, converted to ours.

use crate::efficientnet_lite;
use candle_core::Tensor;
use std::collections::BTreeMap;

/// The same tensors under the names of our networks (torchvision's ResNets, timm's
/// EfficientNet-Lite0) if they have transformers' or those of the package `efficientnet_pytorch`;
/// without tensors that no network here has: batch norm's count of batches, CLIP's text tower, the token
/// that masks DINOv2's patches in its training.
pub(crate) fn canonical(weights: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let any = |start: &str| weights.keys().any(|name| name.starts_with(start));
    let rename: fn(&str) -> Option<String> = match (any("resnet.embedder."), any("_conv_stem.")) {
        (true, _) => from_transformers,
        (_, true) => from_efficientnet_pytorch,
        _ => |_| None,
    };
    let renamed = |name: String| rename(&name).unwrap_or(name);
    let clip = any("vision_model.");
    let left_out = |name: &str| {
        let text = clip && !name.starts_with("vision_model.") && !name.starts_with("visual_projection.");
        text || name == "mask_token" || name.ends_with(".num_batches_tracked") || name.ends_with(".position_ids")
    };
    weights.into_iter().filter(|(name, _)| !left_out(name)).map(|(name, tensor)| (renamed(name), tensor)).collect()
}

/// `resnet.encoder.stages.0.layers.1.layer.2.convolution.weight` as `layer1.1.conv3.weight`.
fn from_transformers(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("resnet.embedder.embedder.") {
        return Some(match rest.split_once('.')? {
            ("convolution", kind) => format!("conv1.{kind}"),
            ("normalization", kind) => format!("bn1.{kind}"),
            _ => return None,
        });
    }
    if let Some(kind) = name.strip_prefix("classifier.1.") {
        return Some(format!("fc.{kind}"));
    }
    let rest = name.strip_prefix("resnet.encoder.stages.")?;
    let parts: Vec<&str> = rest.split('.').collect();
    let &[stage, "layers", block, ref rest @ ..] = parts.as_slice() else { return None };
    let block = format!("layer{}.{block}", stage.parse::<usize>().ok()?.checked_add(1)?);
    Some(match *rest {
        ["shortcut", "convolution", kind] => format!("{block}.downsample.0.{kind}"),
        ["shortcut", "normalization", kind] => format!("{block}.downsample.1.{kind}"),
        ["layer", number, part, kind] => {
            let part = match part {
                "convolution" => "conv",
                "normalization" => "bn",
                _ => return None,
            };
            format!("{block}.{part}{}.{kind}", number.parse::<usize>().ok()?.checked_add(1)?)
        }
        _ => return None,
    })
}

/// `_blocks.5._expand_conv.weight` as `blocks.3.0.conv_pw.weight`.
fn from_efficientnet_pytorch(name: &str) -> Option<String> {
    let (part, rest) = name.strip_prefix('_')?.split_once('.')?;
    let ours = match part {
        "conv_stem" => "conv_stem",
        "bn0" => "bn1",
        "conv_head" => "conv_head",
        "bn1" => "bn2",
        "fc" => "classifier",
        "blocks" => {
            let (number, rest) = rest.split_once('.')?;
            let (part, kind) = rest.strip_prefix('_')?.split_once('.')?;
            let (stage, index) = efficientnet_lite::place(number.parse().ok()?)?;
            // the first stage's block has no expansion, so its parts count from one less
            let part = match (part, stage) {
                ("expand_conv", 1..) => "conv_pw",
                ("depthwise_conv", _) => "conv_dw",
                ("project_conv", 0) => "conv_pw",
                ("project_conv", _) => "conv_pwl",
                ("bn0", 1..) | ("bn1", 0) => "bn1",
                ("bn1", _) | ("bn2", 0) => "bn2",
                ("bn2", _) => "bn3",
                _ => return None,
            };
            return Some(format!("blocks.{stage}.{index}.{part}.{kind}"));
        }
        _ => return None,
    };
    Some(format!("{ours}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn names_of_transformers_become_those_of_torchvision() {
        let pairs = [
            ("resnet.embedder.embedder.convolution.weight", "conv1.weight"),
            ("resnet.embedder.embedder.normalization.running_mean", "bn1.running_mean"),
            ("resnet.encoder.stages.0.layers.1.layer.2.convolution.weight", "layer1.1.conv3.weight"),
            ("resnet.encoder.stages.3.layers.0.layer.0.normalization.bias", "layer4.0.bn1.bias"),
            ("resnet.encoder.stages.1.layers.0.shortcut.convolution.weight", "layer2.0.downsample.0.weight"),
            ("resnet.encoder.stages.1.layers.0.shortcut.normalization.weight", "layer2.0.downsample.1.weight"),
            ("classifier.1.bias", "fc.bias"),
        ];
        assert_canonical(&pairs, "resnet.embedder.embedder.normalization.num_batches_tracked");
    }

    #[test]
    fn of_clip_the_image_tower_is_left() {
        let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let names = ["logit_scale", "text_model.final_layer_norm.bias", "vision_model.embeddings.position_ids"];
        let kept = ["vision_model.embeddings.class_embedding", "visual_projection.weight"];
        let all = names.into_iter().chain(kept).map(|name| (name.to_string(), tensor.clone())).collect();
        assert_eq!(canonical(all).into_keys().collect::<Vec<_>>(), kept);
    }

    #[test]
    fn names_of_efficientnet_pytorch_become_those_of_timm() {
        let pairs = [
            ("_conv_stem.weight", "conv_stem.weight"),
            ("_bn0.running_var", "bn1.running_var"),
            ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
            ("_blocks.0._bn1.bias", "blocks.0.0.bn1.bias"),
            ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
            ("_blocks.0._bn2.bias", "blocks.0.0.bn2.bias"),
            ("_blocks.6._expand_conv.weight", "blocks.3.1.conv_pw.weight"),
            ("_blocks.6._bn0.weight", "blocks.3.1.bn1.weight"),
            ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
            ("_blocks.15._bn2.weight", "blocks.6.0.bn3.weight"),
            ("_conv_head.weight", "conv_head.weight"),
            ("_bn1.weight", "bn2.weight"),
            ("_fc.bias", "classifier.bias"),
            // no such block: unchanged, so that the report names it
            ("_blocks.16._bn2.weight", "_blocks.16._bn2.weight"),
        ];
        assert_canonical(&pairs, "_bn0.num_batches_tracked");
    }

    /// Tensors with the first names get the second ones; `count` is dropped.
    fn assert_canonical(pairs: &[(&str, &str)], count: &str) {
        let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let count = (count.to_string(), tensor.clone());
        let theirs = pairs.iter().map(|(name, _)| (name.to_string(), tensor.clone())).chain([count]).collect();
        let mut expected: Vec<_> = pairs.iter().map(|&(_, name)| name).collect();
        expected.sort_unstable();
        assert_eq!(canonical(theirs).into_keys().collect::<Vec<_>>(), expected);
    }
}
