//! `taper compare`: both kinds of learning, the same tasks, one table, one verdict.

use super::meta_train::{LearnerSpec, TEST_SEED, train_learner, within};
use super::{method_json, percent, result_json, run_directory};
use crate::args::{Compare, MethodName, Usage};
use crate::data::{self, Look};
use crate::learner::{CLASSIFIER, PROBE_C, learner, settings};
use crate::output::Output;
use crate::stage::{self, Stage};
use crate::table::{duration, table};
use crate::verdict::{Scored, verdict};
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Batch, EpisodeSampler, Inputs, Scope, TaskShape, View};
use taper_learn::heads::NearestNeighbour;
use taper_learn::{
    Adapt, Draw, Evaluation, Model, Plan, RunDirectory, Schedule, Supervised, TaskNorm, Trained, evaluate,
    paired_difference,
};
use taper_meta::SharedTasks;
use taper_models::{Architecture, Head, HeadPolicy, Network, Norm, State, identify, read_weights};
use taper_ops::permutation;

/// A method that is scored.
struct Row {
    name: String,
    kind: &'static str,
    trained_on: String,
    train_seconds: f64,
    method: Box<dyn Adapt>,
    view: Arc<View>,
    /// What is kept if it wins.
    model: Option<Model>,
}

/// What methods learn from, and what they are tested on.
struct Setting {
    train: Arc<View>,
    train_classes: Vec<u32>,
    train_scope: Scope,
    test: Arc<View>,
    test_classes: Vec<u32>,
    test_scope: Scope,
    /// Shape of training and test tasks.
    shape: TaskShape,
}

pub(crate) fn run(options: &Compare, config: &str, output: &Output) -> Result<()> {
    let start = Instant::now();
    let setting = setting(options, output)?;
    let sampler =
        EpisodeSampler::new(setting.test.dataset().as_ref(), &setting.test_classes, setting.shape, setting.test_scope)
            .with_context(|| setting.test.dataset().name().to_string())?;
    let run = run_directory(&options.run, config)?;
    let rows = rows(options, &setting, run.as_ref(), output)?;
    let seed = options.run.common.seed;
    let mut scored = Vec::new();
    for row in &rows {
        let episode = |number| Ok(row.view.episode(&sampler.draw(seed ^ TEST_SEED, number), None)?);
        let evaluation = evaluate(row.method.as_ref(), options.episodes, seed, episode)
            .with_context(|| format!("scoring {}", row.name))?;
        output.note(format!("{}: {} %", row.name, percent(evaluation.accuracy())));
        scored.push(evaluation);
    }
    report(options, &setting, &rows, &scored, output);
    let out = match &run {
        Some(run) => {
            keep_best(run, &rows, &scored, output)?;
            Some(run.path().to_path_buf())
        }
        None => None,
    };
    output.line(format!("{} in all.", duration(start.elapsed().as_secs_f64())));
    let methods = rows
        .iter()
        .zip(&scored)
        .map(|(row, evaluation)| {
            let mut entry = method_json(&row.name, row.kind, evaluation, row.train_seconds);
            entry["trained_on"] = json!(row.trained_on);
            entry["transductive"] = json!(row.method.transductive());
            entry
        })
        .collect();
    output.event(&result_json("compare", start.elapsed().as_secs_f64(), methods, out.as_ref()));
    Ok(())
}

fn setting(options: &Compare, output: &Output) -> Result<Setting> {
    let seed = options.run.common.seed;
    let dataset = data::dataset(options.data.as_deref())?;
    if let Some(note) = data::skipped(dataset.as_ref()) {
        output.note(note);
    }
    let shape = options.tasks.shape()?;
    let look = data::look(dataset.as_ref())?;
    let transform = data::transform(&options.image, options.backbone, look, look.channels)?;
    let test = data::view(dataset.clone(), transform)?;
    let test_scope = data::scope(options.tasks.scope, dataset.as_ref());
    if let Some(split) = data::split(dataset.as_ref(), seed, shape.ways().high()) {
        let (mut train, test_classes) = (split.train, split.test);
        // nothing is chosen on validation classes here, so they are learned from too
        train.extend(split.validation);
        output.line(format!(
            "{}: {} classes to learn from, {} others to be tested on.",
            dataset.name(),
            train.len(),
            test_classes.len()
        ));
        return Ok(Setting {
            train: test.clone(),
            train_classes: train,
            train_scope: test_scope,
            test,
            test_classes,
            test_scope,
            shape,
        });
    }
    let classes = dataset.classes().len();
    if classes < shape.ways().low() {
        return Err(Usage(format!(
            "{} has {classes} classes and tasks want {}: use --ways {classes}",
            dataset.name(),
            shape.ways()
        ))
        .into());
    }
    let other = data::dataset(Some(Path::new(&options.meta_data)))?;
    output.line(format!(
        "{} has {classes} classes, too few to split: methods learn from {} and are tested on {}.",
        dataset.name(),
        other.name(),
        dataset.name()
    ));
    let other_look = data::look(other.as_ref())?;
    let (_, side, _) = test.shape();
    let same_size = crate::args::ImageOptions { image_size: Some(side), transform: options.image.transform.clone() };
    let transform = data::transform(&same_size, options.backbone, other_look, look.channels)?;
    let train_scope = data::scope(None, other.as_ref());
    let train_classes = (0..other.classes().len() as u32).collect();
    let train = data::view(other, transform)?;
    let test_classes = (0..classes as u32).collect();
    Ok(Setting { train, train_classes, train_scope, test, test_classes, test_scope: Scope::All, shape })
}

