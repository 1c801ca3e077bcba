//! Options of `taper train`.

use super::shared::{ImageOptions, RunOptions};
use super::values::{Seconds, amount, positive, rate, share};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use taper_models::Architecture;

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
    #[command(flatten)]
    pub(crate) image: ImageOptions,
    /// Passes over the training images [default: 10]
    #[arg(long, value_parser = positive::<u64>)]
    pub(crate) epochs: Option<u64>,
    /// Learning rate [default: 0.001]
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// Images a step
    #[arg(long, default_value_t = 32, value_parser = positive::<usize>)]
    pub(crate) batch_size: usize,
    /// AdamW's decay of weights
    #[arg(long, default_value_t = 0.0, value_parser = amount, allow_negative_numbers = true)]
    pub(crate) weight_decay: f64,
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
        let said = self.head.is_some() || self.epochs.is_some() || self.lr.is_some() || self.freeze.is_some();
        !said && !self.as_published
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
