//! Options that several commands have.

use super::Usage;
use super::values::{positive, rate};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use taper_data::{Count, TaskShape, Transform};
use taper_learn::TaskNorm;

/// What every run has.
#[derive(Args, Clone)]
pub(crate) struct RunOptions {
    /// Where to write the run (nothing is kept without it)
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Overwrite the run in --out
    #[arg(long)]
    pub(crate) force: bool,
    /// Go on with the run in this directory, with its own options
    #[arg(long, value_name = "DIR")]
    pub(crate) resume: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: CommonOptions,
}

/// What every command has.
#[derive(Args, Clone)]
pub(crate) struct CommonOptions {
    /// Read options from a TOML file; flags win
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Everything random follows from this number
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Threads to use [default: all cores]
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) threads: Option<usize>,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub(crate) device: DeviceName,
    /// Print one JSON object a line on standard output, and nothing else there
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceName {
    Cpu,
    Cuda,
    Metal,
}

/// The shape of tasks.
#[derive(Args, Clone)]
pub(crate) struct TaskOptions {
    /// Classes a task, a number or a range such as 5-20
    #[arg(long, default_value = "5")]
    pub(crate) ways: Count,
    /// Support images a class
    #[arg(long, default_value = "1")]
    pub(crate) shots: Count,
    /// Query images a class
    #[arg(long, default_value = "5")]
    pub(crate) queries: Count,
    /// Where the classes of a task come from [default: group where there are groups]
    #[arg(long, value_enum)]
    pub(crate) scope: Option<ScopeName>,
}

impl TaskOptions {
    /// Errs when such tasks would have nothing to learn or nothing to score.
    pub(crate) fn shape(&self) -> Result<TaskShape, Usage> {
        TaskShape::new(self.ways, self.shots, self.queries).map_err(|error| Usage(format!("--{error}")))
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScopeName {
    /// Anywhere in the data set
    All,
    /// Within one group, such as one alphabet
    Group,
}

/// How images reach the network.
#[derive(Args, Clone)]
pub(crate) struct ImageOptions {
    /// Side of the images that networks see [default: the backbone's usual one]
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) image_size: Option<usize>,
    /// Steps from image to input, such as "resize(28x28) grey invert" [default: by looking at the images]
    #[arg(long)]
    pub(crate) transform: Option<Transform>,
}

/// The inner loop of MAML.
#[derive(Args, Clone)]
pub(crate) struct InnerOptions {
    /// Learning rate inside a task
    #[arg(long, default_value_t = 0.1, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) inner_lr: f64,
    /// Gradient steps inside a task, in training
    #[arg(long, default_value_t = 3, value_parser = positive::<usize>)]
    pub(crate) inner_steps: usize,
    /// Gradient steps inside a task, in use
    #[arg(long, default_value_t = 10, value_parser = positive::<usize>)]
    pub(crate) adapt_steps: usize,
    /// Whose statistics normalise a task: support, batch (queries see each other) or stored
    #[arg(long, default_value = "support")]
    pub(crate) norm: TaskNorm,
}