/// Trains everything; each stage is a checkpoint of the run.
fn rows(options: &Compare, setting: &Setting, run: Option<&RunDirectory>, output: &Output) -> Result<Vec<Row>> {
    let mut rows = vec![Row {
        name: "pixels, nearest neighbour".into(),
        kind: "floor",
        trained_on: "nothing".into(),
        train_seconds: 0.0,
        method: Box::new(NearestNeighbour),
        view: setting.test.clone(),
        model: None,
    }];
    let seed = options.run.common.seed;
    let shape = &setting.shape;
    let ways = shape.ways().high();
    let plain = Network::new(options.backbone.backbone(setting.test.shape())?, Head::Linear { outputs: ways });
    let tune = settings([("steps", options.tune_steps as f64), ("lr", options.lr)]);
    let probe = settings([("c", PROBE_C)]);
    let mut add = |name: &str,
                   kind,
                   method: &str,
                   network: &Network,
                   state: State,
                   trained: Option<f64>,
                   norm: TaskNorm,
                   settings: BTreeMap<String, f64>|
     -> Result<()> {
        let on = match trained {
            Some(_) => setting.train.dataset().name().to_string(),
            None => "the support set".into(),
        };
        let dataset = setting.train.dataset();
        let classes = match trained {
            Some(_) => {
                setting.train_classes.iter().map(|&class| dataset.classes()[class as usize].full_name()).collect()
            }
            None => Vec::new(),
        };
        let model = Model {
            network: network.clone(),
            state,
            labels: Vec::new(),
            transform: setting.test.transform().to_string(),
            trained: Trained { method: method.into(), on: on.clone(), classes, settings, norm: norm.to_string() },
        };
        rows.push(Row {
            name: name.into(),
            kind,
            trained_on: on,
            train_seconds: trained.unwrap_or(0.0),
            method: learner(&model)?,
            view: setting.test.clone(),
            model: Some(model),
        });
        Ok(())
    };

    add("from scratch", "scratch", "scratch", &plain, plain.init(seed)?, None, TaskNorm::Support, tune.clone())?;

    let pretrained = pretrain(options, setting, run, output)?;
    for (name, method, settings) in [
        ("pretrained + nearest mean", "nearest-mean", BTreeMap::new()),
        ("pretrained + linear probe", "linear-probe", probe.clone()),
        ("pretrained + fine-tune", "fine-tune", tune.clone()),
    ] {
        let stage::Trained { progress, seconds } = &pretrained.1;
        add(
            name,
            "transfer",
            method,
            &pretrained.0,
            progress.state.clone(),
            Some(*seconds),
            TaskNorm::Stored,
            settings,
        )?;
    }

    let (network, trained) = multitask(options, setting, run, output)?;
    add(
        "multitask + fine-tune",
        "transfer",
        "multitask",
        &network,
        trained.progress.state,
        Some(trained.seconds),
        TaskNorm::Stored,
        tune,
    )?;

    for method in [MethodName::Protonet, MethodName::Maml] {
        let spec = LearnerSpec { method, inner: options.inner.clone(), ways };
        let network = spec.network(options.backbone, setting.train.shape())?;
        let sampler =
            EpisodeSampler::new(setting.train.dataset().as_ref(), &setting.train_classes, *shape, setting.train_scope)
                .with_context(|| setting.train.dataset().name().to_string())?;
        let images_a_task = ways * (shape.shots().high() + shape.queries().high());
        let plan = plan(options, options.meta_batch_size, images_a_task);
        let trained =
            train_learner(run, &spec, &network, network.init(seed)?, &plan, output, &setting.train, &sampler, |_| {
                Ok(0.0)
            })?;
        let settings = spec.trained(setting.train.dataset().as_ref(), &setting.train_classes).settings;
        let name = if method == MethodName::Maml { "MAML" } else { "ProtoNet" };
        add(
            name,
            "meta",
            &method.to_string(),
            &network,
            trained.progress.state,
            Some(trained.seconds),
            options.inner.norm,
            settings,
        )?;
    }

    if let Some(path) = &options.weights {
        rows.extend(foreign(options, setting, path)?);
    }
    Ok(rows)
}

