//! The methods of a comparison, trained.

use super::foreign::foreign;
use super::setting::Setting;
use crate::args::{Compare, Usage};
use crate::course::Course;
use crate::output::Output;
use crate::registry::{METHODS, learner};
use crate::stage;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::View;
use taper_learn::{Adapt, Kind, Method, Model, Plan, RunDirectory, Schedule, Setup, Trained, Training};
use taper_models::{Network, State};

/// A method that is scored.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) trained_on: String,
    pub(super) train_seconds: f64,
    pub(super) method: Box<dyn Adapt>,
    pub(super) view: Arc<View>,
    /// What is kept if it wins.
    pub(super) model: Option<Model>,
}

/// Trains everything; each stage is a checkpoint of the run.
pub(super) fn rows(
    options: &Compare,
    setting: &Setting,
    run: Option<&RunDirectory>,
    output: &Output,
) -> Result<Vec<Row>> {
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
pub(super) fn asked(options: &Compare, method: &Method) -> bool {
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
pub(super) fn setup(options: &Compare, method: &Method, network: Network, steps: u64) -> Result<Setup> {
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
