//! Contenders that were trained before, elsewhere: pretrained weights, and the built-in learner.

use crate::builtin::{BUILT_IN, built_in_if_drawings};
use crate::contender::Contender;
use crate::from_weights::{Frozen, Made, MetaTrained, MetaTraining, VALIDATION_EPISODES, fits_head};
use crate::registry::{METHODS, learner};
use crate::tasks::{ComparisonTasks, TaskSet};
use crate::training::configured;
use crate::{Comparison, Result, Start};
use std::sync::Arc;
use taper_data::{Dataset, Inputs, Look, View};
use taper_learn::{Method, Model, Observer, RunDirectory, methods::Training, models::Origin, provenance::Provenance};
use taper_models::catalog::Pretrained;
use taper_transfer::input_transform;

/// Parameters up to which fine-tuning on every task takes seconds on a CPU, not hours.
const FINE_TUNED_UP_TO: usize = 1_000_000;

/// What a method that starts from pretrained weights sees of the images that methods train from nothing on: a stage
/// that was pretrained learns from fewer.
const META_TRAINING_SHARE: u64 = 20;

/// Methods that start from a pretrained network: heads on its features, and meta-learners whose uppermost stage
/// learns from the training classes. Images are seen as in the network's pretraining, once for all methods.
pub(crate) fn from_weights(
    comparison: &Comparison,
    tasks: &ComparisonTasks,
    [validation, test]: [&TaskSet; 2],
    pretrained: &Pretrained,
    run: Option<&RunDirectory>,
    observer: &mut dyn Observer,
) -> Result<Vec<Contender>> {
    let asked: Vec<&'static dyn Method> =
        METHODS.iter().copied().filter(|method| comparison.asks_for(method.info().name)).collect();
    let ways = tasks.shape.ways().high();
    let frozen =
        |dataset: &Arc<dyn Dataset>| Frozen::new(dataset, pretrained, ways, comparison.image_size, comparison.seed);
    let on_test = frozen(tasks.test.view.dataset())?;
    let on_validation = frozen(tasks.validation.view.dataset())?;
    let validation_images = validation.images(comparison.validation_tasks());
    let test_images = test.images(comparison.episodes);
    let mut made = |frozen: &Frozen, images: &[usize]| frozen.make(&frozen.view, images, "features", observer);
    let seen = Seen {
        validation: made(&on_validation, &validation_images)?,
        test: made(&on_test, &test_images)?,
        validation_images,
        test_images,
    };
    let mut contenders = Vec::new();
    for &method in asked.iter().filter(|method| method.info().training == Training::Pretraining) {
        contenders.extend(head(comparison, method, &on_test, &on_validation, &seen, observer)?);
    }
    let meta: Vec<&'static dyn Method> = asked.into_iter().filter(|method| learns_from_episodes(*method)).collect();
    let looks = |dataset: &Arc<dyn Dataset>| Look::of(dataset.as_ref()).map(|look| look.channels);
    let alike = looks(tasks.training.view.dataset())? == looks(tasks.test.view.dataset())?;
    if !meta.is_empty() && !alike {
        observer.note(format!(
            "{}: meta-learners don't start from the weights, because training images look different from test images",
            pretrained.name
        ))?;
    } else if !meta.is_empty() && on_test.stage.is_none() {
        observer.note(format!(
            "{}: meta-learners are left out, because this network can't be trained in part",
            pretrained.name
        ))?;
    } else if !meta.is_empty() {
        let training = frozen(tasks.training.view.dataset())?;
        let episodes = training.tasks(&tasks.training, tasks.shape, comparison.seed, observer)?;
        for method in meta {
            let settings = comparison.set.of(method.info().name);
            let meta_training = MetaTraining::new(method, settings, &training, &episodes, None, comparison.seed)?;
            let steps = meta_training.steps_of(comparison.images / META_TRAINING_SHARE);
            let trained = meta_training.train(&meta_training.plan(steps), VALIDATION_EPISODES, run, observer)?;
            contenders.push(meta_learner(trained, &on_test, &seen)?);
        }
    }
    Ok(contenders)
}

/// Validation and test images as the frozen network sees them.
struct Seen {
    validation: Made,
    test: Made,
    validation_images: Vec<usize>,
    test_images: Vec<usize>,
}

/// Whether a method has a row of its own that starts from pretrained weights.
pub(crate) fn starts_from_weights(method: &dyn Method) -> bool {
    method.info().training == Training::Pretraining || learns_from_episodes(method)
}

