//! `taper meta-train`: a learner from many small tasks.

use crate::args::{InputPath, MetaTrain, UsageError};
use crate::data::{self, GLYPHS};
use crate::output::Output;
use crate::report::{method_json, result_json, run_directory, stopped_or_failed};
use crate::table::percent;
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;
use taper_compare::{TEST_SEED, learner, method};
use taper_data::{Dataset, Glyphs, Inputs, Look, Split, TaskShape, Transform, View, split_classes};
use taper_learn::{
    Evaluation, LearnError, Method, Model, Plan, RunDirectory, evaluate,
    methods::{SettingValues, Training},
    models::{Origin, default_transform},
    provenance::{Provenance, UsedData},
    statistics::mean_interval,
    training::{Schedule, Stage},
};
use taper_meta::training::{
    Auxiliary, Learned, MetaTraining, MultitaskTraining, TaskSource, TrainingTasks, meta_train, multitask, pretrain,
    with_symmetries,
};
use taper_models::{Architecture, Head, Network};

/// Training tasks by default.
const DEFAULT_TASKS: u64 = 60_000;
/// Tasks scored at the end.
const TEST_TASKS: u64 = 200;

pub(crate) fn run(options: &MetaTrain, output: &Output) -> Result<()> {
    let start = Instant::now();
    let method = method(&options.method)?;
    let settings = settings(options, method)?;
    check_options(options, method)?;
    let shape = options.tasks.shape()?;
    let dataset: Arc<dyn Dataset> = match (&options.data, options.glyphs) {
        (None, Some(alphabets)) => Arc::new(Glyphs::for_training(alphabets)?),
        (data, _) => data::given_labeled(data.as_ref(), &options.labels, output)?,
    };
    let backbone = data::backbone(dataset.as_ref(), options.backbone, Architecture::Conv4(64));
    let options = &MetaTrain { backbone, ..options.clone() };
    let look = Look::of(dataset.as_ref())?;
    let transform = match &options.image.transform {
        Some(transform) => transform.clone(),
        None => default_transform(options.backbone, look, look.channels, options.image.image_size)?,
    };
    let own = Source::new(options, options.tasks.split.as_ref(), dataset, &transform, output)?;
    // nothing is written before everything is checked
    let view = own.training.view.clone();
    let plain = Network::new(options.backbone.backbone(view.shape())?, Head::Identity);
    if options.symmetries {
        with_symmetries(method, &method.network(&plain, shape.ways().high()))
            .map_err(|error| UsageError(format!("--symmetries: {error}")))?;
    }
    let task = Job { options, method, settings, output, start };
    if method.info().training == Training::SharedTasks {
        return task.multitask(&own);
    }
    shape.check(own.training.dataset())?;
    let also = also(options, &transform, output)?;
    let auxiliary = auxiliary(options, &view, &also)?;
    if auxiliary.iter().map(|source| source.share).sum::<f64>() >= 1.0 {
        let problem = "--also and --glyphs-share leave no tasks for DATA: use shares that sum to less than 1";
        return Err(UsageError(problem.into()).into());
    }
    let tasks = TrainingTasks::new(own.training.clone(), auxiliary, shape)?;
    task.episodes(&own, &also, &tasks)
}

/// Refuses options that the method ignores.
fn check_options(options: &MetaTrain, method: &dyn Method) -> Result<()> {
    let ignored = match method.info().training {
        Training::SharedTasks => vec![
            ("--also", !options.also.is_empty()),
            ("--glyphs beside DATA", options.data.is_some() && options.glyphs.is_some()),
            ("--average", options.average != taper_learn::training::Average::Off),
            ("--split", options.tasks.split.is_some()),
            ("--train-on-all", options.train_on_all),
            ("--validate-every", options.validate_every.is_some()),
            ("--symmetries", options.symmetries),
        ],
        Training::Pretraining => vec![
            ("--also", !options.also.is_empty()),
            ("--glyphs together with DATA", options.data.is_some() && options.glyphs.is_some()),
            ("--validate-every", options.validate_every.is_some()),
        ],
        _ => Vec::new(),
    };
    match ignored.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(UsageError(format!("{} does not use {option}: remove it", method.info().name)).into()),
        None => Ok(()),
    }
}

