//! Options of `taper train`.

use super::shared::{ImageOptions, RunOptions};
use super::values::{Seconds, amount, concentration, positive, rate, share};
use clap::{Args, ValueEnum};
use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;
use taper_learn::{Average, Schedule};
use taper_models::{Architecture, Network, State};
use taper_transfer::{Mixing, Part, UnfreezePhase};

#[derive(Args, Clone)]
pub(crate) struct Train {
    /// A folder of class folders, or another data set; without one, glyphs
    #[arg(value_name = "DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Weights to start from; without them, from scratch
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// The network [default: the one that the weights fit; conv4-64 without]
    #[arg(long)]
    pub(crate) backbone: Option<Architecture>,
    /// Time for trying, with --weights and nothing said about how to train: 90s, 5m, 1h
    #[arg(long, default_value = "5m")]
    pub(crate) budget: Seconds,
    /// What replaces the head: linear, or mlp:1024 [default: linear]
    #[arg(long)]
    pub(crate) head: Option<String>,
    /// What stays as it is [default: backbone with --weights, nothing without]
    #[arg(long, value_enum)]
    pub(crate) freeze: Option<Freeze>,
    /// What is trained with --weights, the head always: stages or beginnings of names, such as
    /// layer4,layer3.2; or all, norms, biases or head. As gradual, or as gradual:layer4,layer3 for
    /// these alone: the head first, then with every epoch one stage more from the top
    #[arg(long, value_name = "PARTS", conflicts_with_all = ["freeze", "as_published"])]
    pub(crate) train: Option<Trained>,
    #[command(flatten)]
    pub(crate) image: ImageOptions,
    /// Passes over the training images [default: 10]
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) epochs: Option<u64>,
    /// Learning rate [default: 0.001]
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// The learning rate over the run
    #[arg(long, value_enum, default_value_t = ScheduleName::Constant)]
    pub(crate) schedule: ScheduleName,
    /// Images a step
    #[arg(long, default_value_t = 32, value_parser = positive::<usize>)]
    pub(crate) batch_size: usize,
    /// AdamW's decay of weights
    #[arg(long, default_value_t = 0.0, value_parser = amount, allow_negative_numbers = true)]
    pub(crate) weight_decay: f64,
    /// Batches whose gradients are averaged for a step
    #[arg(long, default_value_t = 1, value_parser = positive::<usize>)]
    pub(crate) accumulate: usize,
    /// Label smoothing
    #[arg(long, default_value_t = 0.0, value_parser = amount, allow_negative_numbers = true)]
    pub(crate) smoothing: f64,
    /// Train on weighted means of two images, the weight from Beta(A, A): 0.2 is usual
    #[arg(long, value_name = "A", value_parser = concentration, conflicts_with = "cutmix")]
    pub(crate) mixup: Option<f64>,
    /// Train on images with a rectangle of another, its area from Beta(A, A): 1 is usual
    #[arg(long, value_name = "A", value_parser = concentration)]
    pub(crate) cutmix: Option<f64>,
    /// Every class counts alike, whatever its number of images; --balance alone is --balance=loss
    #[arg(long, value_enum, value_name = "BY", num_args = 0..=1, require_equals = true,
        default_value_t = Balance::Off, default_missing_value = "loss")]
    pub(crate) balance: Balance,
    /// Keep an average of the weights: ema:0.999 or last:500
    #[arg(long, default_value_t = Average::Off)]
    pub(crate) average: Average,
    /// Stop after so many epochs without a better loss on a tenth of the training images, which is
    /// kept for that, and keep the best
    #[arg(long, value_name = "EPOCHS", value_parser = positive::<u64>)]
    pub(crate) patience: Option<u64>,
    /// Only look for a learning rate: 100 steps at rising rates, their losses as a curve
    #[arg(long, conflicts_with = "as_published")]
    pub(crate) find_lr: bool,
    /// Views of each validation image in the report, whose scores are their mean: itself, and copies
    /// by the random steps of --transform
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = positive::<usize>)]
    pub(crate) views: usize,
    /// Share of the images kept for validation where DATA has no val/ part
    #[arg(long, default_value_t = 0.2, value_parser = share, allow_negative_numbers = true)]
    pub(crate) validation: f64,
    /// As the recipe was published: dropout and batch statistics stay on in validation, frozen
    /// norms' running statistics move, nothing is cached
    #[arg(long)]
    pub(crate) as_published: bool,
    /// Where features of frozen networks are kept; "none" keeps none [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<String>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

