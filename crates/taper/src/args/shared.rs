//! Options that several commands have.

use super::UsageError;
use super::values::{InputPath, positive, rate};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use taper_compare::comparable;
use taper_data::{Columns, Count, Scope, TaskShape, Transform};
use taper_learn::{
    Method, TaskNorm,
    methods::{SettingOverrides, Training},
};
use taper_models::Architecture;
use taper_models::catalog::WeightHints;

/// Options of every command that starts a run.
#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunOptions {
    /// Where to write the run; without it, nothing is saved
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) out: Option<PathBuf>,
    /// Overwrite the run in --out
    #[arg(long)]
    #[serde(skip)]
    pub(crate) force: bool,
    /// Resume the run in this directory, with its own options
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) resume: Option<PathBuf>,
    /// Also write event files for TensorBoard into the run, in tensorboard/
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tensorboard: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: CommonOptions,
}

/// Options of every command.
#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CommonOptions {
    /// Read options from a TOML file; options on the command line win
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    #[serde(with = "taper_learn::text")]
    pub(crate) seed: u64,
    /// Threads to use [default: all cores]
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip)]
    pub(crate) threads: Option<usize>,
    /// Where to compute: this build supports only the CPU
    #[arg(long, hide = true, default_value = "cpu")]
    #[serde(skip)]
    pub(crate) device: String,
    /// Write only JSON to standard output, one object per line
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}

/// The shape of tasks.
#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TaskOptions {
    /// Classes per task: a number, or a range such as 5-20
    #[arg(long, default_value = "5")]
    #[serde(with = "taper_learn::text")]
    pub(crate) ways: Count,
    /// Support images per class
    #[arg(long, default_value = "1")]
    #[serde(with = "taper_learn::text")]
    pub(crate) shots: Count,
    /// Query images per class
    #[arg(long, default_value = "5")]
    #[serde(with = "taper_learn::text")]
    pub(crate) queries: Count,
    /// Where the classes of a task come from [default: group if there are groups]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<ScopeName>,
    /// Published split of DATA's classes: a CSV of CLASS,PART lines, PART being train, validation or
    /// test [default: by --seed, in whole groups if 3 or more]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<InputPath>,
}

impl TaskOptions {
    /// Fails if such tasks would have nothing to learn or nothing to score.
    pub(crate) fn shape(&self) -> Result<TaskShape, UsageError> {
        TaskShape::new(self.ways, self.shots, self.queries).map_err(|error| UsageError(format!("--{error}")))
    }

    /// The scope that was asked for.
    pub(crate) fn scope(&self) -> Option<Scope> {
        self.scope.map(Scope::from)
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScopeName {
    /// Anywhere in the data set
    All,
    /// Within one group, such as one alphabet
    Group,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::All => Self::All,
            ScopeName::Group => Self::Group,
        }
    }
}

/// How images reach the network.
#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ImageOptions {
    /// Side of the network's input images, in pixels [default: the network's own]
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_size: Option<usize>,
    /// Steps from image to input, such as "resize(28x28) gray invert" [default: chosen from the images]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) transform: Option<Transform>,
}

/// Where labels are, if a table has them.
#[derive(Args, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LabelOptions {
    /// Table of labels (CSV or TSV) of the images [default: one that lies beside them]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels_from: Option<InputPath>,
    /// Column of the table with the files [default: the one whose values are the images]
    #[arg(long, value_name = "NAME", requires = "labels_from")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_column: Option<String>,
    /// Column of the table with the labels [default: the one called label, class or the like]
    #[arg(long, value_name = "NAME", requires = "labels_from")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label_column: Option<String>,
    /// Column of the table that says train, validation or test [default: the one called split or the like]
    #[arg(long, value_name = "NAME", requires = "labels_from")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) split_column: Option<String>,
}

impl LabelOptions {
    /// The columns that are named.
    pub(crate) fn columns(&self) -> Columns {
        Columns { file: self.file_column.clone(), label: self.label_column.clone(), split: self.split_column.clone() }
    }
}

/// Scores over several copies of an image.
#[derive(Args, Clone, Serialize)]
pub(crate) struct ViewsOptions {
    /// Views per image: itself plus copies from the model's random transform steps; all join the
    /// support set, and a query's scores are averaged over them
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = positive::<usize>)]
    pub(crate) views: usize,
}

/// What the user knows about a weight file.
#[derive(Args, Clone, Default, Serialize)]
pub(crate) struct WeightOptions {
    /// Network of a weight file [default: recognized by the file's hash or its tensors]
    #[arg(long, value_name = "NAME")]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) arch: Option<Architecture>,
    /// Class names of a weight file, in output order: comma-separated, or a file with one per line
    #[arg(long, value_name = "NAMES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) classes: Option<String>,
}

impl WeightOptions {
    /// Fails if the file of names can't be read.
    pub(crate) fn hints(&self) -> Result<WeightHints, UsageError> {
        let names = |text: &String| {
            let names = match std::path::Path::new(text).is_file() {
                true => std::fs::read_to_string(text).map_err(|error| UsageError(format!("{text}: {error}")))?,
                false => text.replace(',', "\n"),
            };
            Ok(names.lines().map(str::trim).filter(|name| !name.is_empty()).map(String::from).collect())
        };
        Ok(WeightHints { architecture: self.arch, classes: self.classes.as_ref().map(names).transpose()? })
    }
}

/// Settings of methods.
#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct MethodOptions {
    /// Learning rate inside a task
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inner_lr: Option<f64>,
    /// Gradient steps inside a task, in training
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inner_steps: Option<usize>,
    /// Gradient steps inside a task, at inference
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) adapt_steps: Option<usize>,
    /// Settings of the method, such as "inner-lr=0.4,inner-steps=5"; for one of several methods,
    /// "maml:inner-lr=0.4"
    #[arg(long, default_value = "")]
    #[serde(skip_serializing_if = "SettingOverrides::is_empty")]
    pub(crate) set: SettingOverrides,
    /// Whose statistics normalize a task: support, batch (predictions then depend on the other queries)
    /// or stored [default: the method's own]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) norm: Option<TaskNorm>,
}

impl MethodOptions {
    /// All settings for these methods: separate options apply to every method that has such a
    /// setting, and --set wins.
    pub(crate) fn overrides(&self, methods: &[&dyn Method]) -> SettingOverrides {
        let options = [
            ("inner-lr", self.inner_lr),
            ("inner-steps", self.inner_steps.map(|steps| steps as f64)),
            ("adapt-steps", self.adapt_steps.map(|steps| steps as f64)),
        ];
        let mut parts = Vec::new();
        for method in methods {
            for (name, value) in options {
                if let Some(value) = value.filter(|_| method.has_setting(name)) {
                    parts.push(format!("{}:{name}={value}", method.info().name));
                }
            }
        }
        parts.push(self.set.to_string());
        // every part was parsed before, so the whole can be
        parts.join(",").parse().unwrap_or_else(|_| self.set.clone())
    }
}

/// Names of the methods that a command takes, with their titles and papers as help.
pub(crate) fn method_names(trained_only: bool) -> PossibleValuesParser {
    let offered = comparable().map(Method::info).filter(|info| !trained_only || info.training != Training::Nothing);
    PossibleValuesParser::new(offered.map(|method| {
        let transductive = if method.transductive { ", transductive" } else { "" };
        PossibleValue::new(method.name).help(format!("{} ({}{transductive})", method.title, method.paper))
    }))
}
