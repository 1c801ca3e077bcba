//! A model on disk, in the Hugging Face layout: `model.safetensors` (torchvision's key names),
//! `config.json` (architecture, `id2label`, how it was trained) and `preprocessor_config.json`.

use crate::{LearnError, Result, network_part, write_directory};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use taper_models::{Head, Network, State, SymmetryEnsemble};

/// How a model came to be, and so how it is used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// The method's name, as `meta-train --method` takes it; `classifier` for a network whose head
    /// names the classes.
    pub method: String,
    /// What it was trained on, in words.
    pub on: String,
    /// Classes that it was trained on, by full name: no fair test uses them.
    pub classes: Vec<String>,
    /// The method's settings, such as `inner-lr`.
    pub settings: BTreeMap<String, f64>,
    /// Whose statistics normalize a task: `support`, `batch` or `stored`.
    pub norm: String,
}

/// A network with its numbers, its classes and the way images reach it.
#[derive(Debug, Clone)]
pub struct Model {
    /// The arithmetic.
    pub network: Network,
    /// The numbers.
    pub state: State,
    /// Names of the head's outputs; for a learner, those it was trained with.
    pub labels: Vec<String>,
    /// How images become inputs, in `taper-data`'s words.
    pub transform: String,
    /// How it came to be.
    pub trained: Trained,
}

#[derive(Serialize, Deserialize)]
struct Config {
    model_type: String,
    architectures: Vec<String>,
    input: (usize, usize, usize),
    head: HeadConfig,
    id2label: BTreeMap<usize, String>,
    label2id: BTreeMap<String, usize>,
    trained: Trained,
}

#[derive(Serialize, Deserialize)]
struct HeadConfig {
    outputs: usize,
    hidden: Option<usize>,
    /// Support images that a matching head keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    support: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct Preprocessor {
    transform: String,
}

const MODEL_TYPE: &str = "taper";

impl Model {
    /// Writes the directory; it appears under its name when it is whole.
    pub fn save(&self, path: &Path) -> Result<()> {
        let tensors: Vec<(&str, &Tensor)> = self.state.params.iter().chain(self.state.buffers.iter()).collect();
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        let weights = safetensors::serialize(tensors, Some(metadata))
            .map_err(|error| LearnError::Run { path: path.to_path_buf(), problem: error.to_string() })?;
        write_directory(
            path,
            &[
                ("model.safetensors", weights),
                ("config.json", json(&self.config())?.into_bytes()),
                ("preprocessor_config.json", json(&self.preprocessor())?.into_bytes()),
            ],
        )
    }

