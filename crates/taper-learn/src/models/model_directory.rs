//! A model on disk, in the Hugging Face layout: `model.safetensors` (torchvision's key names),
//! `config.json` (architecture, `id2label`, how it was trained, and what timm reads) and `preprocessor_config.json`;
//! `provenance.safetensors`, the images it was trained, validated and chosen on; and `support.safetensors`, what it keeps
//! of the labeled images it was made from.

use crate::{
    LearnError, Result,
    methods::network_part,
    models::{CLASSIFIER, Origin},
    provenance::Provenance,
    runs::{Existing, RunRecord, read_if_there, readable, write_directory},
    support::Support,
};
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::time::Duration;
use taper_models::{Head, Network, State, named_backbone};

/// A network with its parameters, its classes and its preprocessing.
#[derive(Debug, Clone)]
pub struct Model {
    /// The architecture.
    pub network: Network,
    /// Parameters and running statistics.
    pub state: State,
    /// Names of the head's outputs; for a learner, those it was trained with.
    pub labels: Vec<String>,
    /// How images become inputs, in the transform language of `taper-data`.
    pub transform: String,
    /// How it was made.
    pub origin: Origin,
    /// The images it was trained, validated and chosen on.
    pub provenance: Provenance,
    /// The labeled images that it was made from; `None` for a learner, and for classifiers that kept none.
    pub support: Option<Support>,
}

#[derive(Serialize, Deserialize)]
struct Config {
    model_type: String,
    architectures: Vec<String>,
    input: (usize, usize, usize),
    head: HeadConfig,
    id2label: BTreeMap<usize, String>,
    label2id: BTreeMap<String, usize>,
    #[serde(rename = "trained")]
    origin: Origin,
}

impl Config {
    /// Fails if it is not a model of Taper, or if a classifier's classes are not those of its outputs.
    fn check(&self) -> std::result::Result<(), String> {
        if self.model_type != MODEL_TYPE {
            return Err(format!("is of a `{}` model, not of Taper: give a model that Taper saved", self.model_type));
        }
        // a learner's names are those of the classes that it was trained with
        if self.origin.method != CLASSIFIER || self.head.outputs == 0 {
            return Ok(());
        }
        let (names, outputs) = (self.id2label.len(), self.head.outputs);
        let numbered = self.id2label.keys().copied().eq(0..names);
        if !numbered || names != outputs {
            return Err(format!(
                "names {names} classes for {outputs} outputs in `id2label`: number them from 0 to {}, or save the model again",
                outputs.saturating_sub(1)
            ));
        }
        let different: BTreeSet<&String> = self.id2label.values().collect();
        match different.len() == names {
            true => Ok(()),
            false => Err("has one name for several classes in `id2label`: give each its own".into()),
        }
    }
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

const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const PREPROCESSOR: &str = "preprocessor_config.json";
const PROVENANCE: &str = "provenance.safetensors";
const SUPPORT: &str = "support.safetensors";

/// The files of a model directory; others in it are not Taper's.
pub(crate) const MODEL_FILES: [&str; 5] = [WEIGHTS, CONFIG, PREPROCESSOR, PROVENANCE, SUPPORT];

impl Model {
    /// Writes the directory. If killed at any time, either the complete old model or this one remains. Other
    /// files in the directory are not touched.
    ///
    /// # Errors
    /// Returns an error if the directory holds anything but a Taper model, or can't be written.
    ///
    /// ```
    /// use taper_learn::{Model, methods::SettingValues, models::Origin, provenance::Provenance};
    /// use taper_models::{Architecture, Head, Network};
    ///
    /// let backbone = "conv4-4".parse::<Architecture>()?.backbone((1, 16, 16))?;
    /// let network = Network::new(backbone, Head::Linear { outputs: 2 });
    /// let model = Model {
    ///     state: network.init(0)?,
    ///     network,
    ///     labels: vec!["cat".into(), "dog".into()],
    ///     transform: "gray resize(16x16)".into(),
    ///     origin: Origin {
    ///         method: "classifier".into(),
    ///         on: "pets".into(),
    ///         classes: Vec::new(),
    ///         settings: SettingValues::new(),
    ///         norm: "stored".into(),
    ///         revised: false,
    ///     },
    ///     provenance: Provenance::default(),
    ///     support: None,
    /// };
    /// let folder = tempfile::tempdir()?;
    /// model.save(&folder.path().join("model"))?;
    /// assert_eq!(Model::load(&folder.path().join("model"))?.labels, model.labels);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save(&self, path: &Path) -> Result<()> {
        Self::check_target(path, Existing::Replace)?;
        let tensors: Vec<(&str, &Tensor)> = self.state.params.iter().chain(self.state.buffers.iter()).collect();
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        let weights = safetensors::serialize(tensors, Some(metadata))
            .map_err(|error| LearnError::Run { path: path.to_path_buf(), problem: error.to_string() })?;
        write_directory(
            path,
            &[
                (WEIGHTS, weights),
                (CONFIG, self.config_for_all()?.into_bytes()),
                (PREPROCESSOR, json(&self.preprocessor())?.into_bytes()),
                (PROVENANCE, self.provenance.to_bytes()?),
                (SUPPORT, Support::to_bytes(self.support.as_ref(), self.features_in_head().is_some())?),
            ],
        )
    }

