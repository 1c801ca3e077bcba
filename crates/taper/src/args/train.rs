//! Options of `taper train`.

use super::UsageError;
use super::shared::{ImageOptions, LabelOptions, RunOptions};
use super::values::{InputPath, Seconds, amount, concentration, positive, rate, share};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde::Serialize;
use taper_learn::training::Average;
use taper_models::Architecture;
use taper_transfer::{
    Balance, Freeze, HeadShape, ProblemOptions, ScheduleShape, SearchOptions, TrainedPart, TrainingOptions,
};

#[derive(Args, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Train {
    /// A folder of class folders, or another data set [default: the built-in glyphs]
    #[arg(value_name = "DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<InputPath>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) labels: LabelOptions,
    /// Leave out classes with fewer training images [default: they are an error]
    #[arg(long, value_name = "N", value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_images: Option<usize>,
    /// Weights to start from [default: for photographs without training options, efficientnet-lite0
    /// if it was fetched]
    #[arg(long, value_name = "FILE|NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<InputPath>,
    /// Network [default: recognized from the weights; conv4-64 without weights]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) backbone: Option<Architecture>,
    /// Search for the best head or fine-tuning [default: with weights, unless options say how to train]
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) search: bool,
    /// Time for the search: 90s, 5m, 1h [default: 5m]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<Seconds>,
    /// Search only classifiers that timm and transformers load: the published network with another head
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) plain: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) image: ImageOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) training: TrainingArgs,
    /// Images per batch
    #[arg(long, default_value_t = TrainingOptions::default().batch_size, value_parser = positive::<usize>)]
    pub(crate) batch_size: usize,
    /// Weight decay of AdamW
    #[arg(long, default_value_t = 0.0, value_parser = amount, allow_negative_numbers = true)]
    pub(crate) weight_decay: f64,
    /// Only search for a learning rate: print the losses of 100 steps at rising rates
    #[arg(long, conflicts_with_all = ["as_published", "search"])]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) find_lr: bool,
    /// Share of the images kept for validation if DATA has no val/ part
    #[arg(long, default_value_t = ProblemOptions::default().validation, value_parser = share, allow_negative_numbers = true)]
    pub(crate) validation: f64,
    /// Where features of frozen networks are cached; "none" caches nothing [default: the user's cache]
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub(crate) cache: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunOptions,
}

/// The options that say how to train; all `None` if there are none.
#[derive(Args, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TrainingArgs {
    /// Head that replaces the network's: linear, or mlp:1024 [default: linear]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    head: Option<HeadShape>,
    /// What to freeze [default: backbone with --weights, nothing without]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze: Option<FreezeName>,
    /// What to train with --weights besides the head: stages or name prefixes (layer4,layer3.2), all,
    /// norms, biases, or head (nothing else). gradual, or gradual:layer4,layer3 for these only, starts with
    /// the head and unfreezes one stage per epoch from the top
    #[arg(long, value_name = "PARTS", conflicts_with_all = ["freeze", "as_published"])]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    train: Option<TrainedPart>,
    /// Passes over the training images [default: 10]
    #[arg(long, value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    epochs: Option<u64>,
    /// Learning rate [default: 0.001]
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    lr: Option<f64>,
    /// Learning rate over the run [default: constant]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<ScheduleName>,
    /// Batches whose gradients are averaged for one step [default: 1]
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    accumulate: Option<usize>,
    /// Label smoothing [default: 0]
    #[arg(long, value_parser = amount, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    smoothing: Option<f64>,
    /// Train on weighted means of two images, the weight drawn from Beta(A, A): 0.2 is common
    #[arg(long, value_name = "A", value_parser = concentration, conflicts_with = "cutmix")]
    #[serde(skip_serializing_if = "Option::is_none")]
    mixup: Option<f64>,
    /// Train on images with a rectangle from another, its area drawn from Beta(A, A): 1 is common
    #[arg(long, value_name = "A", value_parser = concentration)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cutmix: Option<f64>,
    /// Give classes equal influence, whatever their numbers of images; --balance without a value means --balance=loss
    /// [default: off]
    #[arg(long, value_enum, value_name = "BY", num_args = 0..=1, require_equals = true,
        default_missing_value = "loss")]
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<BalanceName>,
    /// Average the weights: ema:0.999 (exponential, decay 0.999), last:500 (mean over the last 500 steps)
    /// or off [default: off]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    average: Option<Average>,
    /// Stop after this many epochs without a lower loss on a held-out tenth of the training images, and
    /// keep the best weights
    #[arg(long, value_name = "EPOCHS", value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    patience: Option<u64>,
    /// Views per image in the report, whose scores are averaged: the image plus copies from the random
    /// steps of --transform [default: 1]
    #[arg(long, value_name = "N", value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    views: Option<usize>,
    /// Train like the recipe's original program: dropout and batch statistics stay on in validation, running
    /// statistics of frozen norms move, and nothing is cached
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    as_published: bool,
}

