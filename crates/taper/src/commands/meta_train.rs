//! `taper meta-train`: a learner from many small tasks.

use super::{method_json, percent, result_json, run_directory};
use crate::args::{MetaTrain, Usage};
use crate::course::{Beside, Course};
use crate::data;
use crate::output::Output;
use crate::registry::learner;
use crate::stage::{self, Stage};
use anyhow::Result;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{EpisodeSampler, Inputs, Scope, Split, TaskShape, View};
use taper_learn::{
    Draw, Episodic, Method, Model, Plan, RunDirectory, Schedule, Settings, Setup, Supervised, Training, accuracy,
    evaluate,
};
use taper_meta::SharedTasks;
use taper_models::{Network, Norm, State};

/// Tasks of a run that says nothing of its length.
const DEFAULT_TASKS: u64 = 60_000;

pub(crate) fn run(options: &MetaTrain, config: &str, output: &Output) -> Result<()> {
    let start = Instant::now();
    let method = options.method.0;
    let settings = settings(options, method)?;
    let dataset = match (&options.data, options.glyphs) {
        (None, Some(alphabets)) => data::invented(alphabets)?,
        (data, _) => data::dataset(data.as_deref())?,
    };
    data::tell(dataset.as_ref(), output)?;
    let look = data::look(dataset.as_ref())?;
    let transform = data::transform(&options.image, options.backbone, look, look.channels)?;
    let view = data::view(dataset.clone(), transform)?;
    let shape = options.tasks.shape()?;
    let scope = data::scope(options.tasks.scope, dataset.as_ref());
    let all =
        || Split { train: (0..dataset.classes().len() as u32).collect(), validation: Vec::new(), test: Vec::new() };
    let split = match options.train_on_all {
        true => all(),
        false => data::split(dataset.as_ref(), options.run.common.seed, shape.ways().high()).unwrap_or_else(|| {
            output.note("too few classes to keep some for validation: all are trained on");
            all()
        }),
    };
    if let Training::SharedTasks = method.training {
        let run = run_directory(&options.run, config)?;
        return multitask(options, settings, output, run.as_ref(), &view, start);
    }
    // a shape that nothing fills is told before anything is written
    data::check_classes(dataset.as_ref(), &shape)?;
    EpisodeSampler::new(dataset.as_ref(), &split.train, shape, scope)?;
    let validation = EpisodeSampler::new(dataset.as_ref(), &split.validation, shape, scope).ok();
    let run = run_directory(&options.run, config)?;
    let course = Course {
        beside: beside(options, &view, shape)?,
        run: run.as_ref(),
        output,
        view: &view,
        classes: &split.train,
        scope,
        shape,
        backbone: options.backbone,
    };
    let (network, trained) = match method.training {
        Training::Episodes(episodic) => {
            meta_train(options, method, &episodic, &settings, &course, validation.as_ref())?
        }
        _ => course.pretrain("pretrained", &pretraining(options, &course, options.steps), options.batch_size)?,
    };
    let setup = setup(options, method, network.clone(), settings, 0);
    let seconds = trained.seconds;
    let mut trained_as = course.trained(method.name, &setup);
    if options.data.is_none() && options.glyphs.is_some() {
        // Alphabets invented for training meet nobody again: their names would only fill the file.
        trained_as.classes.clear();
    }
    let model = Model {
        network,
        state: trained.progress.into_best(),
        labels: Vec::new(),
        transform: view.transform().to_string(),
        trained: trained_as,
    };
    if let Some(run) = &run {
        model.save(&run.path().join("model"))?;
    }
    // the test classes are scored once, at the end
    let test = EpisodeSampler::new(dataset.as_ref(), &split.test, shape, scope).ok();
    let mut methods = Vec::new();
    if let Some(test) = test {
        let learner = learner(&model)?;
        let seed = options.run.common.seed;
        let scored =
            evaluate(learner.as_ref(), 200, seed, |n| Ok(view.episode(&test.draw(seed ^ TEST_SEED, n), None)?))?;
        output.line(format!(
            "{}: {} % on 200 tasks of {} from classes not trained on{}",
            method.title,
            percent(scored.accuracy()),
            shape,
            if learner.transductive() { " (transductive)" } else { "" }
        ));
        methods.push(method_json(method.name, &method.kind.to_string(), &scored, seconds));
    }
    if let Some(run) = &run {
        output.line(format!("the learner is in {}", run.path().join("model").display()));
    }
    output.event(&result_json(
        "meta-train",
        start.elapsed().as_secs_f64(),
        methods,
        run.map(|run| run.path().to_path_buf()).as_ref(),
    ));
    Ok(())
}

