//! Pictures of noise with stripes, and weights of a small network.

use std::path::{Path, PathBuf};
use taper_data::{Class, Dataset, Hash, Image};
use taper_models::{Architecture, Head, Network, write_weights};

/// Noise with a stripe whose place and color are the class's.
pub(crate) struct Stripes {
    pub(crate) name: &'static str,
    pub(crate) classes: Vec<Class>,
    pub(crate) labels: Vec<u32>,
    pub(crate) held_out: Vec<usize>,
    pub(crate) channels: usize,
    pub(crate) first: usize,
}

impl Stripes {
    pub(crate) fn new(name: &'static str, classes: usize, images: usize) -> Self {
        let class = |number| Class { name: format!("{name} {number}"), group: String::new() };
        Self {
            name,
            classes: (0..classes).map(class).collect(),
            labels: (0..classes * images).map(|image| (image % classes) as u32).collect(),
            held_out: Vec::new(),
            channels: 3,
            first: if name == "other" { 100_000 } else { 0 },
        }
    }
}

impl Dataset for Stripes {
    fn name(&self) -> &str {
        self.name
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> taper_data::Result<Image> {
        use rand::Rng as _;
        const SIDE: usize = 24;
        let class = self.labels[index] as usize;
        let mut chance = taper_ops::rng(self.first as u64, "stripes", index as u64);
        let mut pixels = vec![0u8; SIDE * SIDE * self.channels];
        for (place, value) in pixels.iter_mut().enumerate() {
            let (row, channel) = (place / (SIDE * self.channels), place % self.channels);
            let in_stripe = row / 3 == (class + self.first) % 8 && channel == class % self.channels;
            *value = if in_stripe { chance.random_range(150..255) } else { chance.random_range(0..140) };
        }
        Ok(Image { channels: self.channels, height: SIDE, width: SIDE, pixels })
    }

    fn content_hash(&self, index: usize) -> taper_data::Result<Hash> {
        Ok(Hash::of(&(self.first + index).to_le_bytes()))
    }

    fn held_out(&self) -> &[usize] {
        &self.held_out
    }
}

/// Weights of a network that was initialized by a seed, as a file.
pub(crate) fn weights(folder: &Path, seed: u64) -> PathBuf {
    let path = folder.join(format!("weights-{seed}.safetensors"));
    let backbone = "cifar-resnet20".parse::<Architecture>().unwrap().backbone((3, 32, 32)).unwrap();
    let network = Network::new(backbone, Head::Linear { outputs: 10 });
    let state = network.init(seed).unwrap();
    write_weights(&path, &state).unwrap();
    path
}
