//! A classifier's labeled images on disk: one safetensors file in its model directory.

use super::{HeldOut, Support, SupportImage};
use crate::{LearnError, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use taper_data::Hash;

/// The version of the file's layout.
const VERSION: u32 = 1;
const METADATA: &str = "taper";

/// What the file says besides its tensors.
#[derive(Serialize, Deserialize)]
struct Words {
    version: u32,
    /// `None` in the file of a model that keeps no images.
    kept: Option<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    head: Option<String>,
    images: Vec<String>,
    /// `None` if nothing was held out.
    temperature: Option<f64>,
}

impl Support {
    /// The file's content. A classifier without labeled images has a file too, which replaces that of an earlier one.
    /// Features that are also in the classifier's head, `in_head`, are left out.
    ///
    /// # Errors
    /// Returns an error if the parts don't fit each other.
    pub(crate) fn to_bytes(support: Option<&Self>, in_head: bool) -> Result<Vec<u8>> {
        let invalid = |error: String| LearnError::Invalid(error);
        let kept = support.map(|support| Kept {
            head: support.head.clone(),
            images: support.images.iter().map(|image| image.name.clone()).collect(),
            temperature: support.held_out.as_ref().map(HeldOut::temperature),
        });
        let words = serde_json::to_string(&Words { version: VERSION, kept });
        let metadata = HashMap::from([(METADATA.to_string(), words.map_err(|error| invalid(error.to_string()))?)]);
        let mut tensors: Vec<(&str, Tensor)> = Vec::new();
        if let Some(support) = support {
            let n = support.labels.len();
            let content: Vec<u8> = support.images.iter().flat_map(|image| image.content.0).collect();
            if !in_head {
                tensors.push(("features", support.features.to_dtype(DType::F32)?));
            }
            tensors.push(("labels", Tensor::from_slice(&support.labels, n, &Device::Cpu)?));
            tensors.push(("content", Tensor::from_vec(content, (n, 32), &Device::Cpu)?));
            if let Some(held_out) = &support.held_out {
                let m = held_out.labels.len();
                let logits: Vec<f32> = held_out.logits.iter().flatten().map(|&value| value as f32).collect();
                let ways = held_out.logits.first().map_or(0, Vec::len);
                tensors.push(("held_out.logits", Tensor::from_vec(logits, (m, ways), &Device::Cpu)?));
                tensors.push(("held_out.labels", Tensor::from_slice(&held_out.labels, m, &Device::Cpu)?));
                if held_out.tells_foreign() {
                    let foreignness = held_out.foreignness.concat();
                    tensors.push(("held_out.foreignness", Tensor::from_vec(foreignness, (m, 2), &Device::Cpu)?));
                }
            }
        }
        safetensors::serialize(tensors, Some(metadata)).map_err(|error| invalid(error.to_string()))
    }

    /// The inverse of [`Support::to_bytes`], with the features that are in the head, if any; errors as text.
    pub(crate) fn from_bytes(bytes: &[u8], in_head: Option<&Tensor>) -> std::result::Result<Option<Self>, String> {
        let text = |error: candle_core::Error| error.to_string();
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let words = metadata.metadata().as_ref().and_then(|words| words.get(METADATA)).ok_or("it describes nothing")?;
        let version = serde_json::from_str::<serde_json::Value>(words).map_err(|error| error.to_string())?;
        let version = version["version"].as_u64().ok_or("it has no version")?;
        if version > u64::from(VERSION) {
            return Err(format!("version {version} was written by a newer Taper, which this one can't read"));
        }
        let Words { kept, .. } = serde_json::from_str(words).map_err(|error| error.to_string())?;
        let Some(Kept { head, images, temperature }) = kept else { return Ok(None) };
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(text)?;
        let tensor = |name: &str| tensors.get(name).ok_or_else(|| format!("`{name}` is missing"));
        let features = tensors.get("features").or(in_head).ok_or("`features` is missing")?.clone();
        let n = images.len();
        let labels: Vec<u32> = tensor("labels")?.to_vec1().map_err(text)?;
        let content: Vec<Vec<u8>> = tensor("content")?.to_vec2().map_err(text)?;
        if features.dims2().map_err(text)?.0 != n || labels.len() != n || content.len() != n {
            return Err(format!("it names {n} images and has features, labels or contents of another number"));
        }
        let hash = |bytes: Vec<u8>| bytes.try_into().map(Hash).map_err(|_| "a content hash does not have 32 bytes");
        let images =
            images.into_iter().zip(content).map(|(name, content)| Ok(SupportImage { name, content: hash(content)? }));
        let images = images.collect::<std::result::Result<Vec<_>, String>>()?;
        let held_out = match temperature {
            None => None,
            Some(temperature) => {
                let logits: Vec<Vec<f64>> =
                    tensor("held_out.logits")?.to_dtype(DType::F64).and_then(|rows| rows.to_vec2()).map_err(text)?;
                let labels: Vec<u32> = tensor("held_out.labels")?.to_vec1().map_err(text)?;
                let foreignness: Vec<Vec<f64>> = match tensors.get("held_out.foreignness") {
                    Some(signs) => signs.to_vec2().map_err(text)?,
                    None => Vec::new(),
                };
                let pair = |row: Vec<f64>| row.try_into().map_err(|_| "foreignness does not have two signs");
                let foreignness =
                    foreignness.into_iter().map(pair).collect::<std::result::Result<Vec<[f64; 2]>, _>>()?;
                let ways = logits.first().map_or(0, Vec::len);
                let wrong = labels.iter().any(|&label| label as usize >= ways);
                let fits = foreignness.is_empty() || foreignness.len() == labels.len();
                if logits.len() != labels.len() || !fits || wrong {
                    return Err("its held-out images don't fit each other".into());
                }
                Some(HeldOut::from_parts(logits, labels, foreignness, temperature))
            }
        };
        Ok(Some(Self { features, labels, images, head, held_out }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn support() -> Support {
        let image = |name: &str| SupportImage { name: name.into(), content: Hash::of(name.as_bytes()) };
        Support {
            features: Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap(),
            labels: vec![1, 0],
            images: vec![image("a/1.png"), image("b/2.png")],
            head: Some("ridge".into()),
            held_out: Some(HeldOut::from_parts(vec![vec![0.5, -0.25]], vec![1], vec![[0.1, -0.3]], 2.0)),
        }
    }

    #[test]
    fn labeled_images_come_back_as_they_were() {
        let support = support();
        let back = Support::from_bytes(&Support::to_bytes(Some(&support), false).unwrap(), None).unwrap().unwrap();
        assert_eq!(back.features.to_vec2::<f32>().unwrap(), support.features.to_vec2::<f32>().unwrap());
        assert_eq!((&back.labels, &back.images, &back.head), (&support.labels, &support.images, &support.head));
        assert_eq!(back.held_out, support.held_out);
        let none = Support::to_bytes(None, false).unwrap();
        assert!(Support::from_bytes(&none, None).unwrap().is_none());
        let shared = Support::to_bytes(Some(&support), true).unwrap();
        assert!(Support::from_bytes(&shared, None).is_err());
        assert!(Support::from_bytes(&shared, Some(&support.features)).unwrap().is_some());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic() {
        let bytes = Support::to_bytes(Some(&support()), false).unwrap();
        for length in 0..bytes.len() {
            assert!(Support::from_bytes(&bytes[..length], None).is_err(), "cut off at {length}");
        }
        let words = r#"{\"version\":1"#;
        let place = bytes.windows(words.len()).position(|part| part == words.as_bytes()).unwrap();
        let mut newer = bytes.clone();
        newer[place + words.len() - 1] = b'2';
        assert!(Support::from_bytes(&newer, None).unwrap_err().contains("newer"));
    }
}
