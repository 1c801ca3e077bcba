//! Options of `taper survey`.

use super::shared::{ImageOptions, RunOptions};
use super::values::share;
use clap::{ArgAction, Args};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Args, Clone)]
pub(crate) struct Survey {
    /// Data sets, with commas between
    #[arg(long, required = true, action = ArgAction::Set, value_delimiter = ',', value_name = "PATH")]
    pub(crate) datasets: Vec<PathBuf>,
    /// Weight files, with commas between
    #[arg(long, required = true, action = ArgAction::Set, value_delimiter = ',', value_name = "FILE")]
    pub(crate) weights: Vec<PathBuf>,
    /// Weight files for the data sets in color alone, with commas between
    #[arg(long, action = ArgAction::Set, value_delimiter = ',', value_name = "FILE")]
    pub(crate) color_weights: Vec<PathBuf>,
    /// Labeled images a class
    #[arg(long, action = ArgAction::Set, value_delimiter = ',', default_value = "1,5,20,all")]
    pub(crate) labels: Vec<Labels>,
    /// Heads on frozen features
    #[arg(
        long,
        action = ArgAction::Set, value_delimiter = ',',
        default_value = "nearest-mean,simple-shot,neighbours,ridge,lda,linear-probe,linear-head,mlp-head"
    )]
    pub(crate) heads: Vec<String>,
    /// What to train beside heads: 1 for the uppermost stage that a network can be cut at, 2 from the
    /// one below it on, …; all; scratch for all of it from fresh weights
    #[arg(long, action = ArgAction::Set, value_delimiter = ',', value_name = "WHAT")]
    pub(crate) fine_tune: Vec<Tuning>,
    #[command(flatten)]
    pub(crate) image: ImageOptions,
    /// Share of the images kept for validation where a data set has no val/ part
    #[arg(long, default_value_t = 0.5, value_parser = share, allow_negative_numbers = true)]
    pub(crate) validation: f64,
    /// Where features of frozen networks are kept; "none" keeps none [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<String>,
    #[command(flatten)]
    pub(crate) run: RunOptions,
}

/// What is trained of a network beside its head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tuning {
    /// From the stage of this place on, counted from the uppermost, which is 1.
    From(usize),
    /// All of it.
    All,
    /// All of it, from fresh weights.
    Scratch,
}

impl FromStr for Tuning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            ("scratch", _) => Ok(Self::Scratch),
            (_, Ok(place)) if place > 0 => Ok(Self::From(place)),
            _ => Err("give numbers of at least 1, all or scratch".into()),
        }
    }
}

/// How many labeled images a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    /// So many.
    Of(usize),
    /// Every training image.
    All,
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(Self::All),
            (_, Ok(count)) if count > 0 => Ok(Self::Of(count)),
            _ => Err("give numbers of at least 1, or all".into()),
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(count) => write!(f, "{count}"),
            Self::All => f.write_str("all"),
        }
    }
}
