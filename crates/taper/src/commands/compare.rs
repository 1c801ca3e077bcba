//! `taper compare`: both kinds of learning, the same tasks, one table, one verdict.

use super::meta_train::{TEST_SEED, within};
use super::{method_json, percent, result_json, run_directory};
use crate::args::{Compare, Usage};
use crate::course::Course;
use crate::data;
use crate::output::{Output, Stopped, interrupted};
use crate::registry::{CLASSIFIER, METHODS, learner};
use crate::stage;
use crate::table::{duration, table};
use crate::verdict::{Scored, verdict};
use anyhow::{Context, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{EpisodeSampler, Inputs, Scope, TaskShape, View};
use taper_learn::{
    Adapt, Evaluation, Kind, Method, Model, Plan, RunDirectory, Schedule, Setup, Trained, Training, evaluate,
    paired_difference,
};
use taper_models::{Head, HeadPolicy, Network, State, identify, read_weights};

/// A method that is scored.
struct Row {
    name: String,
    kind: Kind,
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
        if interrupted() {
            return Err(Stopped(match &run {
                Some(run) => format!("stopped while scoring; go on with --resume {}", run.path().display()),
                None => "stopped while scoring, nothing was kept: use --out next time".into(),
            })
            .into());
        }
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
            let mut entry = method_json(&row.name, &row.kind.to_string(), evaluation, row.train_seconds);
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
    data::tell(dataset.as_ref(), output)?;
    let shape = options.tasks.shape()?;
    data::check_classes(dataset.as_ref(), &shape)?;
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
    data::tell(other.as_ref(), output)?;
    data::check_classes(other.as_ref(), &shape)?;
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
    let course = Course {
        run,
        output,
        view: &setting.train,
        classes: &setting.train_classes,
        scope: setting.train_scope,
        shape: setting.shape,
        backbone: options.backbone,
    };
    let mut rows = Vec::new();
    // trained once, for every method that starts from it
    let (mut pretrained, mut half_pretrained, mut shared) = (None, None, None);
    for method in METHODS.iter().filter(|method| asked(options, method)) {
        let (network, state, seconds) = match &method.training {
            Training::Nothing => {
                let network = method.network(&course.classifier(0)?, setting.shape.ways().high());
                let state = network.init(options.run.common.seed)?;
                (network, state, None)
            }
            Training::Pretraining => once(&mut pretrained, || {
                let plan = plan(options, 1, options.batch_size, 1.0);
                course.pretrain("pretrained", &plan, options.batch_size)
            })?,
            Training::SharedTasks => once(&mut shared, || {
                course.shared_tasks(&plan(options, 1, options.batch_size, 1.0), options.batch_size)
            })?,
            Training::Episodes(episodic) => {
                // a method of two stages sees as many images as the others, half of them in each
                let begin = match episodic.pretrained {
                    true => Some(once(&mut half_pretrained, || {
                        let plan = plan(options, 1, options.batch_size, 0.5);
                        course.pretrain("pretrained-half", &plan, options.batch_size)
                    })?),
                    false => None,
                };
                let shape = &setting.shape;
                let images_a_task = shape.ways().high() * (shape.shots().high() + shape.queries().high());
                let share = if begin.is_some() { 0.5 } else { 1.0 };
                let plan = plan(options, options.meta_batch_size, images_a_task, share);
                let network = method.network(&course.classifier(0)?, shape.ways().high());
                let setup = setup(options, method, network.clone(), plan.steps)?;
                let start = begin.as_ref().map(|(_, state, _)| state);
                let trained = course.episodes(method.name, episodic, &setup, start, &plan, |_| Ok(0.0))?;
                let before = begin.and_then(|(_, _, seconds)| seconds).unwrap_or(0.0);
                (network, trained.progress.state, Some(trained.seconds + before))
            }
        };
        let setup = setup(options, method, network.clone(), 0)?;
        let model = Model {
            network,
            state,
            labels: Vec::new(),
            transform: setting.test.transform().to_string(),
            trained: match seconds {
                Some(_) => course.trained(method.name, &setup),
                None => Trained { on: "nothing".into(), classes: Vec::new(), ..course.trained(method.name, &setup) },
            },
        };
        rows.push(Row {
            name: method.title.into(),
            kind: method.kind,
            trained_on: match method.kind {
                Kind::Floor => "nothing".into(),
                Kind::Scratch => "the support set".into(),
                Kind::Transfer | Kind::Meta => setting.train.dataset().name().to_string(),
            },
            train_seconds: seconds.unwrap_or(0.0),
            method: learner(&model)?,
            view: setting.test.clone(),
            model: (method.kind != Kind::Floor).then_some(model),
        });
    }
    if let Some(path) = &options.weights {
        rows.extend(foreign(options, setting, path)?);
    }
    Ok(rows)
}

/// Is the method among those to compare?
fn asked(options: &Compare, method: &Method) -> bool {
    options.methods.iter().any(|named| named.0.name == method.name)
}

/// A network, its state and the seconds that training took.
type Stage = (Network, State, Option<f64>);

/// The stage, trained when it is first asked for.
fn once(place: &mut Option<Stage>, train: impl FnOnce() -> Result<(Network, stage::Trained)>) -> Result<Stage> {
    if place.is_none() {
        let (network, trained) = train()?;
        *place = Some((network, trained.progress.state, Some(trained.seconds)));
    }
    place.clone().context("the stage was trained a moment ago")
}

/// A method with the settings that the options tell it.
fn setup(options: &Compare, method: &Method, network: Network, steps: u64) -> Result<Setup> {
    let mut told = BTreeMap::from([("steps".to_string(), options.tune_steps as f64), ("lr".to_string(), options.lr)]);
    told.retain(|name, _| method.settings.iter().any(|setting| setting.name == name));
    told.extend(options.settings.told(method));
    let settings = method.settings(&told).map_err(|error| Usage(error.to_string()))?;
    let norm = match method.training {
        Training::Episodes(_) => options.settings.norm.unwrap_or(method.norm),
        _ => method.norm,
    };
    Ok(Setup { network, norm, settings, steps })
}

/// As many steps as a share of the budget of images allows.
fn plan(options: &Compare, items: usize, images_an_item: usize, share: f64) -> Plan {
    Plan {
        steps: ((options.images as f64 * share) as u64 / (items * images_an_item) as u64).max(1),
        items,
        learning_rate: options.meta_lr,
        schedule: Schedule::Cosine { warmup: 0 },
        clip: Some(10.0),
        save_every: 100,
        seed: options.run.common.seed,
        ..Plan::default()
    }
}

/// Rows of a network pretrained elsewhere, on images as it likes them.
fn foreign(options: &Compare, setting: &Setting, path: &Path) -> Result<Vec<Row>> {
    let weights = read_weights(path)?;
    let about = || path.display().to_string();
    let (architecture, _) = identify(&weights)
        .with_context(|| format!("{}: fits no architecture of taper, see `taper inspect`", path.display()))?;
    let dataset = setting.test.dataset().clone();
    let image = crate::args::ImageOptions { image_size: None, transform: None };
    let transform = data::transform(&image, architecture, data::look(dataset.as_ref())?, 3)?;
    let view = data::view(dataset, transform)?;
    let network =
        Network::new(architecture.backbone(view.shape())?, Head::Linear { outputs: setting.shape.ways().high() });
    let state = network.load(weights, HeadPolicy::Replace { seed: options.run.common.seed }).with_context(about)?;
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut rows = Vec::new();
    let pretraining = |method: &&&Method| matches!(method.training, Training::Pretraining);
    for method in METHODS.iter().filter(pretraining).filter(|method| asked(options, method)) {
        let fine_tunes = method.settings.iter().any(|setting| setting.name == "lr");
        // fine-tuning a large network on every task takes hours on a CPU
        if fine_tunes && !network_is_small(&network) {
            continue;
        }
        let lower = Compare { lr: options.lr * 0.1, ..options.clone() };
        let setup = setup(&lower, method, network.clone(), 0)?;
        let model = Model {
            network: network.clone(),
            state: state.clone(),
            labels: Vec::new(),
            transform: view.transform().to_string(),
            trained: Trained {
                method: method.name.into(),
                on: file.clone(),
                classes: Vec::new(),
                settings: setup.settings.to_map(),
                norm: setup.norm.to_string(),
            },
        };
        rows.push(Row {
            name: format!("{architecture}, {}", method.title),
            kind: method.kind,
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
            let behind = if std::ptr::eq(evaluation, best) { "0 (best)".into() } else { percent(difference) };
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
