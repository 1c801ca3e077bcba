//! Small colored images for tests.

use crate::{Problem, ProblemOptions};
use std::sync::Arc;
use std::time::Duration;
use taper_data::{Class, Dataset, Hash, Image};
use taper_learn::NoopObserver;
use taper_models::Network;
use taper_models::catalog::{Pretrained, WeightHints};

/// Square images of colored noise with a stripe per class; a quarter of the images is the validation part.
#[derive(Clone)]
pub(crate) struct Toy {
    pub(crate) classes: Vec<Class>,
    pub(crate) labels: Vec<u32>,
    pub(crate) validation: Vec<usize>,
    /// Seed of the validation images.
    pub(crate) validation_seed: u64,
    /// Pixels of a side.
    pub(crate) side: usize,
    /// How long an image takes to decode.
    pub(crate) delay: Duration,
}

impl Toy {
    /// Classes with these numbers of training images, and two validation images each.
    pub(crate) fn new(training: &[usize]) -> Self {
        let classes = (0..training.len()).map(|class| Class { name: format!("c{class}"), group: String::new() });
        let (mut labels, mut validation) = (Vec::new(), Vec::new());
        for (class, &count) in training.iter().enumerate() {
            validation.extend([labels.len(), labels.len() + 1]);
            labels.extend(vec![class as u32; count + 2]);
        }
        Self { classes: classes.collect(), labels, validation, validation_seed: 0, side: 16, delay: Duration::ZERO }
    }

    /// The problem of these images with weights from `weights_seed`, prepared as published.
    pub(crate) fn problem(self, weights_seed: u64) -> Problem {
        let options = ProblemOptions::default();
        Problem::new(Arc::new(self), Some(&pretrained(weights_seed)), &options, &mut NoopObserver).unwrap()
    }

    fn pixels(&self, index: usize) -> Vec<u8> {
        let is_validation = self.validation.contains(&index);
        let mut noise = (index as u64 + if is_validation { self.validation_seed << 32 } else { 0 }) * 7919 + 1;
        let stripe = 4 * self.labels[index] as usize % 16;
        let count = 3 * self.side * self.side;
        let mut pixels = Vec::with_capacity(count);
        for place in 0..count {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bright = (stripe..stripe + 4).contains(&(place % 16));
            pixels.push((noise >> 33) as u8 / 2 + if bright { 60 } else { 0 });
        }
        pixels
    }
}

/// How the images of [`pretrained`] are prepared.
pub(crate) const STEPS: &str = "color resize-short(18) center-crop(16) normalize(mean=0.5,0.5,0.5,std=0.25,0.25,0.25)";

/// A network with weights from a seed, as published: its images are prepared by [`STEPS`].
pub(crate) fn pretrained(weights_seed: u64) -> Pretrained {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.safetensors");
    let architecture: taper_models::Architecture = "cifar-resnet20".parse().unwrap();
    let network = Network::new(architecture.backbone((3, 16, 16)).unwrap(), taper_models::Head::Identity);
    let state = network.init(weights_seed).unwrap();
    taper_models::write_weights(&file, &state).unwrap();
    let said = serde_json::json!({"transform": STEPS}).to_string();
    std::fs::write(folder.path().join("preprocessor_config.json"), said).unwrap();
    Pretrained::read(&file, &WeightHints::default()).unwrap()
}

impl Dataset for Toy {
    fn name(&self) -> &str {
        "toy"
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> taper_data::Result<Image> {
        std::thread::sleep(self.delay);
        Ok(Image { width: self.side, height: self.side, channels: 3, pixels: self.pixels(index) })
    }

    fn size(&self, _index: usize) -> taper_data::Result<(usize, usize, usize)> {
        Ok((3, self.side, self.side))
    }

    fn content_hash(&self, index: usize) -> taper_data::Result<Hash> {
        Ok(Hash::of(&self.pixels(index)))
    }

    fn held_out(&self) -> &[usize] {
        &self.validation
    }
}