/// Share of each class's images that `multitask` is tested on and not trained on.
const TEST_SHARE: f64 = 0.25;
/// Validation tasks are the same in every run.
const VALIDATION_SEED: u64 = 0x7661_6c69;
/// Tells test tasks from training tasks of the same seed.
pub(crate) const TEST_SEED: u64 = 0x7465_7374;

/// Invented alphabets beside the data, seen through the same transform.
fn beside(options: &MetaTrain, view: &View, shape: TaskShape) -> Result<Option<Beside>> {
    let (Some(_), Some(alphabets)) = (&options.data, options.glyphs) else { return Ok(None) };
    let glyphs = data::invented(alphabets)?;
    let classes: Vec<u32> = (0..glyphs.classes().len() as u32).collect();
    let sampler = EpisodeSampler::new(glyphs.as_ref(), &classes, shape, Scope::Group)?;
    let view = data::view(glyphs, view.transform().clone())?;
    Ok(Some(Beside { view, sampler, share: options.glyphs_share }))
}

/// The method's settings; a usage error where it has no such setting.
fn settings(options: &MetaTrain, method: &Method) -> Result<Settings> {
    method.settings(&options.settings.told(method)).map_err(|error| Usage(error.to_string()).into())
}

fn setup(options: &MetaTrain, method: &Method, network: Network, settings: Settings, steps: u64) -> Setup {
    Setup { network, norm: options.settings.norm.unwrap_or(method.norm), settings, steps }
}

/// Passes over the training images, or `steps`.
fn pretraining(options: &MetaTrain, course: &Course<'_>, steps: Option<u64>) -> Plan {
    let images = course.view.dataset().labels().iter().filter(|label| course.classes.contains(label)).count();
    let an_epoch = (images as u64).div_ceil(options.batch_size as u64);
    Plan {
        steps: steps.unwrap_or(options.epochs * an_epoch),
        learning_rate: options.meta_lr,
        schedule: Schedule::Cosine { warmup: 0 },
        save_every: options.save_every,
        seed: options.run.common.seed,
        ..Plan::default()
    }
}

/// Meta-training, after pretraining where the method starts from it.
fn meta_train(
    options: &MetaTrain,
    method: &Method,
    episodic: &Episodic,
    settings: &Settings,
    course: &Course<'_>,
    validation: Option<&EpisodeSampler>,
) -> Result<(Network, stage::Trained)> {
    let pretrained = match episodic.pretrained {
        true => Some(course.pretrain("pretrained", &pretraining(options, course, None), options.batch_size)?.1),
        false => None,
    };
    let steps = options.steps.unwrap_or(DEFAULT_TASKS.div_ceil(options.meta_batch_size as u64));
    let plan = Plan {
        steps,
        items: options.meta_batch_size,
        learning_rate: options.meta_lr,
        schedule: Schedule::Cosine { warmup: 0 },
        clip: Some(10.0),
        validate_every: if validation.is_none() { 0 } else { options.validate_every.unwrap_or((steps / 20).max(1)) },
        save_every: options.save_every,
        seed: options.run.common.seed,
        ..Plan::default()
    };
    let network = method.network(&course.classifier(0)?, course.shape.ways().high());
    let setup = setup(options, method, network.clone(), settings.clone(), steps);
    let view = course.view;
    let validate = |state: &State| -> taper_learn::Result<f64> {
        let Some(sampler) = validation else { return Ok(0.0) };
        let learner = (method.learner)(&setup, state.clone())?;
        let episode = |number| Ok(view.episode(&sampler.draw(VALIDATION_SEED, number), None)?);
        Ok(evaluate(learner.as_ref(), options.validation_episodes, VALIDATION_SEED, episode)?.accuracy().mean)
    };
    let begin = pretrained.as_ref().map(|trained| &trained.progress.state);
    let mut trained = course.episodes(method.name, episodic, &setup, begin, &plan, validate)?;
    trained.seconds += pretrained.map_or(0.0, |trained| trained.seconds);
    Ok((network, trained))
}