/// As many steps as the budget of images allows.
fn plan(options: &Compare, items: usize, images_an_item: usize) -> Plan {
    Plan {
        steps: (options.images / (items * images_an_item) as u64).max(1),
        items,
        learning_rate: options.meta_lr,
        schedule: Schedule::Cosine { warmup: 0 },
        clip: Some(10.0),
        save_every: 100,
        seed: options.run.common.seed,
        ..Plan::default()
    }
}

/// An ordinary classifier of all training classes.
fn pretrain(
    options: &Compare,
    setting: &Setting,
    run: Option<&RunDirectory>,
    output: &Output,
) -> Result<(Network, stage::Trained)> {
    let dataset = setting.train.dataset();
    let ways = setting.train_classes.len();
    let place: BTreeMap<u32, u32> =
        setting.train_classes.iter().enumerate().map(|(place, &class)| (class, place as u32)).collect();
    let images: Vec<(usize, u32)> =
        dataset.labels().iter().enumerate().filter_map(|(image, class)| Some((image, *place.get(class)?))).collect();
    let network = Network::new(options.backbone.backbone(setting.train.shape())?, Head::Linear { outputs: ways });
    let objective = Supervised { network: network.clone(), head_only: false, norm: Norm::Batch, smoothing: 0.0 };
    let size = options.batch_size.min(images.len());
    let plan = plan(options, 1, size);
    let steps_an_epoch = (images.len() / size) as u64;
    let items = |at: Draw| {
        let order = permutation(&mut taper_ops::rng(at.seed, "epoch", at.step / steps_an_epoch), images.len());
        let first = (at.step % steps_an_epoch) as usize * size;
        let chosen: Vec<(usize, u32)> = order[first..first + size].iter().map(|&k| images[k]).collect();
        let (indices, labels): (Vec<usize>, Vec<u32>) = chosen.into_iter().unzip();
        Ok(Batch::new(setting.train.inputs(&indices, Some(&mut at.rng("transform")))?, &labels, ways)?)
    };
    let start = network.init(options.run.common.seed)?;
    let trained = Stage { name: "pretrained", run, output }.train(&plan, start, &objective, items, |_| Ok(0.0))?;
    Ok((network, trained))
}

/// One shared head over fixed tasks.
fn multitask(
    options: &Compare,
    setting: &Setting,
    run: Option<&RunDirectory>,
    output: &Output,
) -> Result<(Network, stage::Trained)> {
    let (seed, ways) = (options.run.common.seed, setting.shape.ways().high());
    let tasks = SharedTasks::new(setting.train.dataset().as_ref(), &setting.train_classes, ways, seed)?;
    let network = Network::new(options.backbone.backbone(setting.train.shape())?, Head::Linear { outputs: ways });
    let objective = Supervised { network: network.clone(), head_only: false, norm: Norm::Batch, smoothing: 0.0 };
    let plan = plan(options, 1, options.batch_size);
    let items = |at: Draw| tasks.batch(setting.train.as_ref(), at.step as usize, options.batch_size, at);
    let trained =
        Stage { name: "multitask", run, output }.train(&plan, network.init(seed)?, &objective, items, |_| Ok(0.0))?;
    Ok((network, trained))
}

