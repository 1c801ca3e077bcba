//! `taper meta-train`: a learner from many small tasks.

use super::{method_json, percent, result_json, run_directory};
use crate::args::{MetaTrain, MethodName};
use crate::data;
use crate::learner::{learner, settings};
use crate::output::Output;
use crate::stage::{self, Stage};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Dataset, EpisodeSampler, Inputs, Scope, Split, View};
use taper_learn::{
    Adapt, Draw, Model, Plan, RunDirectory, Schedule, Supervised, TaskNorm, Trained, accuracy, evaluate,
};
use taper_meta::{Maml, Order, ProtoNet, SharedTasks};
use taper_models::{Architecture, Head, Network, Norm, State};

/// Tasks of a run that says nothing of its length.
const DEFAULT_TASKS: u64 = 60_000;

pub(crate) fn run(options: &MetaTrain, config: &str, output: &Output) -> Result<()> {
    let start = Instant::now();
    let dataset = data::dataset(options.data.as_deref())?;
    if let Some(note) = data::skipped(dataset.as_ref()) {
        output.note(note);
    }
    let look = data::look(dataset.as_ref())?;
    let transform = data::transform(&options.image, options.backbone, look, look.channels)?;
    let view = data::view(dataset.clone(), transform)?;
    let shape = options.tasks.shape()?;
    let scope = data::scope(options.tasks.scope, dataset.as_ref());
    let split = data::split(dataset.as_ref(), options.run.common.seed, shape.ways().high()).unwrap_or_else(|| {
        output.note("too few classes to keep some for validation: all are trained on");
        Split { train: (0..dataset.classes().len() as u32).collect(), validation: Vec::new(), test: Vec::new() }
    });
    if options.method == MethodName::Multitask {
        let run = run_directory(&options.run, config)?;
        return multitask(options, output, run.as_ref(), &view, start);
    }
    let sampler = EpisodeSampler::new(dataset.as_ref(), &split.train, shape, scope)?;
    let validation = EpisodeSampler::new(dataset.as_ref(), &split.validation, shape, scope).ok();
    let run = run_directory(&options.run, config)?;
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
    let spec = LearnerSpec { method: options.method, inner: options.inner.clone(), ways: shape.ways().high() };
    let network = spec.network(options.backbone, view.shape())?;
    let model = |state: State| Model {
        network: network.clone(),
        state,
        labels: Vec::new(),
        transform: view.transform().to_string(),
        trained: spec.trained(dataset.as_ref(), &split.train),
    };
    let validate = |state: &State| -> taper_learn::Result<f64> {
        let Some(sampler) = &validation else { return Ok(0.0) };
        let method = spec.adapt(&network, state.clone())?;
        let episode = |number| Ok(view.episode(&sampler.draw(VALIDATION_SEED, number), None)?);
        let scored = evaluate(method.as_ref(), options.validation_episodes, VALIDATION_SEED, episode)?;
        Ok(scored.accuracy().mean)
    };
    let begin = network.init(options.run.common.seed)?;
    let trained = train_learner(run.as_ref(), &spec, &network, begin, &plan, output, &view, &sampler, validate)?;
    let seconds = trained.seconds;
    let model = model(trained.progress.into_best());
    if let Some(run) = &run {
        model.save(&run.path().join("model"))?;
    }
    // the test classes are scored once, at the end
    let test = EpisodeSampler::new(dataset.as_ref(), &split.test, shape, scope).ok();
    let mut methods = Vec::new();
    if let Some(test) = test {
        let method = learner(&model)?;
        let seed = options.run.common.seed;
        let scored =
            evaluate(method.as_ref(), 200, seed, |n| Ok(view.episode(&test.draw(seed ^ TEST_SEED, n), None)?))?;
        output.line(format!(
            "{}: {} % on 200 tasks of {} from classes not trained on{}",
            options.method,
            percent(scored.accuracy()),
            shape,
            if method.transductive() { " (transductive)" } else { "" }
        ));
        methods.push(method_json(&options.method.to_string(), "meta", &scored, seconds));
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

/// Validation tasks are the same in every run.
const VALIDATION_SEED: u64 = 0x7661_6c69;
/// Tells test tasks from training tasks of the same seed.
pub(crate) const TEST_SEED: u64 = 0x7465_7374;

/// A meta-learning method with its settings.
#[derive(Clone)]
pub(crate) struct LearnerSpec {
    pub(crate) method: MethodName,
    pub(crate) inner: crate::args::InnerOptions,
    pub(crate) ways: usize,
}

impl LearnerSpec {
    pub(crate) fn network(&self, backbone: Architecture, input: (usize, usize, usize)) -> Result<Network> {
        let head = match self.method {
            MethodName::Protonet => Head::Identity,
            _ => Head::Linear { outputs: self.ways },
        };
        Ok(Network::new(backbone.backbone(input)?, head))
    }

    fn order(&self) -> Order {
        if self.method == MethodName::FirstOrderMaml { Order::First } else { Order::Second }
    }

    fn maml(&self, network: &Network) -> taper_learn::Result<Maml> {
        let inner = &self.inner;
        Maml::new(network.clone(), inner.inner_lr, inner.inner_steps, self.order(), inner.norm)
    }

    pub(crate) fn adapt(&self, network: &Network, state: State) -> taper_learn::Result<Box<dyn Adapt>> {
        Ok(match self.method {
            MethodName::Protonet => Box::new(ProtoNet::new(network.clone(), self.inner.norm).learner(state)),
            _ => Box::new(self.maml(network)?.learner(state, self.inner.adapt_steps)),
        })
    }

    pub(crate) fn trained(&self, dataset: &dyn Dataset, classes: &[u32]) -> Trained {
        let inner = &self.inner;
        Trained {
            method: self.method.to_string(),
            on: format!("{} ({} classes)", dataset.name(), classes.len()),
            classes: classes.iter().map(|&class| dataset.classes()[class as usize].full_name()).collect(),
            settings: match self.method {
                MethodName::Protonet => BTreeMap::new(),
                _ => settings([
                    ("inner-lr", inner.inner_lr),
                    ("inner-steps", inner.inner_steps as f64),
                    ("adapt-steps", inner.adapt_steps as f64),
                ]),
            },
            norm: inner.norm.to_string(),
        }
    }
}

/// Meta-trains by the method's own objective.
#[allow(clippy::too_many_arguments)] // one call of `fit`, with what it is called for
pub(crate) fn train_learner(
    run: Option<&RunDirectory>,
    spec: &LearnerSpec,
    network: &Network,
    start: State,
    plan: &Plan,
    output: &Output,
    view: &Arc<View>,
    sampler: &EpisodeSampler,
    validate: impl FnMut(&State) -> taper_learn::Result<f64>,
) -> Result<stage::Trained> {
    let name = spec.method.to_string();
    let items = |at: Draw| Ok(view.episode(&sampler.draw(at.seed, at.number), Some(&mut at.rng("transform")))?);
    match spec.method {
        MethodName::Protonet => {
            let objective = ProtoNet::new(network.clone(), spec.inner.norm);
            Stage { name: &name, run, output }.train(plan, start, &objective, items, validate)
        }
        _ => Stage { name: &name, run, output }.train(plan, start, &spec.maml(network)?, items, validate),
    }
}

/// The seed recipe: one shared head over tasks, an epoch a pass over them, each task's test
/// accuracy told as it goes.
fn multitask(
    options: &MetaTrain,
    output: &Output,
    run: Option<&RunDirectory>,
    view: &Arc<View>,
    start: Instant,
) -> Result<()> {
    let dataset = view.dataset().as_ref();
    let (seed, ways) = (options.run.common.seed, options.tasks.ways.high());
    let all: Vec<u32> = (0..dataset.classes().len() as u32).collect();
    let tasks = SharedTasks::new(dataset, &all, ways, seed)?;
    let names: Vec<String> = tasks.names().map(String::from).collect();
    let network = Network::new(options.backbone.backbone(view.shape())?, Head::Linear { outputs: ways });
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
        let batch = tasks.batch(view.as_ref(), step as usize, queries, at)?;
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
    let classes = all.iter().map(|&class| dataset.classes()[class as usize].full_name()).collect();
    let model = Model {
        network: network.clone(),
        state: trained.progress.state,
        labels: Vec::new(),
        transform: view.transform().to_string(),
        trained: Trained {
            method: "multitask".into(),
            on: format!("{} ({count} tasks of {ways} classes)", dataset.name()),
            classes,
            settings: settings([("steps", 40.0), ("lr", 3e-3)]),
            norm: TaskNorm::Stored.to_string(),
        },
    };
    if let Some(run) = run {
        model.save(&run.path().join("model"))?;
        output.line(format!("the learner is in {}", run.path().join("model").display()));
    }
    let mut methods = Vec::new();
    if !scores.is_empty() {
        let accuracy = taper_learn::mean_interval(&scores);
        output.line(format!("last epoch: {} % over {} tasks", percent(accuracy), scores.len()));
        methods.push(serde_json::json!({"name": "multitask", "kind": "transfer", "accuracy": accuracy.mean,
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