impl Train {
    /// Whether no option says how to train.
    pub(crate) fn says_nothing(&self) -> bool {
        let default = TrainingOptions::default();
        let has_default_steps = self.batch_size == default.batch_size && self.weight_decay == default.weight_decay;
        self.training == TrainingArgs::default() && !self.find_lr && has_default_steps
    }

    /// What the classification problem is.
    pub(crate) fn problem(&self) -> ProblemOptions {
        ProblemOptions {
            backbone: self.backbone,
            head: self.training.head.unwrap_or_default(),
            image_size: self.image.image_size,
            transform: self.image.transform.clone(),
            validation: self.validation,
            seed: self.run.common.seed,
        }
    }

    /// How to train.
    pub(crate) fn training(&self) -> TrainingOptions {
        let (said, default) = (self.training.clone(), TrainingOptions::default());
        TrainingOptions {
            freeze: said.freeze.map(Freeze::from),
            train: said.train,
            epochs: said.epochs.unwrap_or(default.epochs),
            lr: said.lr.unwrap_or(default.lr),
            schedule: said.schedule.map_or(default.schedule, ScheduleShape::from),
            batch_size: self.batch_size,
            weight_decay: self.weight_decay,
            accumulate: said.accumulate.unwrap_or(default.accumulate),
            smoothing: said.smoothing.unwrap_or(default.smoothing),
            mixup: said.mixup,
            cutmix: said.cutmix,
            balance: said.balance.map_or(default.balance, Balance::from),
            average: said.average.unwrap_or(default.average),
            patience: said.patience,
            views: said.views.unwrap_or(default.views),
            as_published: said.as_published,
        }
    }

    /// How to search; a usage error if an option says how to train.
    pub(crate) fn searching(&self) -> Result<SearchOptions, UsageError> {
        if !self.says_nothing() {
            let problem = "--search chooses how to train: remove the options that say how, such as --epochs";
            return Err(UsageError(problem.into()));
        }
        Ok(SearchOptions { budget: self.search_budget().0, plain: self.plain })
    }

    /// Time for the search.
    pub(crate) fn search_budget(&self) -> Seconds {
        self.budget.unwrap_or(Seconds(SearchOptions::default().budget))
    }

    /// Fails if an option for searches is given, but this run doesn't search. The default budget passes: runs of earlier
    /// versions have it in their configurations.
    pub(crate) fn check_no_search_options(&self) -> Result<(), UsageError> {
        let option = match (self.budget, self.plain) {
            (Some(Seconds(budget)), _) if budget != SearchOptions::default().budget => "--budget",
            (_, true) => "--plain",
            (_, false) => return Ok(()),
        };
        let (problem, remedy) = if self.says_nothing() {
            ("there are no weights to search with", "give --weights or --search")
        } else {
            ("other options say how to train", "remove it, or those options")
        };
        Err(UsageError(format!("{option} is for a search, but {problem}: {remedy}")))
    }
}

