//! The names that others give to the same tensors, brought to ours.

use candle_core::Tensor;
use std::collections::BTreeMap;

/// The same tensors under torchvision's names if they have transformers'; batch norm's count of
/// batches left out, since nothing here depends on it.
pub(crate) fn canonical(weights: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let transformers = weights.keys().any(|name| name.starts_with("resnet.embedder."));
    let renamed = |name: String| match transformers {
        true => from_transformers(&name).unwrap_or(name),
        false => name,
    };
    let counts = |name: &str| name.ends_with(".num_batches_tracked");
    weights.into_iter().filter(|(name, _)| !counts(name)).map(|(name, tensor)| (renamed(name), tensor)).collect()
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
        let tensor = Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap();
        let count = ("resnet.embedder.embedder.normalization.num_batches_tracked".to_string(), tensor.clone());
        let theirs = pairs.iter().map(|(name, _)| (name.to_string(), tensor.clone())).chain([count]).collect();
        let mut expected: Vec<_> = pairs.iter().map(|&(_, name)| name).collect();
        expected.sort_unstable();
        assert_eq!(canonical(theirs).into_keys().collect::<Vec<_>>(), expected);
    }
}
