//! The options of the command line, one file per command. Every long option is also a key of a
//! `--config` file.

mod adapt;
mod cache;
mod compare;
mod completions;
mod evaluate;
mod export;
mod features;
mod inspect;
mod meta_train;
mod predict;
mod report;
#[cfg(feature = "serve")]
mod serve;
mod shard;
mod shared;
mod survey;
mod train;
mod values;
mod watch;

pub(crate) use adapt::Adapt;
pub(crate) use cache::Cache;
pub(crate) use compare::{Compare, Tasks};
pub(crate) use completions::{Completions, Man};
pub(crate) use evaluate::{Episodes, Evaluate, Protocol};
pub(crate) use export::{Export, Format};
pub(crate) use features::Features;
pub(crate) use inspect::Inspect;
pub(crate) use meta_train::MetaTrain;
pub(crate) use predict::Predict;
pub(crate) use report::Report;
#[cfg(feature = "serve")]
pub(crate) use serve::Serve;
pub(crate) use shard::{Merge, Shard};
pub(crate) use shared::{CommonOptions, LabelOptions, RunOptions};
pub(crate) use survey::Survey;
pub(crate) use train::Train;
pub(crate) use values::InputPath;
pub(crate) use watch::Watch;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

/// Transfer learning and meta-learning for images, on the same tasks, with an honest verdict.
#[derive(Parser)]
#[command(
    version,
    args_override_self = true,
    after_help = "Examples:\n  \
    taper compare                                compare both kinds of learning on synthetic handwriting\n  \
    taper compare PHOTOS --weights resnet18.safetensors\n  \
    taper train PHOTOS --weights resnet18.safetensors --out classifier\n  \
    taper predict classifier picture.jpg\n  \
    taper serve my-symbols                       draw, name and try in the browser"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train both kinds of learning, score them on the same tasks, report which wins
    Compare(Compare),
    /// Fit a classifier to a folder of labeled images, from pretrained weights or from scratch
    Train(Train),
    /// Train a learner on many small tasks
    MetaTrain(MetaTrain),
    /// Score every head and mode of fine-tuning across data sets, networks and numbers of labels
    Survey(Survey),
    /// Turn a learner and a few labeled images into a classifier
    Adapt(Adapt),
    /// Score a learner on tasks, or a classifier on labeled images
    Evaluate(Evaluate),
    /// Classify images
    Predict(Predict),
    /// Write a classifier for other programs: ONNX, timm or transformers
    Export(Export),
    /// Open a page in the browser that learns classes from a few drawings or photographs
    #[cfg(feature = "serve")]
    Serve(Serve),
    /// Write the features of a data set by pretrained weights
    Features(Features),
    /// Put the parts together that commands with --shard made
    Merge(Merge),
    /// Explain a data set, a model, a weight file or a run
    Inspect(Inspect),
    /// Show or clear the cached features of frozen networks
    Cache(Cache),
    /// Write a run's report as a page: figures, tables and pictures in one file
    Report(Report),
    /// Show a run's training while it runs
    Watch(Watch),
    /// Print completions for a shell
    Completions(Completions),
    /// Write man pages
    Man(Man),
}

/// Options that can't be used as given.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// clap's error in one line; `None` if it shows help instead.
pub(crate) fn one_line(error: &clap::Error) -> Option<String> {
    let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::DisplayVersion];
    if help.contains(&error.kind()) {
        return None;
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
        lines.join(" ")
    });
    let problem = paragraphs.next()?;
    let tip = paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ").map(String::from));
    let what_to_do = tip.unwrap_or_else(|| "see --help".into());
    Some(format!("{}; {what_to_do}", problem.trim_start_matches("error: ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &[&str]) -> Option<String> {
        one_line(&Cli::try_parse_from(arguments).err()?)
    }

    #[test]
    fn the_options_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_call_gets_one_line_that_says_what_to_do() {
        let missing = line(&["taper", "predict", "model"]).unwrap();
        assert_eq!(missing, "the following required arguments were not provided: <IMAGE>...; see --help");
        let unknown = line(&["taper", "compare", "--episode", "3"]).unwrap();
        assert!(unknown.contains("'--episode'") && unknown.contains("'--episodes'"), "{unknown}");
        let wrong = line(&["taper", "compare", "--episodes", "0"]).unwrap();
        assert!(wrong.ends_with("give a whole number of at least 1; see --help"), "{wrong}");
        assert!(line(&["taper", "--help"]).is_none());
    }
}
