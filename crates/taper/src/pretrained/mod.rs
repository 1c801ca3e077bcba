//! Weight files as models: the network, its classes and its preprocessing, from what
//! `data/weights.toml` knows of the file by its hash, from timm's or transformers' files beside it,
//! or from what the user said.

pub(crate) mod hub_cache;
mod known;
mod preprocessing;

use crate::args::WeightOptions;
use crate::registry::CLASSIFIER;
use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use preprocessing::{Preparation, Preprocessing};
use std::collections::BTreeMap;
use std::path::Path;
use taper_data::Transform;
use taper_learn::{Model, TaskNorm, Trained};
use taper_models::{Architecture, Head, HeadPolicy, Network, State, identify, read_weights};

/// A weight file with all that is known of it.
pub(crate) struct Pretrained {
    /// What people call it: a name of `data/weights.toml`, or the file's.
    pub(crate) name: String,
    /// The network.
    pub(crate) architecture: Architecture,
    tensors: BTreeMap<String, Tensor>,
    /// The head's outputs; 0 where the file has no head.
    outputs: usize,
    /// Names of the head's outputs.
    classes: Option<Vec<String>>,
    preparation: Option<Preparation>,
}

/// The model at a path: a directory that taper wrote, or a weight file of anybody's.
///
/// Errs when it can't be read, or too little is known of it.
pub(crate) fn load(path: &Path, said: &WeightOptions) -> Result<Model> {
    let published = path.join("model.safetensors").is_file() && !path.join("config.json").is_file();
    if path.is_file() || published || preprocessing::is_hub_folder(path) {
        return Pretrained::read(path, said)?.model(path);
    }
    if said.arch.is_some() || said.classes.is_some() {
        bail!("{}: says itself what it is, leave out --arch and --classes", path.display());
    }
    Ok(Model::load(path)?)
}

impl Pretrained {
    /// Reads a weight file, or a folder of the hub's with one.
    ///
    /// Errs when it is broken, or its architecture can't be told.
    pub(crate) fn read(path: &Path, said: &WeightOptions) -> Result<Self> {
        let tensors = read_weights(path)?;
        let known = known::find(path)?;
        let fits = identify(&tensors);
        let architecture = said.arch.or(known.as_ref().map(|known| known.architecture));
        let Some(architecture) = architecture.or(fits.map(|(architecture, _)| architecture)) else {
            bail!("{}: fits no architecture of taper: see `taper inspect`, or say which with --arch", path.display());
        };
        let outputs = fits.filter(|(fitting, _)| *fitting == architecture).map_or(0, |(_, outputs)| outputs);
        let beside = match &known {
            Some(_) => None,
            None => Preparation::beside(path)?,
        };
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (name, own_classes, preparation) = match known {
            Some(known) => (known.name, known.classes, Some(Preparation::Published(known.preprocessing))),
            None => (file_name, None, beside),
        };
        let classes = match &said.classes {
            Some(text) => Some(class_names(text)?),
            None => own_classes,
        };
        Ok(Self { name, architecture, tensors, outputs, classes, preparation })
    }

    /// How the network saw its images in training, at `side` pixels where asked; none where nothing says it.
    ///
    /// Errs when what lies beside the file makes no sense.
    pub(crate) fn transform(&self, side: Option<usize>) -> Result<Option<Transform>> {
        Ok(self.preparation.as_ref().map(|preparation| preparation.transform(side)).transpose()?.flatten())
    }

    /// Channels of the images that it takes.
    pub(crate) fn channels(&self) -> usize {
        let kernels = self.tensors.values().filter(|tensor| tensor.rank() == 4);
        match self.architecture {
            Architecture::Conv4(_) | Architecture::SmallCnn => {
                kernels.map(|kernel| kernel.dims()[1]).min().unwrap_or(3)
            }
            _ => 3,
        }
    }

    /// The state of a network with its head replaced.
    ///
    /// Errs, listing every key, when the weights don't fit.
    pub(crate) fn start(self, network: &Network, seed: u64) -> Result<State> {
        network.load(self.tensors, HeadPolicy::Replace { seed }).with_context(|| self.name)
    }

    /// The classifier that the weights are, head included.
    fn model(self, path: &Path) -> Result<Model> {
        let about = || path.display().to_string();
        if self.outputs == 0 {
            bail!("{}: has no head that names classes: fit one with `taper train DATA --weights {0}`", path.display());
        }
        let Some(labels) = self.classes.clone() else {
            bail!("{}: does not say what its {} classes are: say it with --classes", path.display(), self.outputs);
        };
        if labels.len() != self.outputs {
            bail!("{}: has {} classes, --classes names {}: name them all", path.display(), self.outputs, labels.len());
        }
        let transform = match self.transform(None)? {
            Some(transform) => transform,
            None => Preprocessing::usual(self.architecture).transform(None)?,
        };
        let input = transform.shape((3, 512, 512))?;
        let network = Network::new(self.architecture.backbone(input)?, Head::Linear { outputs: self.outputs });
        let state = network.load(self.tensors, HeadPolicy::Exact).with_context(about)?;
        let trained = Trained {
            method: CLASSIFIER.into(),
            on: self.name,
            classes: labels.clone(),
            settings: BTreeMap::new(),
            norm: TaskNorm::Stored.to_string(),
        };
        Ok(Model { network, state, labels, transform: transform.to_string(), trained })
    }
}

/// Names from a text: a file with one a line, or names with commas between.
fn class_names(text: &str) -> Result<Vec<String>> {
    let file = Path::new(text);
    let names = match file.is_file() {
        true => std::fs::read_to_string(file).with_context(|| text.to_string())?,
        false => text.replace(',', "\n"),
    };
    Ok(names.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect())
}