/// Gives a library's choices their names on the command line.
macro_rules! named {
    ($name:ident, $of:ident { $($variant:ident = $text:literal, $help:literal $(, $alias:literal)?;)+ }) => {
        #[derive(Clone, Copy, PartialEq, Serialize)]
        #[serde(transparent)]
        pub(crate) struct $name($of);

        impl ValueEnum for $name {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self($of::$variant)),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self.0 {
                    $($of::$variant => PossibleValue::new($text).help($help)$(.alias($alias))?,)+
                })
            }
        }

        impl From<$name> for $of {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

named!(FreezeName, Freeze {
    Backbone = "backbone", "All but the head";
    Nothing = "nothing", "Nothing: train the whole network";
});

named!(BalanceName, Balance {
    Off = "off", "Every image counts the same", "false";
    Loss = "loss", "An image counts more, the fewer images its class has", "true";
    Sampling = "sampling", "Classes are drawn equally often";
});

named!(ScheduleName, ScheduleShape {
    Constant = "constant", "The same throughout";
    Cosine = "cosine", "Up over the first tenth of the steps, then down to 0 along half a cosine";
    OneCycle = "one-cycle", "Up from 1/25 over the first 30% of the steps, then down to nearly 0";
});

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn train(arguments: &[&str]) -> Train {
        match Cli::try_parse_from(["taper", "train"].iter().chain(arguments)).unwrap().command {
            Command::Train(options) => options,
            _ => panic!("another command"),
        }
    }

    #[test]
    fn every_option_that_says_how_to_train_prevents_the_search_and_is_written_down() {
        assert!(train(&["photos", "--weights", "w", "--seed", "3"]).says_nothing());
        for said in [
            &["--head", "mlp:8"][..],
            &["--freeze", "nothing"],
            &["--train", "gradual:layer4"],
            &["--epochs", "10"],
            &["--lr", "0.001"],
            &["--schedule", "constant"],
            &["--accumulate", "1"],
            &["--smoothing", "0"],
            &["--mixup", "0.2"],
            &["--cutmix", "1"],
            &["--balance"],
            &["--average", "off"],
            &["--patience", "2"],
            &["--views", "1"],
            &["--as-published"],
            &["--batch-size", "8"],
            &["--weight-decay", "0.1"],
        ] {
            let options = train(said);
            assert!(!options.says_nothing() && options.searching().is_err(), "{said:?}");
            let written = toml::Table::try_from(&options).unwrap();
            assert!(written.contains_key(said[0].trim_start_matches("--")), "{said:?}: {written}");
        }
        assert!(!train(&["--find-lr"]).says_nothing());
    }

    #[test]
    fn options_for_searches_are_refused_where_others_say_how_to_train() {
        let refused = |options: &[&str]| train(options).check_no_search_options().unwrap_err().to_string();
        assert!(
            refused(&["--epochs", "2", "--budget", "90s"]).starts_with("--budget is for a search, but other options")
        );
        assert!(refused(&["--lr", "0.1", "--plain"]).starts_with("--plain is for a search"));
        assert!(refused(&["--budget", "90s"]).contains("no weights"));
        assert!(train(&["--epochs", "2"]).check_no_search_options().is_ok());
        assert!(train(&["--epochs", "2", "--budget", "5m"]).check_no_search_options().is_ok());
    }

    #[test]
    fn options_become_the_library_s() {
        assert_eq!(train(&[]).training(), TrainingOptions::default());
        assert_eq!(train(&[]).problem(), ProblemOptions::default());
        assert_eq!(train(&["--search", "--budget", "90s"]).searching().unwrap().budget, 90.0);
        let options = train(&["--balance=sampling", "--schedule", "one-cycle", "--freeze", "backbone"]).training();
        assert_eq!((options.balance, options.schedule), (Balance::Sampling, ScheduleShape::OneCycle));
        assert_eq!(options.freeze, Some(Freeze::Backbone));
        assert_eq!(train(&["--balance=true"]).training().balance, Balance::Loss);
    }
}
