//! Options of `taper meta-train`.

use super::shared::{ImageOptions, MethodOptions, RunOptions, TaskOptions};
use super::values::{self, positive, rate, share};
use crate::registry::{Named, trained_method};
use clap::{ArgAction, Args};
use std::path::PathBuf;
use std::str::FromStr;
use taper_learn::Average;
use taper_models::Architecture;

#[derive(Args, Clone)]
pub(crate) struct MetaTrain {
    /// A data set; without one, glyphs
    #[arg(value_name = "DATA")]
    pub(crate) data: Option<PathBuf>,
    /// How to learn
    #[arg(long, value_parser = trained_method(), default_value = "protonet")]
    pub(crate) method: Named,
    /// Invented alphabets to train on: beside DATA, or instead of it; drawn as they are needed
    #[arg(long, value_name = "N", value_parser = positive::<usize>)]
    pub(crate) glyphs: Option<usize>,
    /// Share of the tasks that come from --glyphs where there is DATA too
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    pub(crate) glyphs_share: f64,
    /// Another data set to take tasks from, with its share of them, such as drawings=0.3; more with
    /// commas between
    #[arg(long, value_name = "PATH=SHARE", action = ArgAction::Set, value_delimiter = ',')]
    pub(crate) also: Vec<Also>,
    /// Train on all classes: keep none for validation and for a test at the end
    #[arg(long)]
    pub(crate) train_on_all: bool,
    #[command(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Steps [default: 60000 tasks' worth; for multitask, --epochs times the tasks; for pretraining, --epochs times the images]
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) steps: Option<u64>,
    /// multitask: passes over the tasks
    #[arg(long, default_value_t = 10, value_parser = positive::<u64>)]
    pub(crate) epochs: u64,
    /// Images a step of pretraining or of multitask
    #[arg(long, default_value_t = 20, value_parser = positive::<usize>)]
    pub(crate) batch_size: usize,
    /// The network
    #[arg(long, default_value = "conv4-64")]
    pub(crate) backbone: Architecture,
    #[command(flatten)]
    pub(crate) image: ImageOptions,
    #[command(flatten)]
    pub(crate) settings: MethodOptions,
    /// The learner looks at each image in the eight symmetries of the square and compares by all of them: eight times
    /// the work in use, none in training
    #[arg(long)]
    pub(crate) turned: bool,
    /// Learning rate of the outer loop
    #[arg(long, default_value_t = 1e-3, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) meta_lr: f64,
    /// Tasks a step
    #[arg(long, default_value_t = 8, value_parser = positive::<usize>)]
    pub(crate) meta_batch_size: usize,
    /// Keep an average of the weights: ema:0.999 (each step's counts 0.999 times as much as the next
    /// one's), last:500 (of the last 500 steps), or off
    #[arg(long, default_value = "off")]
    pub(crate) average: Average,
    /// Steps between validations on classes of their own [default: a twentieth of the steps]
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) validate_every: Option<u64>,
    /// Validation episodes
    #[arg(long, default_value_t = 100, value_parser = positive::<u64>)]
    pub(crate) validation_episodes: u64,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 50, value_parser = positive::<u64>)]
    pub(crate) save_every: u64,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

/// A data set that is mixed in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Also {
    pub(crate) path: PathBuf,
    /// Of all tasks.
    pub(crate) share: f64,
}

impl FromStr for Also {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, share) = text.rsplit_once('=').ok_or("give a path and a share, such as drawings=0.3")?;
        Ok(Self { path: path.into(), share: values::share(share)? })
    }
}