impl Train {
    /// Is nothing said about how to train?
    pub(crate) fn says_nothing(&self) -> bool {
        let numbers = self.epochs.is_some() || self.lr.is_some() || self.accumulate > 1 || self.smoothing > 0.0;
        let numbers = numbers || self.schedule != ScheduleName::Constant;
        let parts = self.head.is_some() || self.freeze.is_some() || self.train.is_some();
        let ways = self.mixing() != Mixing::Off || self.average != Average::Off || self.patience.is_some();
        !(numbers
            || parts
            || ways
            || self.views > 1
            || self.balance != Balance::Off
            || self.find_lr
            || self.as_published)
    }

    /// How training images are mixed.
    pub(crate) fn mixing(&self) -> Mixing {
        match (self.mixup, self.cutmix) {
            (Some(alpha), _) => Mixing::Mixup(alpha),
            (None, Some(alpha)) => Mixing::CutMix(alpha),
            (None, None) => Mixing::Off,
        }
    }

    /// What is trained.
    pub(crate) fn part(&self) -> Part {
        match (&self.train, self.freeze) {
            (Some(train), _) => train.part.clone(),
            (None, Some(Freeze::Backbone)) => Part::Head,
            (None, Some(Freeze::Nothing)) => Part::All,
            (None, None) if self.weights.is_some() || self.as_published => Part::Head,
            (None, None) => Part::All,
        }
    }

    /// What of `network` with `state` is trained in which epochs.
    ///
    /// Errs when --train names what the network does not have.
    pub(crate) fn unfreeze_schedule(
        &self,
        network: &Network,
        state: &State,
    ) -> taper_learn::Result<Vec<UnfreezePhase>> {
        if self.gradual() {
            return self.part().unfreeze_schedule(network, state, self.epochs());
        }
        Ok(vec![UnfreezePhase { epoch: 0, trained: self.part().of(network, state)? }])
    }

    /// Is what is trained opened from the top, stage by stage?
    pub(crate) fn gradual(&self) -> bool {
        self.train.as_ref().is_some_and(|train| train.gradual)
    }

    /// Passes over the training images.
    pub(crate) fn epochs(&self) -> u64 {
        self.epochs.unwrap_or(10)
    }

    /// The learning rate.
    pub(crate) fn lr(&self) -> f64 {
        self.lr.unwrap_or(1e-3)
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freeze {
    /// All but the head
    Backbone,
    /// Nothing: train the whole network
    Nothing,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balance {
    /// Every image counts alike
    #[value(alias = "false")]
    Off,
    /// An image counts the more, the fewer its class has
    #[value(alias = "true")]
    Loss,
    /// Classes are drawn equally often
    Sampling,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScheduleName {
    /// The same throughout
    Constant,
    /// Up over the first tenth of the steps, then down to nothing along half a cosine
    Cosine,
    /// Up from a 25th over the first 30 % of the steps, then down to nearly nothing
    OneCycle,
}

impl ScheduleName {
    /// Over so many steps.
    pub(crate) fn over(self, steps: u64) -> Schedule {
        match self {
            Self::Constant => Schedule::Constant,
            Self::Cosine => Schedule::Cosine { warmup: steps / 10 },
            Self::OneCycle => Schedule::OneCycle,
        }
    }
}

/// What `--train` names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trained {
    part: Part,
    /// Opened from the top, stage by stage?
    gradual: bool,
}

impl FromStr for Trained {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let opened = if text == "gradual" { Some("all") } else { text.strip_prefix("gradual:") };
        let part = match opened.unwrap_or(text) {
            "all" => Part::All,
            "head" => Part::Head,
            "norms" => Part::Norms,
            "biases" => Part::Biases,
            names => Part::Named(names.split(',').map(|name| name.trim().to_string()).collect()),
        };
        Ok(Self { part, gradual: opened.is_some() })
    }
}
