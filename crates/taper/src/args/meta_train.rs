//! Options of `taper meta-train`.

use super::UsageError;
use super::shared::{ImageOptions, LabelOptions, MethodOptions, RunOptions, TaskOptions, method_names};
use super::values::{InputPath, positive, rate, share};
use clap::{ArgAction, Args};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use taper_compare::LearnerTraining;
use taper_learn::{Method, methods::Training, training::Average};
use taper_models::Architecture;

#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MetaTrain {
    /// A data set [default: the built-in glyphs]
    #[arg(value_name = "DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<InputPath>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) labels: LabelOptions,
    /// The method
    #[arg(long, value_parser = method_names(true), default_value = "protonet")]
    pub(crate) method: String,
    /// Synthetic alphabets to train on, alongside DATA or instead of it; generated as needed
    #[arg(long, value_name = "N", value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) glyphs: Option<usize>,
    /// Share of the tasks that come from --glyphs if there is DATA too
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    pub(crate) glyphs_share: f64,
    /// More data sets to draw tasks from, each with its share of all tasks, such as
    /// drawings=0.3,photos=0.2
    #[arg(long, value_name = "PATH=SHARE", action = ArgAction::Set, value_delimiter = ',')]
    pub(crate) also: Vec<Also>,
    /// Train on all classes: hold out none for validation and for the final test
    #[arg(long)]
    pub(crate) train_on_all: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Training steps [default: enough for 60000 tasks, or for 12000 images from --weights; for multitask and
    /// pretraining, from --epochs]
    #[arg(long, value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<u64>,
    /// Passes over the tasks (multitask) or over the images (pretraining)
    #[arg(long, default_value_t = 10, value_parser = positive::<u64>)]
    pub(crate) epochs: u64,
    /// Images per step of pretraining or of multitask
    #[arg(long, default_value_t = 20, value_parser = positive::<usize>)]
    pub(crate) batch_size: usize,
    /// Mini-batches of --batch-size images per pretraining step, each normalized by itself; processes divide them
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batches_per_step: Option<usize>,
    /// The network, if it is trained from nothing [default: conv4-64]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) backbone: Option<Architecture>,
    /// Pretrained weights to start from, whose last stage is trained: a file, or the name of fetched ones;
    /// for protonet, meta-baseline, r2d2, matching and meta-opt-net
    #[arg(long, value_name = "FILE|NAME", conflicts_with_all = ["backbone", "transform"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<InputPath>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) image: ImageOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) settings: MethodOptions,
    /// Compare images over all eight rotations and reflections of the square: 8x the cost at inference,
    /// no extra cost in training
    #[arg(long, alias = "turned")]
    pub(crate) symmetries: bool,
    /// Learning rate of the outer loop [default: 0.001, or 0.0001 from --weights]
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_lr: Option<f64>,
    /// Tasks per step [default: 8, or 2 from --weights]
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_batch_size: Option<usize>,
    /// Average the weights: ema:0.999 (exponential, decay 0.999), last:500 (mean over the last 500 steps)
    /// or off
    #[arg(long, default_value = "off")]
    #[serde(with = "taper_learn::text")]
    pub(crate) average: Average,
    /// Steps between validations on held-out classes [default: a twentieth of the steps, or a quarter from
    /// --weights]
    #[arg(long, value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) validate_every: Option<u64>,
    /// Tasks per validation
    #[arg(long, default_value_t = 100, value_parser = positive::<u64>)]
    pub(crate) validation_episodes: u64,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 50, value_parser = positive::<u64>)]
    pub(crate) save_every: u64,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunOptions,
}

impl MetaTrain {
    /// The training that the options describe.
    pub(crate) fn training(&self, method: &dyn Method) -> LearnerTraining {
        let usual = LearnerTraining::default();
        LearnerTraining {
            method: self.method.clone(),
            settings: self.settings.overrides(&[method]).of(method.info().name),
            ways: self.tasks.ways,
            shots: self.tasks.shots,
            queries: self.tasks.queries,
            scope: self.tasks.scope(),
            train_on_all: self.train_on_all,
            steps: self.steps,
            epochs: self.epochs,
            batch_size: self.batch_size,
            batches_per_step: self.batches_per_step,
            backbone: self.backbone.unwrap_or(usual.backbone),
            image_size: self.image.image_size,
            transform: self.image.transform.clone(),
            norm: self.settings.norm,
            symmetries: self.symmetries,
            meta_lr: self.meta_lr,
            meta_batch_size: self.meta_batch_size,
            average: self.average,
            validate_every: self.validate_every,
            validation_episodes: self.validation_episodes,
            save_every: self.save_every,
            seed: self.run.common.seed,
        }
    }

    /// Refuses options that the method ignores.
    pub(crate) fn check(&self, method: &dyn Method) -> Result<(), UsageError> {
        let not_averaged = self.average == Average::Off;
        let ignored = match method.info().training {
            _ if self.weights.is_some() => vec![
                ("--also", !self.also.is_empty()),
                ("--glyphs", self.glyphs.is_some()),
                ("--average", !not_averaged),
                ("--symmetries", self.symmetries),
                ("--batches-per-step", self.batches_per_step.is_some()),
            ],
            Training::Episodes { pretrained: false } => {
                vec![("--batches-per-step", self.batches_per_step.is_some())]
            }
            Training::SharedTasks => vec![
                ("--batches-per-step", self.batches_per_step.is_some()),
                ("--also", !self.also.is_empty()),
                ("--glyphs beside DATA", self.data.is_some() && self.glyphs.is_some()),
                ("--average", !not_averaged),
                ("--split", self.tasks.split.is_some()),
                ("--train-on-all", self.train_on_all),
                ("--validate-every", self.validate_every.is_some()),
                ("--symmetries", self.symmetries),
            ],
            Training::Pretraining => vec![
                ("--also", !self.also.is_empty()),
                ("--glyphs together with DATA", self.data.is_some() && self.glyphs.is_some()),
                ("--validate-every", self.validate_every.is_some()),
            ],
            _ => Vec::new(),
        };
        let who = match &self.weights {
            Some(_) => "training from --weights",
            None => method.info().name,
        };
        match ignored.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(UsageError(format!("{who} does not use {option}: remove it"))),
            None => Ok(()),
        }
    }
}

/// An additional data set.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Also {
    pub(crate) path: InputPath,
    /// Its share of all tasks.
    pub(crate) share: f64,
}

impl FromStr for Also {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, text) = text.rsplit_once('=').ok_or("give a path and a share, such as drawings=0.3")?;
        let Ok(path) = path.parse();
        Ok(Self { path, share: share(text)? })
    }
}

impl fmt::Display for Also {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.path.path().display(), self.share)
    }
}

impl Serialize for Also {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
