//! The methods of a comparison, trained.

use super::foreign::foreign;
use super::setting::Setting;
use super::training::Training;
use crate::args::{Compare, Usage};
use crate::course::Course;
use crate::data;
use crate::drawings::{self, IN_PROGRAM};
use crate::output::Output;
use crate::registry::{METHODS, learner};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use taper_data::View;
use taper_learn::{Adapt, Kind, Method, Model, RunDirectory, Setup, Trained};
use taper_models::Network;

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
    /// Did it come with the program, having learned more than the others could here?
    pub(super) carried: bool,
}

/// Trains everything; each stage is a checkpoint of the run.
pub(super) fn rows(
    options: &Compare,
    setting: &Setting,
    run: Option<&RunDirectory>,
    output: &Output,
) -> Result<Vec<Row>> {
    let course = Course {
        beside: Vec::new(),
        run,
        output,
        view: &setting.train,
        classes: &setting.train_classes,
        scope: setting.train_scope,
        shape: setting.shape,
        backbone: options.backbone,
    };
    let mut training = Training::new(options, &course);
    let mut rows = Vec::new();
    for method in METHODS.iter().filter(|method| asked(options, method)) {
        let learned = training.of(method)?;
        let setup = setup(options, method, learned.network.clone(), 0)?;
        let trained = match learned.seconds {
            Some(_) => course.trained(method.name, &setup),
            None => Trained { on: "nothing".into(), classes: Vec::new(), ..course.trained(method.name, &setup) },
        };
        let model = Model {
            network: learned.network,
            state: learned.state,
            labels: Vec::new(),
            transform: setting.test.transform().to_string(),
            trained,
        };
        rows.push(Row {
            name: method.title.into(),
            kind: method.kind,
            trained_on: match method.kind {
                Kind::Floor => "nothing".into(),
                Kind::Scratch => "the support set".into(),
                Kind::Transfer | Kind::Meta => setting.train.dataset().name().to_string(),
            },
            train_seconds: learned.seconds.unwrap_or(0.0),
            method: learner(&model)?,
            view: setting.test.clone(),
            model: (method.kind != Kind::Floor).then_some(model),
            carried: false,
        });
    }
    if asked(options, &IN_PROGRAM) {
        rows.extend(in_program(setting, output)?);
    }
    if let Some(path) = &options.weights {
        rows.extend(foreign(options, setting, path)?);
    }
    Ok(rows)
}

/// The learner in the program, where the images are line drawings.
fn in_program(setting: &Setting, output: &Output) -> Result<Option<Row>> {
    let dataset = setting.test.dataset();
    let Some(model) = drawings::learner_where_it_fits(dataset.as_ref())? else {
        output.note(format!("{}: no line drawings, so no row for {}", dataset.name(), IN_PROGRAM.title));
        return Ok(None);
    };
    Ok(Some(Row {
        name: IN_PROGRAM.title.into(),
        kind: IN_PROGRAM.kind,
        trained_on: "invented alphabets".into(),
        train_seconds: 0.0,
        method: learner(&model)?,
        view: data::view(dataset.clone(), model.transform.parse()?)?,
        model: Some(model),
        carried: true,
    }))
}

/// Is the method among those to compare?
pub(super) fn asked(options: &Compare, method: &Method) -> bool {
    options.methods.iter().any(|named| named.0.name == method.name)
}

/// A method with the settings that the options tell it.
pub(super) fn setup(options: &Compare, method: &Method, network: Network, steps: u64) -> Result<Setup> {
    let mut told = BTreeMap::from([("steps".to_string(), options.tune_steps as f64), ("lr".to_string(), options.lr)]);
    told.retain(|name, _| method.settings.iter().any(|setting| setting.name == name));
    told.extend(options.settings.told(method));
    let settings = method.settings(&told).map_err(|error| Usage(error.to_string()))?;
    let norm = match method.training {
        taper_learn::Training::Episodes(_) => options.settings.norm.unwrap_or(method.norm),
        _ => method.norm,
    };
    Ok(Setup { network, norm, settings, steps })
}