/// Whether a method is meta-trained from the weights: it learns from episodes, and fits a head to features.
pub(crate) fn learns_from_episodes(method: &dyn Method) -> bool {
    let info = method.info();
    matches!(info.training, Training::Episodes { .. }) && !info.transductive && fits_head(info.name)
}

/// A meta-learner that started from the weights.
fn meta_learner(trained: MetaTrained, frozen: &Frozen, seen: &Seen) -> Result<Contender> {
    let info = trained.method.info();
    Ok(Contender {
        name: format!("{}, {}", frozen.network.backbone().name(), info.title),
        kind: info.kind,
        start: Start::Elsewhere(frozen.name.clone()),
        trained_on: format!("{}, {}", frozen.name, trained.on),
        train_seconds: trained.seconds,
        trained_here: true,
        validation: trained.features(&seen.validation, &seen.validation_images)?,
        test: trained.features(&seen.test, &seen.test_images)?,
        learner: trained.configured.learner(trained.state.clone())?,
        model: Some(meta_model(&trained, frozen)),
    })
}

/// A meta-trained learner as it is kept: the whole network, its uppermost stage trained.
fn meta_model(trained: &MetaTrained, frozen: &Frozen) -> Model {
    let context = trained.configured.context();
    let origin = Origin {
        method: trained.method.info().name.into(),
        on: format!("{}, {}", frozen.name, trained.on),
        classes: Vec::new(),
        settings: trained.configured.settings().clone(),
        norm: context.norm.to_string(),
        revised: false,
    };
    Model {
        network: frozen.network.with_head(context.network.head()),
        state: frozen.merged(&trained.state),
        labels: Vec::new(),
        transform: frozen.view.transform().to_string(),
        provenance: Provenance::unrecorded(&origin),
        origin,
        support: None,
    }
}

/// A head on the features of the pretrained network, or fine-tuning of all of a small one; `None` if that takes
/// hours.
fn head(
    comparison: &Comparison,
    method: &'static dyn Method,
    frozen: &Frozen,
    on_validation: &Frozen,
    seen: &Seen,
    observer: &mut dyn Observer,
) -> Result<Option<Contender>> {
    let info = method.info();
    let architecture = frozen.network.backbone().name();
    let fine_tunes = method.has_setting("steps");
    if fine_tunes && frozen.state.params.count() >= FINE_TUNED_UP_TO {
        observer.note(format!(
            "{architecture}, {}: left out, since fine-tuning so large a network on every task takes hours on a CPU",
            info.title
        ))?;
        return Ok(None);
    }
    let configured = configured(comparison, method, frozen.network.clone(), 0)?;
    let origin = Origin {
        method: info.name.into(),
        on: frozen.name.clone(),
        classes: Vec::new(),
        settings: configured.settings().clone(),
        norm: configured.context().norm.to_string(),
        revised: false,
    };
    let model = Model {
        network: frozen.network.clone(),
        state: frozen.state.clone(),
        labels: Vec::new(),
        transform: frozen.view.transform().to_string(),
        provenance: Provenance::unrecorded(&origin),
        origin,
        support: None,
    };
    let inputs = |made: &Made, view: &Arc<View>| -> Arc<dyn Inputs> {
        if fine_tunes { view.clone() } else { made.features.clone() }
    };
    Ok(Some(Contender {
        name: format!("{architecture}, {}", info.title),
        kind: info.kind,
        start: Start::Elsewhere(frozen.name.clone()),
        trained_on: frozen.name.clone(),
        train_seconds: 0.0,
        trained_here: false,
        learner: learner(&model)?,
        validation: inputs(&seen.validation, &on_validation.view),
        test: inputs(&seen.test, &frozen.view),
        model: Some(model),
    }))
}

/// A data set as a pretrained network sees photographs, `side` pixels wide or as published; drawings as drawings
/// are prepared.
pub(crate) fn view(dataset: &Arc<dyn Dataset>, pretrained: &Pretrained, side: Option<usize>) -> Result<Arc<View>> {
    let look = Look::of(dataset.as_ref())?;
    Ok(Arc::new(View::new(dataset.clone(), input_transform(pretrained, look, side)?)?))
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
    let view = |dataset: &Arc<dyn Dataset>| -> Result<Arc<dyn Inputs>> {
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