    /// Checks that a model may be saved at `path`: nothing is there, an empty directory, or, with
    /// [`Existing::Replace`], a Taper model.
    ///
    /// # Errors
    /// Returns an error if anything else is there.
    pub fn check_target(path: &Path, existing: Existing) -> Result<()> {
        if !path.exists() || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) {
            return Ok(());
        }
        let foreign = MODEL_FILES.iter().any(|name| path.join(name).exists());
        let in_run = path.parent().is_some_and(RunRecord::is_run) && !foreign;
        if !is_model(path) && !in_run {
            let problem = "exists but is not a Taper model directory (a run directory is not one either): choose another directory".into();
            return Err(LearnError::Run { path: path.to_path_buf(), problem });
        }
        match existing {
            Existing::Replace => Ok(()),
            Existing::Refuse => Err(LearnError::Exists { path: path.to_path_buf(), what: "model" }),
        }
    }

    /// The model as one file to be embedded in a program: its tensors in half precision, with the
    /// configuration in the file's metadata and without provenance. The same model gives the same
    /// bytes.
    ///
    /// # Errors
    /// Returns an error if a tensor can't be converted.
    pub fn packed(&self) -> Result<Vec<u8>> {
        let half = |(name, tensor): (&str, &Tensor)| Ok((name.to_string(), tensor.to_dtype(DType::F16)?));
        let tensors: Vec<(String, Tensor)> =
            self.state.params.iter().chain(self.state.buffers.iter()).map(half).collect::<Result<_>>()?;
        // a single entry, because the order of metadata entries is not fixed
        let words = json(&(self.config(), self.preprocessor()))?;
        let metadata = HashMap::from([(MODEL_TYPE.to_string(), words)]);
        safetensors::serialize(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), Some(metadata))
            .map_err(|error| LearnError::Invalid(error.to_string()))
    }

    /// Reads a model that [`Model::packed`] wrote, in f32.
    ///
    /// # Errors
    /// Returns an error if the bytes are not a packed model.
    pub fn unpack(bytes: &[u8]) -> Result<Self> {
        let broken = |problem: String| LearnError::Invalid(format!("not a packed model ({problem}): pack it again"));
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| broken(error.to_string()))?;
        let words = metadata.metadata().as_ref().and_then(|words| words.get(MODEL_TYPE));
        let words = words.ok_or_else(|| broken("it has no configuration".to_string()))?;
        let (config, preprocessor): (Config, Preprocessor) =
            serde_json::from_str(words).map_err(|error| broken(error.to_string()))?;
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?;
        let single = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::F32)?));
        Self::new(config, preprocessor, tensors.into_iter().map(single).collect::<Result<_>>()?)
    }

    /// The labeled images' features that a matching head holds itself.
    fn features_in_head(&self) -> Option<&Tensor> {
        let Head::Matching { images, .. } = self.network.head() else { return None };
        let name = format!("{}.support", self.network.backbone().head_name());
        let kept = self.state.params.get(&name).ok().filter(|_| images > 0)?;
        // several views of an image are several rows, of which the labeled images' list has one
        self.support.as_ref().is_none_or(|support| support.len() == images).then_some(kept)
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
            origin: self.origin.clone(),
        }
    }

    /// The configuration, with what timm reads if it has such a network.
    fn config_for_all(&self) -> Result<String> {
        let broken = |error: serde_json::Error| LearnError::Invalid(error.to_string());
        let mut config = serde_json::to_value(self.config()).map_err(broken)?;
        if let (Some(config), Ok(serde_json::Value::Object(timm))) = (config.as_object_mut(), self.timm_config()) {
            config.extend(timm);
        }
        json(&config)
    }

    fn preprocessor(&self) -> Preprocessor {
        Preprocessor { transform: self.transform.clone() }
    }

    /// Assembles a model from its files. Fails if the tensors are another architecture's.
    fn new(config: Config, preprocessor: Preprocessor, tensors: HashMap<String, Tensor>) -> Result<Self> {
        let name = config.architectures.first().cloned().unwrap_or_default();
        let backbone = named_backbone(&name, config.input)?;
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
        let provenance = Provenance::unrecorded(&config.origin);
        let transform = preprocessor.transform;
        Ok(Self { network, state, labels, transform, origin: config.origin, provenance, support: None })
    }

    /// Reads a model directory, or a run directory's `model/`. The model is whole even while another
    /// process replaces it.
    ///
    /// # Errors
    /// Returns an error if a file is missing or damaged, or the weights are another architecture's.
    pub fn load(path: &Path) -> Result<Self> {
        let inner = path.join("model");
        for _ in 0..ATTEMPTS {
            let found = if path.join(CONFIG).exists() {
                Some(path.to_path_buf())
            } else {
                readable(&inner, &MODEL_FILES).or_else(|| readable(path, &MODEL_FILES))
            };
            let folder = found.as_deref().unwrap_or(path);
            let words = Words::read(folder)?;
            let weights = fs::read(folder.join(WEIGHTS));
            // if the configuration is the same before and after, the weights in between belong to it
            if Words::read(folder)? == words {
                return words.into_model(folder, weights);
            }
            std::thread::sleep(PAUSE);
        }
        let problem = "is replaced again and again by another process: wait for its end".into();
        Err(LearnError::Run { path: path.to_path_buf(), problem })
    }
}

