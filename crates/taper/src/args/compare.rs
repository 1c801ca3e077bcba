//! Options of `taper compare`.

use super::UsageError;
use super::shard::Shard;
use super::shared::{LabelOptions, MethodOptions, RunOptions, ScopeName, method_names};
use super::values::{InputPath, Seconds, positive, rate};
use clap::{ArgAction, Args};
use serde::Serialize;
use taper_compare::{Comparison, DEFAULT_METHODS, METHODS_FROM_WEIGHTS, OWN_TASK_METHODS, OwnTask, method};
use taper_data::{Count, Scope, TaskShape, Transform};
use taper_models::Architecture;
use taper_transfer::LabelCount;

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
    /// (the built-in learner for line drawings) [default: the usual ones of each kind]
    #[arg(
        long,
        action = ArgAction::Set,
        value_delimiter = ',',
        value_parser = method_names(false),
        hide_possible_values = true
    )]
    pub(crate) methods: Vec<String>,
    /// Pretrained weights that methods start from: a file, or the name of fetched ones [default: for
    /// photographs, efficientnet-lite0 if it was fetched]
    #[arg(long, value_name = "FILE|NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<InputPath>,
    /// Other images with classes of their own to meta-learn from [default with --ways, if DATA has too
    /// few classes to split: glyphs, the built-in ones]
    #[arg(long, value_name = "DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_data: Option<InputPath>,
    /// Learners that `taper meta-train --weights` trained from the same weights: rows without any training
    #[arg(long, value_name = "DIR", action = ArgAction::Set, value_delimiter = ',')]
    pub(crate) learner: Vec<InputPath>,
    /// Side of the images that networks see, in pixels [default: the network's own]
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) image_size: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) own: OwnTaskOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) tasks: RandomTaskOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) settings: MethodOptions,
    /// Train and score only part I of N of the methods and training runs, and write it to --out; `taper merge` puts the
    /// parts together
    #[arg(long, value_name = "I/N")]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<Shard>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run: RunOptions,
}

/// Options of a comparison on DATA's own classes.
#[derive(Args, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "All classes of DATA at once (the default for photographs of up to 100 classes)")]
pub(crate) struct OwnTaskOptions {
    /// Labels per class, such as 1,5,20,all [default: 1,2,5,10,20,all, as far as DATA goes]
    #[arg(long, value_delimiter = ',')]
    pub(crate) labels: Vec<LabelCount>,
    /// Time for everything: 90s, 5m, 1h [default: 50s for 100 images, those of --meta-data included, in proportion up to 5m]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) budget: Option<Seconds>,
    /// Meta-learn from images that look different: drawings for photographs, or the other way round
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) allow_unlike: bool,
}

/// Options of a comparison on tasks of random classes.
#[derive(Args, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = "Tasks of random classes (the default for data of many classes)")]
pub(crate) struct RandomTaskOptions {
    /// Classes per task: a number, or a range such as 5-20 [default: 5]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) ways: Option<Count>,
    /// Support images per class [default: 1]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) shots: Option<Count>,
    /// Query images per class [default: 5]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) queries: Option<Count>,
    /// Where the classes of a task come from [default: group if there are groups]
    #[arg(long, value_enum)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<ScopeName>,
    /// Published split of DATA's classes: a CSV of CLASS,PART lines, PART being train, validation or
    /// test [default: by --seed, in whole groups if 3 or more]
    #[arg(long, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) split: Option<InputPath>,
    /// Test tasks, the same for every method [default: 200]
    #[arg(long, value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) episodes: Option<u64>,
    /// Training runs per method, each with another seed; more of them make the verdict surer [default: 1]
    #[arg(long, value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeats: Option<u64>,
    /// Images that each method sees in training [default: 240000]
    #[arg(long, value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) images: Option<u64>,
    /// Network of every method that is trained from nothing [default: conv4-32]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) backbone: Option<Architecture>,
    /// Steps from image to input, such as "resize(28x28) gray invert" [default: chosen from the images]
    #[arg(long)]
    #[serde(with = "taper_learn::text::option", skip_serializing_if = "Option::is_none")]
    pub(crate) transform: Option<Transform>,
    /// Learning rate of pretraining and meta-training [default: 0.001]
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_lr: Option<f64>,
    /// Tasks per meta-training step [default: 8]
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta_batch_size: Option<usize>,
    /// Images per pretraining step [default: 64]
    #[arg(long, value_parser = positive::<usize>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch_size: Option<usize>,
    /// Steps of fine-tuning on a support set [default: 40]
    #[arg(long, value_parser = positive::<u64>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tune_steps: Option<u64>,
    /// Learning rate of training on a support set from nothing; fine-tuning takes a tenth of it [default: 0.003]
    #[arg(long, value_parser = rate, allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lr: Option<f64>,
}

/// What tasks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tasks {
    /// All classes of the data set, with several numbers of labels.
    Own,
    /// Random classes of the data set.
    Random,
}