/// The seed recipe: one shared head over tasks, an epoch a pass over them, each task's test
/// accuracy told as it goes.
fn multitask(
    options: &MetaTrain,
    settings: Settings,
    output: &Output,
    run: Option<&RunDirectory>,
    view: &Arc<View>,
    start: Instant,
) -> Result<()> {
    let dataset = view.dataset().as_ref();
    let (seed, ways) = (options.run.common.seed, options.tasks.ways.high());
    let all: Vec<u32> = (0..dataset.classes().len() as u32).collect();
    let (tasks, test) = SharedTasks::new(dataset, &all, ways, seed)?.split(TEST_SHARE, seed);
    let names: Vec<String> = tasks.names().map(String::from).collect();
    let scope = data::scope(options.tasks.scope, dataset);
    let shape = options.tasks.shape()?;
    let course = Course { run, output, view, classes: &all, scope, shape, backbone: options.backbone, beside: None };
    let network = course.classifier(ways)?;
    let objective = Supervised { network: network.clone(), head_only: false, norm: Norm::Batch, smoothing: 0.0 };
    let count = tasks.len() as u64;
    let steps = options.steps.unwrap_or(options.epochs * count);
    let plan = Plan {
        steps,
        learning_rate: options.meta_lr,
        validate_every: 1,
        save_every: options.save_every,
        seed,
        ..Plan::default()
    };
    let items = |at: Draw| tasks.batch(view.as_ref(), at.step as usize, options.batch_size, at);
    let mut step = run.map_or(Ok(None), |run| run.load("multitask"))?.map_or(0, |saved| saved.step);
    let queries = options.tasks.queries.high();
    let mut scores = Vec::new();
    let score = |state: &State| -> taper_learn::Result<f64> {
        let at = Draw { seed: seed ^ TEST_SEED, step, number: step };
        let batch = test.batch(view.as_ref(), step as usize, queries, at)?;
        let right = accuracy(&network.logits(state, &batch.inputs)?, &batch.labels)?;
        let name = &names[(step % count) as usize];
        output.line(format!("Epoch: {}, Task: {name}, Test Accuracy: {:.0} %", step / count, right * 100.0));
        if step / count == (steps - 1) / count {
            scores.push(right);
        }
        step += 1;
        Ok(right)
    };
    let trained =
        Stage { name: "multitask", run, output }.train(&plan, network.init(seed)?, &objective, items, score)?;
    let method = options.method.0;
    let setup = setup(options, method, network.clone(), settings, 0);
    let model = Model {
        network,
        state: trained.progress.state,
        labels: Vec::new(),
        transform: view.transform().to_string(),
        trained: course.trained(method.name, &setup),
    };
    if let Some(run) = run {
        model.save(&run.path().join("model"))?;
        output.line(format!("the learner is in {}", run.path().join("model").display()));
    }
    let mut methods = Vec::new();
    if !scores.is_empty() {
        let accuracy = taper_learn::mean_interval(&scores);
        output.line(format!("last epoch: {} % over {} tasks", percent(accuracy), scores.len()));
        methods
            .push(serde_json::json!({"name": method.name, "kind": method.kind.to_string(), "accuracy": accuracy.mean,
            "ci95": [accuracy.low, accuracy.high], "train_seconds": trained.seconds, "adapt_seconds": 0.0}));
    }
    let out = run.map(|run| run.path().to_path_buf());
    output.event(&result_json("meta-train", start.elapsed().as_secs_f64(), methods, out.as_ref()));
    Ok(())
}

/// Whether tasks stay within groups, in words.
pub(crate) fn within(scope: Scope) -> &'static str {
    match scope {
        Scope::Group => ", each task within a group",
        Scope::All => "",
    }
}
