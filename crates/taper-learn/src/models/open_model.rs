//! Opening a model: a directory that Taper wrote, or a published weight file.

use crate::{
    LearnError, Model, Result, TaskNorm,
    methods::SettingValues,
    models::{CLASSIFIER, Origin},
    provenance::Provenance,
};
use std::path::Path;
use taper_data::Transform;
use taper_models::catalog::{Preprocessing, Pretrained, WeightHints};
use taper_models::{Head, HeadPolicy, Network};

impl Model {
    /// Opens the model at a path: a directory that Taper wrote, a run directory with one inside, or
    /// a weight file with a classification head.
    ///
    /// # Errors
    /// Returns an error if it can't be read, or if too little is known about a weight file.
    pub fn open(path: &Path, hints: &WeightHints) -> Result<Self> {
        let bare_weights = path.join("model.safetensors").is_file() && !path.join("config.json").is_file();
        if path.is_file() || bare_weights || Self::is_hub_folder(path) {
            return Self::of_weights(Pretrained::read(path, hints)?, path);
        }
        if *hints != WeightHints::default() {
            return Err(LearnError::Run {
                path: path.to_path_buf(),
                problem: "is a model directory, which states its own network and classes".into(),
            });
        }
        Self::load(path)
    }

    /// Published weights as a classifier, head included.
    fn of_weights(pretrained: Pretrained, path: &Path) -> Result<Self> {
        let wrong = |problem: String| LearnError::Run { path: path.to_path_buf(), problem };
        let outputs = pretrained.outputs;
        if outputs == 0 {
            return Err(wrong("has no classification head: train one on labeled images first".into()));
        }
        let Some(labels) = pretrained.classes.clone() else {
            return Err(wrong(format!("does not name its {outputs} classes: give their names")));
        };
        if labels.len() != outputs {
            return Err(wrong(format!("has {outputs} classes and {} names were given: name them all", labels.len())));
        }
        let steps = match &pretrained.preparation {
            Some(preparation) => preparation.steps(None)?,
            None => None,
        };
        let steps = match steps {
            Some(steps) => steps,
            None => Preprocessing::default_for(pretrained.architecture).steps(None)?,
        };
        let transform: Transform = steps.parse()?;
        let input = transform.shape((3, 512, 512))?;
        let network = Network::new(pretrained.architecture.backbone(input)?, Head::Linear { outputs });
        let state = pretrained.state(&network, HeadPolicy::Exact)?;
        let origin = Origin {
            method: CLASSIFIER.into(),
            on: pretrained.name,
            classes: labels.clone(),
            settings: SettingValues::new(),
            norm: TaskNorm::Stored.to_string(),
            revised: false,
        };
        let provenance = Provenance::unrecorded(&origin);
        Ok(Self { network, state, labels, transform: transform.to_string(), origin, provenance, support: None })
    }

    /// Returns `true` for a folder from the hub that is not one of Taper's models.
    pub fn is_hub_folder(path: &Path) -> bool {
        let Ok(text) = std::fs::read_to_string(path.join("config.json")) else { return false };
        let config: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        path.join("model.safetensors").is_file() && config.is_object() && config["model_type"] != "taper"
    }
}