impl Compare {
    /// What the options say about tasks; `None` if they say nothing.
    ///
    /// # Errors
    /// Returns an error if they say both.
    pub(crate) fn tasks(&self) -> Result<Option<Tasks>, UsageError> {
        let OwnTaskOptions { labels, budget, allow_unlike } = &self.own;
        let own = !labels.is_empty() || budget.is_some() || *allow_unlike;
        let random = self.tasks.first_given().or(self.settings.norm.is_some().then_some("norm"));
        match (own, random) {
            (true, Some(random)) => Err(UsageError(format!(
                "--{random} is for tasks of random classes, --labels, --budget and --allow-unlike for all classes at \
                 once: remove one or the other"
            ))),
            (true, None) => Ok(Some(Tasks::Own)),
            (false, Some(_)) => Ok(Some(Tasks::Random)),
            (false, None) => Ok(None),
        }
    }

    /// The comparison on all classes that the options describe.
    pub(crate) fn own_task(&self) -> OwnTask {
        let methods = self.methods(&OWN_TASK_METHODS);
        let known: Vec<_> = methods.iter().filter_map(|name| method(name).ok()).collect();
        OwnTask {
            labels: self.own.labels.clone(),
            budget: self.own.budget.map(|budget| budget.0),
            image_size: self.image_size,
            set: self.settings.overrides(&known),
            allow_unlike: self.own.allow_unlike,
            seed: self.run.common.seed,
            methods,
        }
    }

    /// The comparison on tasks of random classes that the options describe, of photographs or of drawings.
    pub(crate) fn comparison(&self, photographs: bool) -> Comparison {
        let usual = Comparison::default();
        let methods = match photographs && self.weights.is_some() {
            true => self.methods(&METHODS_FROM_WEIGHTS),
            false => self.methods(&DEFAULT_METHODS),
        };
        let known: Vec<_> = methods.iter().filter_map(|name| method(name).ok()).collect();
        let RandomTaskOptions { ways, shots, queries, scope, .. } = self.tasks.clone();
        Comparison {
            ways: ways.unwrap_or(usual.ways),
            shots: shots.unwrap_or(usual.shots),
            queries: queries.unwrap_or(usual.queries),
            scope: scope.map(Scope::from),
            episodes: self.tasks.episodes.unwrap_or(usual.episodes),
            repeats: self.tasks.repeats.unwrap_or(usual.repeats),
            images: self.tasks.images.unwrap_or(usual.images),
            backbone: self.tasks.backbone.unwrap_or(usual.backbone),
            image_size: self.image_size,
            transform: self.tasks.transform.clone(),
            set: self.settings.overrides(&known),
            norm: self.settings.norm,
            meta_lr: self.tasks.meta_lr.unwrap_or(usual.meta_lr),
            meta_batch_size: self.tasks.meta_batch_size.unwrap_or(usual.meta_batch_size),
            batch_size: self.tasks.batch_size.unwrap_or(usual.batch_size),
            tune_steps: self.tasks.tune_steps.unwrap_or(usual.tune_steps),
            lr: self.tasks.lr.unwrap_or(usual.lr),
            seed: self.run.common.seed,
            methods,
        }
    }

    fn methods(&self, usual: &[&str]) -> Vec<String> {
        match self.methods.is_empty() {
            true => usual.iter().map(ToString::to_string).collect(),
            false => self.methods.clone(),
        }
    }
}

impl RandomTaskOptions {
    /// The first option that is given.
    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("ways", self.ways.is_some()),
            ("shots", self.shots.is_some()),
            ("queries", self.queries.is_some()),
            ("scope", self.scope.is_some()),
            ("split", self.split.is_some()),
            ("episodes", self.episodes.is_some()),
            ("repeats", self.repeats.is_some()),
            ("images", self.images.is_some()),
            ("backbone", self.backbone.is_some()),
            ("transform", self.transform.is_some()),
            ("meta-lr", self.meta_lr.is_some()),
            ("meta-batch-size", self.meta_batch_size.is_some()),
            ("batch-size", self.batch_size.is_some()),
            ("tune-steps", self.tune_steps.is_some()),
            ("lr", self.lr.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Fails if such tasks would have nothing to learn or nothing to score.
    pub(crate) fn check(&self, comparison: &Comparison) -> Result<TaskShape, UsageError> {
        comparison.shape().map_err(|error| UsageError(format!("--{error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn compare(arguments: &[&str]) -> Compare {
        let all = ["taper", "compare"].iter().chain(arguments);
        match Cli::try_parse_from(all).map(|cli| cli.command) {
            Ok(Command::Compare(options)) => options,
            _ => panic!("{arguments:?} are not options of compare"),
        }
    }

    #[test]
    fn options_become_the_library_s() {
        assert_eq!(compare(&[]).comparison(true), Comparison::default());
        assert_eq!(compare(&[]).own_task(), OwnTask::default());
        let own = compare(&["--labels", "1,5,all", "--budget", "90s"]).own_task();
        assert_eq!((own.labels.len(), own.labels[2], own.budget), (3, LabelCount::All, Some(90.0)));
    }

    #[test]
    fn options_say_what_tasks_are_made_of_and_never_both() {
        assert_eq!(compare(&[]).tasks().unwrap(), None);
        assert_eq!(compare(&["--labels", "5"]).tasks().unwrap(), Some(Tasks::Own));
        assert_eq!(compare(&["--ways", "5"]).tasks().unwrap(), Some(Tasks::Random));
        let error = compare(&["--shots=5", "--budget=1m"]).tasks().unwrap_err();
        assert!(error.to_string().starts_with("--shots is for tasks of random classes"), "{error}");
    }
}
