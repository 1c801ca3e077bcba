//! Options of `taper compare`.

use super::shared::{ImageOptions, LabelOptions, MethodOptions, RunOptions, TaskOptions, method_names};
use super::values::{InputPath, positive, rate};
use clap::{ArgAction, Args};
use serde::Serialize;
use taper_compare::{Comparison, DEFAULT_METHODS, method};
use taper_models::Architecture;

#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Compare {
    /// A data set; without one, synthetic handwriting (glyphs)
    #[arg(value_name = "DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<InputPath>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) labels: LabelOptions,
    /// Methods to compare: any listed by `taper meta-train --help`, plus pixels, scratch and in-program
    /// (the built-in learner for line drawings)
    #[arg(
        long,
        action = ArgAction::Set,
        value_delimiter = ',',
        value_parser = method_names(false),
        hide_possible_values = true,
        default_values = DEFAULT_METHODS
    )]
    pub(crate) methods: Vec<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) tasks: TaskOptions,
    /// Test tasks, the same for every method
    #[arg(long, default_value_t = Comparison::default().episodes, value_parser = positive::<u64>)]
    pub(crate) episodes: u64,
    /// Training runs per method, each with another seed; more of them make the verdict surer
    #[arg(long, default_value_t = Comparison::default().repeats, value_parser = positive::<u64>)]
    pub(crate) repeats: u64,
    /// Images that each method sees in training
    #[arg(long, default_value_t = Comparison::default().images, value_parser = positive::<u64>)]
    pub(crate) images: u64,
    /// Network of every method
    #[arg(long, default_value_t = Comparison::default().backbone)]
    #[serde(with = "taper_learn::text")]
    pub(crate) backbone: Architecture,
    /// Data set to train on if DATA has too few classes to split; "glyphs" is the built-in one
    #[arg(long, default_value = "glyphs")]
    pub(crate) meta_data: InputPath,
    /// Weights of a pretrained network, for rows of their own
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<InputPath>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) image: ImageOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) settings: MethodOptions,
    /// Learning rate of pretraining and meta-training
    #[arg(long, default_value_t = Comparison::default().meta_lr, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) meta_lr: f64,
    /// Tasks per meta-training step
    #[arg(long, default_value_t = Comparison::default().meta_batch_size, value_parser = positive::<usize>)]
    pub(crate) meta_batch_size: usize,
    /// Images per pretraining step
    #[arg(long, default_value_t = Comparison::default().batch_size, value_parser = positive::<usize>)]
    pub(crate) batch_size: usize,
    /// Steps of fine-tuning on a support set
    #[arg(long, default_value_t = Comparison::default().tune_steps, value_parser = positive::<u64>)]
    pub(crate) tune_steps: u64,
    /// Learning rate of fine-tuning on a support set
    #[arg(long, default_value_t = Comparison::default().lr, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) lr: f64,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunOptions,
}

impl Compare {
    /// The comparison that the options describe.
    pub(crate) fn comparison(&self) -> Comparison {
        let methods: Vec<_> = self.methods.iter().filter_map(|name| method(name).ok()).collect();
        Comparison {
            methods: self.methods.clone(),
            ways: self.tasks.ways,
            shots: self.tasks.shots,
            queries: self.tasks.queries,
            scope: self.tasks.scope(),
            episodes: self.episodes,
            repeats: self.repeats,
            images: self.images,
            backbone: self.backbone,
            image_size: self.image.image_size,
            transform: self.image.transform.clone(),
            set: self.settings.overrides(&methods),
            norm: self.settings.norm,
            meta_lr: self.meta_lr,
            meta_batch_size: self.meta_batch_size,
            batch_size: self.batch_size,
            tune_steps: self.tune_steps,
            lr: self.lr,
            seed: self.run.common.seed,
        }
    }
}