/// How often to retry reading a model that another process is replacing.
const ATTEMPTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// Whether a directory holds a Taper model.
fn is_model(folder: &Path) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        model_type: String,
    }
    let kind = fs::read(folder.join(CONFIG)).ok().and_then(|bytes| serde_json::from_slice::<Kind>(&bytes).ok());
    kind.is_some_and(|kind| kind.model_type == MODEL_TYPE)
}

/// The content of a model directory without the weights; `None` for a file that is not there.
#[derive(PartialEq)]
struct Words {
    config: Option<Vec<u8>>,
    preprocessor: Option<Vec<u8>>,
    provenance: Option<Vec<u8>>,
    support: Option<Vec<u8>>,
}

impl Words {
    /// Fails if a file is there but can't be read: what it says would be lost when the model is saved again.
    fn read(folder: &Path) -> Result<Self> {
        let read = |name: &str| read_if_there(&folder.join(name));
        Ok(Self {
            config: read(CONFIG)?,
            preprocessor: read(PREPROCESSOR)?,
            provenance: read(PROVENANCE)?,
            support: read(SUPPORT)?,
        })
    }

    fn into_model(self, folder: &Path, weights: std::io::Result<Vec<u8>>) -> Result<Model> {
        let broken = |name: &str, error: String| LearnError::Run {
            path: folder.join(name),
            problem: format!("can't be read as part of a Taper model ({error}): save the model again"),
        };
        let there = |name: &str, bytes: Option<Vec<u8>>| {
            bytes.ok_or_else(|| LearnError::Run {
                path: folder.join(name),
                problem: "is missing: give a model directory or the directory of a finished run".into(),
            })
        };
        let config: Config =
            serde_json::from_slice(&there(CONFIG, self.config)?).map_err(|error| broken(CONFIG, error.to_string()))?;
        let preprocessor: Preprocessor = serde_json::from_slice(&there(PREPROCESSOR, self.preprocessor)?)
            .map_err(|error| broken(PREPROCESSOR, error.to_string()))?;
        config.check().map_err(|problem| LearnError::Run { path: folder.join(CONFIG), problem })?;
        let weights = weights.map_err(|source| LearnError::File { path: folder.join(WEIGHTS), source })?;
        let tensors = candle_core::safetensors::load_buffer(&weights, &Device::Cpu)
            .map_err(|error| broken(WEIGHTS, error.to_string()))?;
        let model = Model::new(config, preprocessor, tensors)?;
        let provenance = self.provenance.as_deref().map(Provenance::from_bytes).transpose();
        let provenance = provenance.map_err(|error| broken(PROVENANCE, error))?;
        let provenance = provenance.unwrap_or_else(|| model.provenance.clone());
        // directories of earlier versions have no such file
        let support =
            self.support.as_deref().map(|bytes| Support::from_bytes(bytes, model.features_in_head())).transpose();
        let support = support.map_err(|error| broken(SUPPORT, error))?.flatten();
        let classes = model.labels.len();
        if support.iter().flat_map(|support| &support.labels).any(|&label| label as usize >= classes) {
            return Err(broken(SUPPORT, format!("it has images of more than {classes} classes")));
        }
        Ok(Model { provenance, support, ..model })
    }
}

