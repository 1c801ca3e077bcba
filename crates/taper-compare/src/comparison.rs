//! A comparison: which methods, on which tasks, trained how.

use serde::{Deserialize, Serialize};
use taper_data::{Count, Scope, TaskShape, Transform};
use taper_learn::{TaskNorm, methods::SettingOverrides};
use taper_models::Architecture;

/// A comparison: which methods, on which tasks, trained how. As TOML it is a run's `config.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Comparison {
    /// Methods by their names in the registry; `in-program` is the built-in learner for line drawings.
    pub methods: Vec<String>,
    /// Classes per task.
    #[serde(with = "taper_learn::text")]
    pub ways: Count,
    /// Support images per class.
    #[serde(with = "taper_learn::text")]
    pub shots: Count,
    /// Query images per class.
    #[serde(with = "taper_learn::text")]
    pub queries: Count,
    /// Where the classes of a task come from; `None` stays within groups if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Test tasks, the same for every method.
    pub episodes: u64,
    /// Training runs per method, each with another seed.
    pub repeats: u64,
    /// Images that each method sees in training.
    pub images: u64,
    /// Network of every method.
    #[serde(with = "taper_learn::text")]
    pub backbone: Architecture,
    /// Side of the images that networks see, in pixels; `None` for the network's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_size: Option<usize>,
    /// Steps from image to input; `None` chooses by the look of the images.
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
    /// Settings of methods.
    #[serde(skip_serializing_if = "SettingOverrides::is_empty")]
    pub set: SettingOverrides,
    /// Whose statistics normalize a task; `None` for each method's own choice.
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub norm: Option<TaskNorm>,
    /// Learning rate of pretraining and meta-training.
    pub meta_lr: f64,
    /// Tasks per meta-training step.
    pub meta_batch_size: usize,
    /// Images per pretraining step.
    pub batch_size: usize,
    /// Steps of fine-tuning on a support set.
    pub tune_steps: u64,
    /// Learning rate of training on a support set from nothing; pretrained networks are fine-tuned at a tenth of it.
    pub lr: f64,
    /// Seed of every random choice.
    #[serde(with = "taper_learn::text")]
    pub seed: u64,
}

/// The methods compared unless others are asked for.
pub const DEFAULT_METHODS: [&str; 9] =
    ["pixels", "scratch", "nearest-mean", "linear-probe", "fine-tune", "multitask", "protonet", "maml", "in-program"];

/// The methods compared on photographs with pretrained weights, unless others are asked for: all but the floors start
/// from the weights.
pub const METHODS_FROM_WEIGHTS: [&str; 8] =
    ["pixels", "scratch", "nearest-mean", "ridge", "linear-probe", "protonet", "meta-baseline", "r2d2"];

impl Default for Comparison {
    fn default() -> Self {
        Self {
            methods: DEFAULT_METHODS.map(String::from).to_vec(),
            ways: Count::fixed(5),
            shots: Count::fixed(1),
            queries: Count::fixed(5),
            scope: None,
            episodes: 200,
            repeats: 1,
            images: 240_000,
            backbone: Architecture::Conv4(32),
            image_size: None,
            transform: None,
            set: SettingOverrides::default(),
            norm: None,
            meta_lr: 1e-3,
            meta_batch_size: 8,
            batch_size: 64,
            tune_steps: 40,
            lr: 3e-3,
            seed: 0,
        }
    }
}

impl Comparison {
    /// The shape of training and test tasks.
    ///
    /// # Errors
    /// Returns an error if such tasks would have nothing to learn or nothing to score.
    pub fn shape(&self) -> taper_data::Result<TaskShape> {
        TaskShape::new(self.ways, self.shots, self.queries)
    }

    /// Whether the method of this name is compared.
    pub(crate) fn asks_for(&self, name: &str) -> bool {
        self.methods.iter().any(|method| method == name)
    }
}
