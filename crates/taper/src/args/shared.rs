//! Options that several commands have.

use super::Usage;
use super::values::{positive, rate};
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use taper_data::{Count, TaskShape, Transform};
use taper_learn::{Method, TaskNorm};
use taper_models::Architecture;

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
    /// A published split of DATA's classes, as CSV: class,train or class,validation or class,test a
    /// line [default: by the seed, whole groups where there are some]
    #[arg(long, value_name = "FILE")]
    pub(crate) split: Option<PathBuf>,
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
    /// Steps from image to input, such as "resize(28x28) gray invert" [default: by looking at the images]
    #[arg(long)]
    pub(crate) transform: Option<Transform>,
}

/// Scores over several copies of an image.
#[derive(Args, Clone)]
pub(crate) struct ViewsOptions {
    /// Views of each image: itself, and copies by the random steps of the model's transform; the
    /// support set takes them all in, a query's scores are their mean
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = positive::<usize>)]
    pub(crate) views: usize,
}

/// What a weight file does not say of itself.
#[derive(Args, Clone, Default)]
pub(crate) struct WeightOptions {
    /// The network of a weight file [default: what data/weights.toml or its tensors tell]
    #[arg(long, value_name = "NAME")]
    pub(crate) arch: Option<Architecture>,
    /// The names of a weight file's classes, in the order of its outputs: with commas between, or a file with one a line
    #[arg(long, value_name = "NAMES")]
    pub(crate) classes: Option<String>,
}

/// A method's settings.
#[derive(Args, Clone)]
pub(crate) struct MethodOptions {
    /// Learning rate inside a task
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    pub(crate) inner_lr: Option<f64>,
    /// Gradient steps inside a task, in training
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) inner_steps: Option<usize>,
    /// Gradient steps inside a task, in use
    #[arg(long, value_parser = positive::<usize>)]
    pub(crate) adapt_steps: Option<usize>,
    /// Settings of the method, such as "inner-lr=0.4,inner-steps=5"; of one of several methods, "maml:inner-lr=0.4"
    #[arg(long, default_value = "")]
    pub(crate) set: Told,
    /// Whose statistics normalize a task: support, batch (queries see each other) or stored [default: the method's own]
    #[arg(long)]
    pub(crate) norm: Option<TaskNorm>,
}

impl MethodOptions {
    /// Settings that were told to `method`: by flags of their own, where it has them, and by --set.
    pub(crate) fn told(&self, method: &Method) -> BTreeMap<String, f64> {
        let flags = [
            ("inner-lr", self.inner_lr),
            ("inner-steps", self.inner_steps.map(|steps| steps as f64)),
            ("adapt-steps", self.adapt_steps.map(|steps| steps as f64)),
        ];
        let has = |name: &str| method.settings.iter().any(|setting| setting.name == name);
        let flags = flags.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?)));
        let said = self.set.0.iter().filter(|said| said.method.as_ref().is_none_or(|name| name == method.name));
        flags.filter(|(name, _)| has(name)).chain(said.map(|said| (said.setting.clone(), said.value))).collect()
    }
}

/// Settings told by `--set`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told(Vec<Said>);

#[derive(Debug, Clone)]
struct Said {
    method: Option<String>,
    setting: String,
    value: f64,
}

impl FromStr for Told {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let said = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| {
            let wrong = || format!("`{part}` is no setting, write inner-lr=0.4 or maml:inner-lr=0.4");
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let value = value.trim().parse().map_err(|_| wrong())?;
            let (method, setting) = match name.split_once(':') {
                Some((method, setting)) => (Some(method.trim().to_string()), setting),
                None => (None, name),
            };
            Ok(Said { method, setting: setting.trim().to_string(), value })
        });
        Ok(Self(said.collect::<Result<_, String>>()?))
    }
}
