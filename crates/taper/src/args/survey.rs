//! Options of `taper survey`.

use super::shard::Shard;
use super::shared::{ImageOptions, RunOptions};
use super::values::{InputPath, share};
use clap::{ArgAction, Args};
use serde::Serialize;
use taper_transfer::{FineTuneFrom, LabelCount, ProblemOptions, SurveyOptions};

#[derive(Args, Clone, Serialize)]
// a survey has no steps that TensorBoard could show
#[command(mut_arg("tensorboard", |option| option.hide(true)))]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Survey {
    /// Data sets, comma-separated
    #[arg(long, required = true, action = ArgAction::Set, value_delimiter = ',', value_name = "PATH")]
    pub(crate) datasets: Vec<InputPath>,
    /// Weight files, comma-separated
    #[arg(long, required = true, action = ArgAction::Set, value_delimiter = ',', value_name = "FILE|NAME")]
    pub(crate) weights: Vec<InputPath>,
    /// Weight files only for data sets in color, comma-separated
    #[arg(long, alias = "colour-weights", action = ArgAction::Set, value_delimiter = ',', value_name = "FILE|NAME")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) color_weights: Vec<InputPath>,
    /// Labeled images per class, comma-separated
    #[arg(long, action = ArgAction::Set, value_delimiter = ',', default_values_t = SurveyOptions::default().labels)]
    pub(crate) labels: Vec<LabelCount>,
    /// Draws of that many labels; accuracies are means over them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) draws: u64,
    /// Heads on frozen features, comma-separated
    #[arg(long, action = ArgAction::Set, value_delimiter = ',', default_values_t = SurveyOptions::default().heads)]
    pub(crate) heads: Vec<String>,
    /// What to train besides heads, comma-separated: 1 for fine-tuning from the uppermost stage at which the
    /// network can be split, 2 from the one below it, …; all for all of it; scratch for random weights
    #[arg(long, action = ArgAction::Set, value_delimiter = ',', value_name = "WHAT")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fine_tune: Vec<FineTuneFrom>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) image: ImageOptions,
    /// Share of the images kept for validation if a data set has no val/ part
    #[arg(long, default_value_t = 0.5, value_parser = share, allow_negative_numbers = true)]
    pub(crate) validation: f64,
    /// Where features of frozen networks are cached; "none" caches nothing [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) cache: Option<String>,
    /// Score only part I of N of the table's cells, and write it to --out; `taper merge` puts the parts together
    #[arg(long, value_name = "I/N")]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<Shard>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunOptions,
}

impl Survey {
    /// What each classification problem is.
    pub(crate) fn problem(&self) -> ProblemOptions {
        ProblemOptions {
            image_size: self.image.image_size,
            transform: self.image.transform.clone(),
            validation: self.validation,
            seed: self.run.common.seed,
            ..ProblemOptions::default()
        }
    }

    /// What is scored.
    pub(crate) fn survey(&self) -> SurveyOptions {
        SurveyOptions {
            labels: self.labels.clone(),
            draws: self.draws as usize,
            heads: self.heads.clone(),
            fine_tune: self.fine_tune.clone(),
        }
    }
}
