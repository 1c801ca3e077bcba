//! Options of `taper compare`.

use super::shared::{ImageOptions, MethodOptions, RunOptions, TaskOptions};
use super::values::{positive, rate};
use crate::registry::{Named, any_method};
use clap::{ArgAction, Args};
use std::path::PathBuf;
use taper_models::Architecture;

#[derive(Args, Clone)]
pub(crate) struct Compare {
    /// A data set; without one, invented handwriting (glyphs)
    #[arg(value_name = "DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Methods to compare, by name: any that `taper meta-train --help` lists, pixels and scratch; in-program is the learner that the program carries for line drawings
    #[arg(
        long,
        action = ArgAction::Set,
        value_delimiter = ',',
        value_parser = any_method(),
        default_value = "pixels,scratch,nearest-mean,linear-probe,fine-tune,multitask,protonet,maml,in-program"
    )]
    pub(crate) methods: Vec<Named>,
    #[command(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Test episodes, the same for every method
    #[arg(long, default_value_t = 200, value_parser = positive::<u64>)]
    pub(crate) episodes: u64,
    /// Images that each method sees in training
    #[arg(long, default_value_t = 240_000, value_parser = positive::<u64>)]
    pub(crate) images: u64,
    /// Backbone of every method
    #[arg(long, default_value = "conv4-32")]
    pub(crate) backbone: Architecture,
    /// Data to meta-train on where DATA has too few classes to split; "glyphs" for the embedded ones
    #[arg(long, default_value = "glyphs")]
    pub(crate) meta_data: String,
    /// Weights of a pretrained network, for rows of their own
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: ImageOptions,
    #[command(flatten)]
    pub(crate) settings: MethodOptions,
    /// Learning rate of pretraining and meta-training
    #[arg(long, default_value_t = 1e-3, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) meta_lr: f64,
    /// Tasks a meta-training step
    #[arg(long, default_value_t = 8, value_parser = positive::<usize>)]
    pub(crate) meta_batch_size: usize,
    /// Images a pretraining step
    #[arg(long, default_value_t = 64, value_parser = positive::<usize>)]
    pub(crate) batch_size: usize,
    /// Steps of fine-tuning on a support set
    #[arg(long, default_value_t = 40, value_parser = positive::<u64>)]
    pub(crate) tune_steps: u64,
    /// Learning rate of fine-tuning on a support set
    #[arg(long, default_value_t = 3e-3, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) lr: f64,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}