/// Readable JSON.
fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|error| LearnError::Invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::SettingValues;
    use taper_models::Architecture;

    /// A classifier of three classes.
    fn classifier() -> Model {
        let backbone = "conv4-8".parse::<Architecture>().unwrap().backbone((1, 16, 16)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 3 });
        let state = network.init(1).unwrap();
        let origin = Origin {
            method: "classifier".into(),
            on: "noise".into(),
            classes: vec![],
            settings: SettingValues::new(),
            norm: "stored".into(),
            revised: false,
        };
        let labels = ["a", "b", "c"].map(String::from).to_vec();
        Model {
            network,
            state,
            labels,
            transform: "resize(16)".into(),
            provenance: Provenance::unrecorded(&origin),
            origin,
            support: None,
        }
    }

    #[test]
    fn a_model_saved_and_loaded_gives_the_same_logits() {
        let folder = tempfile::tempdir().unwrap();
        let model = classifier();
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
        assert!(apart(&model, &unpacked) < 1e-2 && unpacked.origin == model.origin);
        assert!(Model::unpack(&packed[..packed.len() / 2]).is_err());
        assert!(Model::load(&folder.path().join("nothing")).unwrap_err().to_string().contains("is missing"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_taken_for_a_missing_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        classifier().save(&path).unwrap();
        for name in [SUPPORT, PROVENANCE, CONFIG] {
            let aside = folder.path().join("aside");
            let there = path.join(name);
            let had = there.exists();
            if had {
                fs::rename(&there, &aside).unwrap();
            }
            // a directory in a file's place can't be read, whoever asks
            fs::create_dir(&there).unwrap();
            let error = Model::load(&path).unwrap_err();
            assert!(matches!(&error, LearnError::File { path, .. } if path.ends_with(name)), "{error}");
            fs::remove_dir(&there).unwrap();
            if had {
                fs::rename(&aside, &there).unwrap();
            }
        }
        Model::load(&path).unwrap();
    }

    #[test]
    fn classes_that_do_not_fit_the_outputs_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        classifier().save(&path).unwrap();
        let config = path.join(CONFIG);
        let whole: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        type Damage = fn(&mut serde_json::Value);
        let damages: [(&str, Damage); 4] = [
            ("names 2 classes for 3 outputs", |config| _ = config["id2label"].as_object_mut().unwrap().remove("1")),
            ("names 4 classes for 3 outputs", |config| config["id2label"]["3"] = "d".into()),
            ("one name for several classes", |config| config["id2label"]["2"] = "a".into()),
            ("`taper9`", |config| config["model_type"] = "taper9".into()),
        ];
        for (problem, damage) in damages {
            let mut config_now = whole.clone();
            damage(&mut config_now);
            fs::write(&config, config_now.to_string()).unwrap();
            let error = Model::load(&path).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
