//! Contenders that were trained before, elsewhere: pretrained weights, and the built-in learner.

use crate::builtin::{BUILT_IN, built_in_if_drawings};
use crate::contender::Contender;
use crate::registry::{METHODS, learner};
use crate::tasks::ComparisonTasks;
use crate::training::configured;
use crate::{Comparison, Result, Start};
use std::sync::Arc;
use taper_data::{Dataset, Look, Transform, View};
use taper_learn::{
    Model, Observer,
    methods::Training,
    models::{Origin, default_transform},
    provenance::Provenance,
};
use taper_models::catalog::Pretrained;
use taper_models::{Head, HeadPolicy, Network};

/// Parameters up to which fine-tuning on every task takes seconds on a CPU, not hours.
const FINE_TUNED_UP_TO: usize = 1_000_000;

/// Methods on the features of a pretrained network, which sees images as it did in its training.
pub(crate) fn from_weights(
    comparison: &Comparison,
    tasks: &ComparisonTasks,
    pretrained: &Pretrained,
    observer: &mut dyn Observer,
) -> Result<Vec<Contender>> {
    let architecture = pretrained.architecture;
    let validation = view(tasks.validation.view.dataset(), pretrained)?;
    let test = view(tasks.test.view.dataset(), pretrained)?;
    let head = Head::Linear { outputs: tasks.shape.ways().high() };
    let network = Network::new(architecture.backbone(test.shape())?, head);
    let state = pretrained.state(&network, HeadPolicy::Replace { seed: comparison.seed })?;
    let small = state.params.count() < FINE_TUNED_UP_TO;
    let mut contenders = Vec::new();
    let asked = METHODS.iter().filter(|method| comparison.asks_for(method.info().name));
    for &method in asked.filter(|method| method.info().training == Training::Pretraining) {
        let info = method.info();
        let fine_tunes = method.has_setting("steps");
        if fine_tunes && !small {
            observer.note(format!(
                "{architecture}, {}: left out, since fine-tuning so large a network on every task takes hours on a CPU",
                info.title
            ))?;
            continue;
        }
        // pretrained weights want a lower rate than those of a small network trained here
        let lower = Comparison { lr: comparison.lr * 0.1, ..comparison.clone() };
        let configured = configured(&lower, method, network.clone(), 0)?;
        let origin = Origin {
            method: info.name.into(),
            on: pretrained.name.clone(),
            classes: Vec::new(),
            settings: configured.settings().clone(),
            norm: configured.context().norm.to_string(),
        };
        let model = Model {
            network: network.clone(),
            state: state.clone(),
            labels: Vec::new(),
            transform: test.transform().to_string(),
            provenance: Provenance::unrecorded(&origin),
            origin,
        };
        contenders.push(Contender {
            name: format!("{architecture}, {}", info.title),
            kind: info.kind,
            start: Start::Elsewhere(pretrained.name.clone()),
            trained_on: pretrained.name.clone(),
            train_seconds: 0.0,
            trained_here: false,
            learner: learner(&model)?,
            validation: validation.clone(),
            test: test.clone(),
            model: Some(model),
        });
    }
    Ok(contenders)
}

/// A data set as a pretrained network sees photographs; drawings as drawings are prepared.
fn view(dataset: &Arc<dyn Dataset>, pretrained: &Pretrained) -> Result<Arc<View>> {
    let look = Look::of(dataset.as_ref())?;
    let published = match &pretrained.preparation {
        Some(preparation) if look.channels == 3 => preparation.steps(None)?,
        _ => None,
    };
    let transform: Transform = match published {
        Some(steps) => steps.parse()?,
        None => default_transform(pretrained.architecture, look, pretrained.channels(), None)?,
    };
    Ok(Arc::new(View::new(dataset.clone(), transform)?))
}

/// The built-in learner, if the test images are line drawings.
pub(crate) fn built_in(
    comparison: &Comparison,
    tasks: &ComparisonTasks,
    observer: &mut dyn Observer,
) -> Result<Option<Contender>> {
    if !comparison.asks_for(BUILT_IN.info().name) {
        return Ok(None);
    }
    let dataset = tasks.test.view.dataset();
    let Some(model) = built_in_if_drawings(dataset.as_ref())? else {
        observer.note(format!(
            "{}: not line drawings, so the {} is left out",
            dataset.name(),
            BUILT_IN.info().title
        ))?;
        return Ok(None);
    };
    let view = |dataset: &Arc<dyn Dataset>| -> Result<Arc<View>> {
        Ok(Arc::new(View::new(dataset.clone(), model.transform.parse()?)?))
    };
    Ok(Some(Contender {
        name: BUILT_IN.info().title.into(),
        kind: BUILT_IN.info().kind,
        start: Start::Elsewhere("synthetic alphabets".into()),
        trained_on: "synthetic alphabets".into(),
        train_seconds: 0.0,
        trained_here: false,
        learner: learner(&model)?,
        validation: view(tasks.validation.view.dataset())?,
        test: view(dataset)?,
        model: Some(model),
    }))
}