/// Rows of a network pretrained elsewhere, on images as it likes them.
fn foreign(options: &Compare, setting: &Setting, path: &Path) -> Result<Vec<Row>> {
    let weights = read_weights(path)?;
    let about = || path.display().to_string();
    let (architecture, _) = identify(&weights)
        .with_context(|| format!("{}: fits no architecture of taper, see `taper inspect`", path.display()))?;
    let dataset = setting.test.dataset().clone();
    let Look { .. } = data::look(dataset.as_ref())?;
    let image = crate::args::ImageOptions { image_size: None, transform: None };
    let transform = data::transform(&image, architecture, data::look(dataset.as_ref())?, 3)?;
    let view = data::view(dataset, transform)?;
    let network =
        Network::new(architecture.backbone(view.shape())?, Head::Linear { outputs: setting.shape.ways().high() });
    let state = network.load(weights, HeadPolicy::Replace { seed: options.run.common.seed }).with_context(about)?;
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let methods = [
        ("nearest mean", "nearest-mean", BTreeMap::new()),
        ("linear probe", "linear-probe", settings([("c", PROBE_C)])),
        ("fine-tune", "fine-tune", settings([("steps", options.tune_steps as f64), ("lr", options.lr * 0.1)])),
    ];
    let mut rows = Vec::new();
    for (name, method, settings) in methods {
        // fine-tuning a large network on every task takes hours on a CPU
        if method == "fine-tune"
            && !matches!(architecture, Architecture::Conv4(_) | Architecture::SmallCnn)
            && !network_is_small(&network)
        {
            continue;
        }
        let trained = Trained {
            method: method.into(),
            on: file.clone(),
            classes: Vec::new(),
            settings,
            norm: TaskNorm::Stored.to_string(),
        };
        let model = Model {
            network: network.clone(),
            state: state.clone(),
            labels: Vec::new(),
            transform: view.transform().to_string(),
            trained,
        };
        rows.push(Row {
            name: format!("{architecture} + {name}"),
            kind: "transfer",
            trained_on: file.clone(),
            train_seconds: 0.0,
            method: learner(&model)?,
            view: view.clone(),
            model: Some(model),
        });
    }
    Ok(rows)
}

/// Under a million parameters: fine-tuned in seconds.
fn network_is_small(network: &Network) -> bool {
    network.init(0).is_ok_and(|state| state.params.count() < 1_000_000)
}

fn report(options: &Compare, setting: &Setting, rows: &[Row], scored: &[Evaluation], output: &Output) {
    let Some(best) = scored.iter().max_by(|a, b| a.accuracy().mean.total_cmp(&b.accuracy().mean)) else { return };
    let shots = setting.shape.shots();
    output.line(format!(
        "\n{} test tasks of {}{}; {} of width {}, {} images seen in training, seed {}.\n",
        options.episodes,
        setting.shape,
        within(setting.test_scope),
        options.backbone,
        setting.test.shape().1,
        options.images,
        options.run.common.seed
    ));
    let lines: Vec<Vec<String>> = rows
        .iter()
        .zip(scored)
        .map(|(row, evaluation)| {
            let difference = paired_difference(&evaluation.accuracies, &best.accuracies);
            let behind = if std::ptr::eq(evaluation, best) { "best 0".into() } else { percent(difference) };
            vec![
                format!("{}{}", row.name, if row.method.transductive() { " (transductive)" } else { "" }),
                row.kind.to_string(),
                percent(evaluation.accuracy()),
                behind,
                duration(row.train_seconds),
                duration(evaluation.cost.adapt_seconds),
                shots.to_string(),
                row.trained_on.clone(),
            ]
        })
        .collect();
    let header =
        ["method", "kind", "accuracy %", "from the best", "training", "adapting", "labels a class", "trained on"];
    output.line(table(&header, &lines));
    let rows: Vec<Scored<'_>> = rows
        .iter()
        .zip(scored)
        .map(|(row, evaluation)| Scored {
            name: &row.name,
            kind: row.kind,
            accuracies: &evaluation.accuracies,
            accuracy: evaluation.accuracy(),
        })
        .collect();
    output.line(format!("\n{}", verdict(&rows)));
}

/// Writes the best method that can be kept as the run's model.
fn keep_best(run: &RunDirectory, rows: &[Row], scored: &[Evaluation], output: &Output) -> Result<()> {
    let best = rows
        .iter()
        .zip(scored)
        .filter_map(|(row, evaluation)| Some((row, row.model.as_ref()?, evaluation.accuracy().mean)))
        .max_by(|a, b| a.2.total_cmp(&b.2));
    let Some((row, model, _)) = best else { return Ok(()) };
    let path = run.path().join("model");
    model.save(&path)?;
    output.line(format!(
        "{} is in {}: `taper adapt {} SUPPORT_FOLDER --out MINE` makes a {CLASSIFIER} of it.",
        row.name,
        path.display(),
        run.path().display()
    ));
    Ok(())
}