    /// The model as one file to be carried in a program: its tensors in half precision, and what
    /// else a directory holds in the file's metadata. The same model gives the same bytes.
    pub fn packed(&self) -> Result<Vec<u8>> {
        let half = |(name, tensor): (&str, &Tensor)| Ok((name.to_string(), tensor.to_dtype(DType::F16)?));
        let tensors: Vec<(String, Tensor)> =
            self.state.params.iter().chain(self.state.buffers.iter()).map(half).collect::<Result<_>>()?;
        // One entry, for metadata is written in no fixed order.
        let words = json(&(self.config(), self.preprocessor()))?;
        let metadata = HashMap::from([(MODEL_TYPE.to_string(), words)]);
        safetensors::serialize(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), Some(metadata))
            .map_err(|error| LearnError::Invalid(error.to_string()))
    }

    /// The model that [`Model::packed`] made a file of, in f32.
    ///
    /// Errs when the bytes are none.
    pub fn unpack(bytes: &[u8]) -> Result<Self> {
        let broken = |problem: String| LearnError::Invalid(format!("no packed model ({problem}), pack it again"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| broken(error.to_string()))?;
        let words = metadata.metadata().as_ref().and_then(|words| words.get(MODEL_TYPE));
        let words = words.ok_or_else(|| broken("it has no configuration".to_string()))?;
        let (config, preprocessor): (Config, Preprocessor) =
            serde_json::from_str(words).map_err(|error| broken(error.to_string()))?;
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?;
        let single = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::F32)?));
        Self::new(config, preprocessor, tensors.into_iter().map(single).collect::<Result<_>>()?)
    }

    fn config(&self) -> Config {
        let head = match self.network.head() {
            Head::Identity => HeadConfig { outputs: 0, hidden: None, support: None },
            Head::Linear { outputs } => HeadConfig { outputs, hidden: None, support: None },
            Head::Mlp { hidden, outputs } => HeadConfig { outputs, hidden: Some(hidden), support: None },
            Head::Matching { images, outputs } => HeadConfig { outputs, hidden: None, support: Some(images) },
        };
        Config {
            model_type: MODEL_TYPE.into(),
            architectures: vec![self.network.backbone().name()],
            input: self.network.backbone().input(),
            head,
            id2label: self.labels.iter().cloned().enumerate().collect(),
            label2id: self.labels.iter().cloned().enumerate().map(|(id, label)| (label, id)).collect(),
            trained: self.trained.clone(),
        }
    }

    fn preprocessor(&self) -> Preprocessor {
        Preprocessor { transform: self.transform.clone() }
    }

    /// A model of what was read.
    ///
    /// Errs when the tensors are another architecture's.
    fn new(config: Config, preprocessor: Preprocessor, tensors: HashMap<String, Tensor>) -> Result<Self> {
        let name = config.architectures.first().cloned().unwrap_or_default();
        let backbone = SymmetryEnsemble::or_plain(&name, config.input)?;
        let HeadConfig { outputs, hidden, support } = config.head;
        let head = match (hidden, support) {
            (_, Some(images)) => Head::Matching { images, outputs },
            (Some(hidden), None) => Head::Mlp { hidden, outputs },
            (None, None) if outputs == 0 => Head::Identity,
            (None, None) => Head::Linear { outputs },
        };
        let network = Network::new(backbone, head);
        let (buffers, params): (Vec<_>, Vec<_>) =
            tensors.into_iter().partition(|(name, _)| name.ends_with("running_mean") || name.ends_with("running_var"));
        let state = State { params: params.into_iter().collect(), buffers: buffers.into_iter().collect() };
        network.check(&network_part(&state))?;
        let labels = config.id2label.into_values().collect();
        Ok(Self { network, state, labels, transform: preprocessor.transform, trained: config.trained })
    }

    /// Reads a directory: a model's own, or a run's, whose `model/` is meant.
    ///
    /// Errs when a file is missing or broken, or the weights are another architecture's.
    pub fn load(path: &Path) -> Result<Self> {
        let nested = path.join("model");
        let path = if !path.join("config.json").exists() && nested.is_dir() { nested.as_path() } else { path };
        let text = |name: &str| {
            let file = path.join(name);
            fs::read_to_string(&file).map_err(|_| LearnError::Run {
                path: file,
                problem: "is missing: give a model directory or the --out directory of a finished run".into(),
            })
        };
        let broken = |name: &str, error: String| LearnError::Run {
            path: path.join(name),
            problem: format!("can't be read as a model of taper ({error})"),
        };
        let config: Config =
            serde_json::from_str(&text("config.json")?).map_err(|error| broken("config.json", error.to_string()))?;
        let preprocessor: Preprocessor = serde_json::from_str(&text("preprocessor_config.json")?)
            .map_err(|error| broken("preprocessor_config.json", error.to_string()))?;
        let file = path.join("model.safetensors");
        let bytes = fs::read(&file).map_err(|source| LearnError::File { path: file, source })?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|error| broken("model.safetensors", error.to_string()))?;
        Self::new(config, preprocessor, tensors)
    }
}

/// Readable JSON.
fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| LearnError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_models::Architecture;

    #[test]
    fn a_model_saved_and_loaded_gives_the_same_logits() {
        let folder = tempfile::tempdir().unwrap();
        let backbone = "conv4-8".parse::<Architecture>().unwrap().backbone((1, 16, 16)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 3 });
        let state = network.init(1).unwrap();
        let trained = Trained {
            method: "classifier".into(),
            on: "noise".into(),
            classes: vec![],
            settings: BTreeMap::new(),
            norm: "stored".into(),
        };
        let labels = ["a", "b", "c"].map(String::from).to_vec();
        let model = Model { network, state, labels, transform: "resize(16)".into(), trained };
        model.save(&folder.path().join("model")).unwrap();
        model.save(&folder.path().join("model")).unwrap();
        let back = Model::load(folder.path()).unwrap();
        let x = taper_ops::uniform(&mut taper_ops::rng(0, "x", 0), (2, 1, 16, 16), 0.0, 1.0).unwrap();
        let logits = |model: &Model| model.network.logits(&model.state, &x).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(logits(&model), logits(&back));
        assert_eq!(back.labels, model.labels);
        let packed = model.packed().unwrap();
        assert_eq!(packed, back.packed().unwrap());
        let apart = |a: &Model, b: &Model| {
            let pairs = logits(a).into_iter().flatten().zip(logits(b).into_iter().flatten());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let unpacked = Model::unpack(&packed).unwrap();
        assert!(apart(&model, &unpacked) < 1e-2 && unpacked.trained == model.trained);
        assert!(Model::unpack(&packed[..packed.len() / 2]).is_err());
        assert!(Model::load(&folder.path().join("nothing")).unwrap_err().to_string().contains("is missing"));
    }
}