/// The method's settings; a usage error if it has no such setting.
fn settings(options: &MetaTrain, method: &dyn Method) -> Result<SettingValues> {
    let overrides = options.settings.overrides(&[method]).of(method.info().name);
    method.resolve(&overrides).map_err(|error| UsageError(error.to_string()).into())
}

/// A data set with its classes divided.
struct Source {
    training: TaskSource,
    validation: TaskSource,
    test: TaskSource,
}

impl Source {
    /// A data set seen through `transform`; all its classes are trained on if there are too few to hold
    /// some out, or the user asks for it.
    fn new(
        options: &MetaTrain,
        split: Option<&InputPath>,
        dataset: Arc<dyn Dataset>,
        transform: &Transform,
        output: &Output,
    ) -> Result<Self> {
        let ways = options.tasks.shape()?.ways().high();
        let all =
            || Split { train: (0..dataset.classes().len() as u32).collect(), validation: Vec::new(), test: Vec::new() };
        let drawn = || Some(split_classes(dataset.as_ref(), options.run.common.seed)).filter(|split| split.fills(ways));
        let split = match options.train_on_all {
            true => all(),
            false => match data::split(split, dataset.as_ref())?.or_else(drawn) {
                Some(split) => split,
                None => {
                    let name = dataset.name();
                    output.note(format!("{name}: too few classes to hold some out: trains on all of them"));
                    all()
                }
            },
        };
        let view = Arc::new(View::new(dataset, transform.clone())?);
        let part = |classes| {
            let source = TaskSource::new(view.clone(), classes);
            TaskSource { scope: options.tasks.scope().unwrap_or(source.scope), ..source }
        };
        Ok(Self { training: part(split.train), validation: part(split.validation), test: part(split.test) })
    }

    /// Accuracy of a learner on tasks of the test classes; `None` if there are too few.
    fn test(&self, model: &Model, shape: TaskShape, seed: u64) -> Result<Option<Evaluation>> {
        let Ok(sampler) = self.test.sampler(shape) else { return Ok(None) };
        let learner = learner(model)?;
        let episode = |number| Ok(self.test.view.episode(&sampler.draw(seed ^ TEST_SEED, number), None)?);
        Ok(Some(evaluate(learner.as_ref(), TEST_TASKS, seed, episode)?))
    }
}

/// The data sets of --also.
fn also(options: &MetaTrain, transform: &Transform, output: &Output) -> Result<Vec<(Source, f64)>> {
    let source = |also: &crate::args::Also| {
        let dataset = data::given(Some(&also.path), output)?;
        options.tasks.shape()?.check(dataset.as_ref())?;
        // a published split is DATA's
        Ok((Source::new(options, None, dataset, transform, output)?, also.share))
    };
    options.also.iter().map(source).collect()
}

/// Everything that is added to DATA, through the same transform.
fn auxiliary(options: &MetaTrain, view: &View, also: &[(Source, f64)]) -> Result<Vec<Auxiliary>> {
    let mut all = Vec::new();
    if let (Some(_), Some(alphabets)) = (&options.data, options.glyphs) {
        let glyphs = Arc::new(Glyphs::for_training(alphabets)?);
        let classes = (0..glyphs.classes().len() as u32).collect();
        let view = Arc::new(View::new(glyphs, view.transform().clone())?);
        all.push(Auxiliary { source: TaskSource::new(view, classes), share: options.glyphs_share });
    }
    all.extend(also.iter().map(|(source, share)| Auxiliary { source: source.training.clone(), share: *share }));
    Ok(all)
}

/// One run of the command, everything checked.
struct Job<'a> {
    options: &'a MetaTrain,
    method: &'static dyn Method,
    settings: SettingValues,
    output: &'a Output,
    start: Instant,
}

impl Job<'_> {
    /// Meta-training or pretraining, and a score on the test classes at the end.
    fn episodes(&self, own: &Source, also: &[(Source, f64)], tasks: &TrainingTasks) -> Result<()> {
        let (options, method, output) = (self.options, self.method.info(), self.output);
        let run = run_directory("meta-train", options, &options.run)?;
        let learned = self.learn(own, tasks, run.as_ref()).map_err(|error| stopped_or_failed(error, run.as_ref()))?;
        let seconds = learned.seconds;
        let transform = own.training.view.transform().to_string();
        let model = Model {
            network: learned.network,
            state: learned.state,
            labels: Vec::new(),
            transform,
            origin: self.origin(tasks),
            provenance: self.provenance(own, tasks)?,
        };
        if let Some(run) = &run {
            model.save(&run.model_path())?;
        }
        let (shape, seed) = (tasks.shape, options.run.common.seed);
        let mut scored: Vec<Evaluation> = Vec::new();
        for source in std::iter::once(own).chain(also.iter().map(|(source, _)| source)) {
            let Some(evaluation) = source.test(&model, shape, seed)? else { continue };
            output.line(format!(
                "{}: {}% on {TEST_TASKS} tasks of {shape}, from classes of {} that it was not trained on{}",
                method.title,
                percent(evaluation.accuracy()),
                source.test.dataset().name(),
                if learner(&model)?.transductive() { " (transductive)" } else { "" }
            ));
            scored.push(evaluation);
        }
        let several = scored.len() > 1;
        let methods: Vec<Value> = Evaluation::together(scored)
            .map(|all| {
                if several {
                    output.line(format!("{}: {}% on all of them", method.title, percent(all.accuracy())));
                }
                method_json(method.name, &method.kind.to_string(), &all, seconds)
            })
            .into_iter()
            .collect();
        self.finish(run.as_ref(), methods);
        Ok(())
    }

    fn learn(&self, own: &Source, tasks: &TrainingTasks, run: Option<&RunDirectory>) -> Result<Learned, LearnError> {
        let (options, mut reporter) = (self.options, self.output.reporter());
        let pretraining = self.pretraining(&own.training);
        let Training::Episodes { .. } = self.method.info().training else {
            let stage = Stage { name: "pretrained", run };
            let plan = Plan { steps: options.steps.unwrap_or(pretraining.steps), ..pretraining };
            let (network, outcome) =
                pretrain(stage, &own.training, options.backbone, &plan, options.batch_size, &mut reporter)?;
            let network = if options.symmetries { with_symmetries(self.method, &network)? } else { network };
            return Ok(Learned { network, seconds: outcome.seconds, state: outcome.progress.into_best() });
        };
        let steps = options.steps.unwrap_or(DEFAULT_TASKS.div_ceil(options.meta_batch_size as u64));
        let training = MetaTraining {
            architecture: options.backbone,
            norm: options.settings.norm.unwrap_or(self.method.info().norm),
            settings: self.settings.clone(),
            plan: Plan {
                steps,
                items: options.meta_batch_size,
                clip: Some(10.0),
                validate_every: options.validate_every.unwrap_or((steps / 20).max(1)),
                ..self.plan(steps)
            },
            pretraining,
            batch: options.batch_size,
            validation_tasks: options.validation_episodes,
            symmetries: options.symmetries,
        };
        let validation = own.validation.sampler(tasks.shape).ok();
        meta_train(self.method, &training, tasks, validation.as_ref(), run, &mut reporter)
    }

    /// Passes over the training images.
    fn pretraining(&self, source: &TaskSource) -> Plan {
        let steps_per_epoch = (source.images() as u64).div_ceil(self.options.batch_size as u64);
        self.plan(self.options.epochs * steps_per_epoch)
    }

    fn plan(&self, steps: u64) -> Plan {
        Plan {
            steps,
            learning_rate: self.options.meta_lr,
            schedule: Schedule::Cosine { warmup: 0 },
            average: self.options.average,
            save_every: self.options.save_every,
            seed: self.options.run.common.seed,
            ..Plan::default()
        }
    }

    /// What the model records about its training. Synthetic alphabets made for training are never used
    /// again, so their names would only fill the file.
    fn origin(&self, tasks: &TrainingTasks) -> Origin {
        let only_synthetic = self.options.data.is_none() && self.options.glyphs.is_some();
        let named = |source: &TaskSource| -> Vec<String> {
            let classes = source.dataset().classes();
            source.classes.iter().map(|&class| classes[class as usize].full_name()).collect()
        };
        let synthetic = usize::from(self.options.data.is_some() && self.options.glyphs.is_some());
        let mixed_in = tasks.auxiliary.iter().skip(synthetic).flat_map(|auxiliary| named(&auxiliary.source));
        let classes =
            if only_synthetic { Vec::new() } else { named(&tasks.main).into_iter().chain(mixed_in).collect() };
        let norm = match self.method.info().training {
            Training::Episodes { .. } => self.options.settings.norm.unwrap_or(self.method.info().norm),
            _ => self.method.info().norm,
        };
        Origin {
            method: self.method.info().name.into(),
            on: tasks.description(),
            classes,
            settings: self.settings.clone(),
            norm: norm.to_string(),
        }
    }

    /// The images that the learner was trained and validated on. Synthetic alphabets made for training
    /// are never used again.
    fn provenance(&self, own: &Source, tasks: &TrainingTasks) -> Result<Provenance> {
        let synthetic = |source: &&TaskSource| source.dataset().name() != GLYPHS || self.options.glyphs.is_none();
        let used = |source: &TaskSource| UsedData::of_classes(source.dataset(), &source.classes);
        let validates =
            matches!(self.method.info().training, Training::Episodes { .. }) && !own.validation.classes.is_empty();
        Ok(Provenance {
            trained_on: tasks.sources().filter(synthetic).map(used).collect::<Result<_, _>>()?,
            validated_on: if validates { vec![used(&own.validation)?] } else { Vec::new() },
            chosen_on: Vec::new(),
        })
    }

    /// The seed recipe: one shared head over fixed tasks.
    fn multitask(&self, own: &Source) -> Result<()> {
        let (options, output) = (self.options, self.output);
        let classes = (0..own.training.dataset().classes().len() as u32).collect();
        let source = TaskSource { classes, ..own.training.clone() };
        let run = run_directory("meta-train", options, &options.run)?;
        let training = MultitaskTraining {
            architecture: options.backbone,
            ways: options.tasks.ways.high(),
            batch: options.batch_size,
            epochs: options.epochs,
            queries: Some(options.tasks.queries.high()),
            plan: Plan { schedule: Schedule::Constant, ..self.plan(options.steps.unwrap_or(0)) },
        };
        let stage = Stage { name: "multitask", run: run.as_ref() };
        let trained = multitask(stage, &source, &training, &mut output.reporter())
            .map_err(|error| stopped_or_failed(error, run.as_ref()))?;
        let tasks = TrainingTasks::new(source, Vec::new(), TaskShape::fixed(training.ways, 1, 1)?)?;
        let model = Model {
            network: trained.network,
            state: trained.outcome.progress.state,
            labels: Vec::new(),
            transform: own.training.view.transform().to_string(),
            origin: self.origin(&tasks),
            provenance: self.provenance(own, &tasks)?,
        };
        if let Some(run) = &run {
            model.save(&run.model_path())?;
        }
        let mut methods = Vec::new();
        if !trained.last_epoch.is_empty() {
            let accuracy = mean_interval(&trained.last_epoch);
            output.line(format!("last epoch: {}% over {} tasks", percent(accuracy), trained.last_epoch.len()));
            methods.push(json!({"name": self.method.info().name, "kind": self.method.info().kind.to_string(),
                "accuracy": accuracy.mean, "ci95": [accuracy.low, accuracy.high],
                "train_seconds": trained.outcome.seconds, "adapt_seconds": 0.0}));
        }
        self.finish(run.as_ref(), methods);
        Ok(())
    }

    fn finish(&self, run: Option<&RunDirectory>, methods: Vec<Value>) {
        if let Some(run) = run {
            self.output.line(format!("saved the learner to {}", run.model_path().display()));
        }
        let seconds = self.start.elapsed().as_secs_f64();
        self.output.event(&result_json("meta-train", seconds, methods, run.map(RunDirectory::path)));
    }
}
