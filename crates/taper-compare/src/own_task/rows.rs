//! The rows of a comparison, made from the pretrained network.

use super::ledger::Ledger;
use super::options::OwnTask;
use super::row::{Approach, LabelStart, LearningCost, Row};
use crate::Result;
use crate::from_weights::{Frozen, Made, MetaTrained, fits_head};
use crate::head_on_features::fitted_to_labels;
use std::sync::Arc;
use std::time::Instant;
use taper_data::{Dataset, Inputs, Look, View};
use taper_learn::heads::NearestNeighbor;
use taper_learn::{
    Adapt, Context, Method, TaskNorm,
    evaluation::Labeled,
    methods::{Kind, SettingValues, network_part},
    models::default_transform,
};
use taper_models::{Architecture, Head, Network, State};
use taper_transfer::{Activations, FineTune, upper_part};

/// A row that compares pixels.
pub(super) fn pixels(method: &dyn Method, dataset: &Arc<dyn Dataset>) -> Result<Row> {
    let info = method.info();
    Ok(Row {
        name: info.title.into(),
        kind: Kind::Floor,
        approach: Approach::Pixels,
        head: None,
        start: LabelStart::Nothing,
        trained_on: "nothing".into(),
        train_seconds: 0.0,
        learner: Box::new(NearestNeighbor),
        inputs: small_view(dataset)?,
        cost: LearningCost::Small,
    })
}

/// A network that is trained from nothing.
pub(super) struct Scratch {
    pub(super) view: Arc<View>,
    tune: FineTune,
}

impl Scratch {
    pub(super) fn new(own: &OwnTask, dataset: &Arc<dyn Dataset>, ways: usize) -> Result<Self> {
        let view = small_view(dataset)?;
        let network = Network::new(NETWORK.backbone(view.shape())?, Head::Linear { outputs: ways });
        Ok(Self { tune: FineTune::scratch(network, own.seed)?, view })
    }

    pub(super) fn row(&self, method: &dyn Method, sample: &Labeled, ledger: &mut Ledger) -> Result<Row> {
        let cost = ledger
            .measured("training from scratch", || seconds_of_fine_tuning(&self.tune, self.view.as_ref(), sample))?;
        Ok(Row {
            name: method.info().title.into(),
            kind: Kind::Scratch,
            approach: Approach::FromScratch,
            head: None,
            start: LabelStart::Nothing,
            trained_on: "the labels".into(),
            train_seconds: 0.0,
            learner: Box::new(self.tune.clone()),
            inputs: self.view.clone(),
            cost: LearningCost::PerImage(cost),
        })
    }
}

/// The network that learns from nothing.
const NETWORK: Architecture = Architecture::Conv4(32);

/// Images as small as a network that learns from nothing sees them.
fn small_view(dataset: &Arc<dyn Dataset>) -> Result<Arc<View>> {
    let look = Look::of(dataset.as_ref())?;
    let transform = default_transform(NETWORK, look, look.channels, None)?;
    Ok(Arc::new(View::new(dataset.clone(), transform)?))
}

/// A head on frozen features.
pub(super) fn head(own: &OwnTask, method: &dyn Method, frozen: &Frozen, made: &Made) -> Result<Row> {
    let info = method.info();
    let context = Context::new(frozen.network.clone(), TaskNorm::Stored);
    let settings: SettingValues = own.set.of(info.name);
    let learner = fitted_to_labels(method, &settings, context, &frozen.state)?;
    Ok(Row {
        name: info.title.trim_start_matches("pretrained + ").to_string(),
        kind: Kind::Transfer,
        approach: Approach::FrozenFeatures,
        head: settings.is_empty().then_some(info.name),
        start: LabelStart::Weights,
        trained_on: frozen.name.clone(),
        train_seconds: 0.0,
        learner,
        inputs: made.features.clone(),
        cost: LearningCost::Small,
    })
}

/// Fine-tuning of the stage that `activations` enter.
pub(super) fn fine_tune_upper(
    frozen: &Frozen,
    stage: &str,
    activations: &Arc<Activations>,
    sample: &Labeled,
    ledger: &mut Ledger,
) -> Result<Row> {
    let (network, state) = upper_part(&frozen.network, &frozen.state, stage)?;
    let tune = FineTune::pretrained(network, state);
    let cost = upper_cost(&tune, activations, sample, ledger)?;
    let inputs: Arc<dyn Inputs> = activations.clone();
    Ok(tuned("fine-tune the last stage", tune, inputs, frozen, cost))
}

/// Fine-tuning of the whole network.
pub(super) fn fine_tune_all(frozen: &Frozen, sample: &Labeled, ledger: &mut Ledger) -> Result<Row> {
    let tune = FineTune::pretrained(frozen.network.clone(), frozen.state.clone());
    let cost =
        ledger.measured("fine-tuning everything", || seconds_of_fine_tuning(&tune, frozen.view.as_ref(), sample))?;
    let inputs: Arc<dyn Inputs> = frozen.view.clone();
    Ok(tuned("fine-tune everything", tune, inputs, frozen, cost))
}

fn upper_cost(tune: &FineTune, activations: &Arc<Activations>, sample: &Labeled, ledger: &mut Ledger) -> Result<f64> {
    ledger.measured("fine-tuning the last stage", || seconds_of_fine_tuning(tune, activations.as_ref(), sample))
}

fn tuned(name: &str, tune: FineTune, inputs: Arc<dyn Inputs>, frozen: &Frozen, cost: f64) -> Row {
    Row {
        name: name.into(),
        kind: Kind::Transfer,
        approach: Approach::FineTuning,
        head: None,
        start: LabelStart::Weights,
        trained_on: frozen.name.clone(),
        train_seconds: 0.0,
        learner: Box::new(tune),
        inputs,
        cost: LearningCost::PerImage(cost),
    }
}

/// A method that was meta-trained from the pretrained weights.
pub(super) fn meta_trained(
    trained: &MetaTrained,
    frozen: &Frozen,
    made: &Made,
    images: &[usize],
    name: String,
) -> Result<Row> {
    let MetaTrained { method, configured, state, .. } = trained;
    let (inputs, cost): (Arc<dyn Inputs>, LearningCost) = match (fits_head(method.info().name), &made.activations) {
        (false, Some(activations)) => (activations.clone(), LearningCost::PerImage(0.0)),
        _ => (trained.features(made, images)?, LearningCost::Small),
    };
    let learner = configured.learner(state.clone())?;
    Ok(after_meta_training(name, trained, frozen, learner, inputs, cost))
}

/// The stage that was meta-trained, fine-tuned on the labels.
pub(super) fn meta_then_fine_tune(
    trained: &MetaTrained,
    frozen: &Frozen,
    stage: &str,
    activations: &Arc<Activations>,
    sample: &Labeled,
    ledger: &mut Ledger,
) -> Result<Row> {
    let (network, start) = upper_part(&frozen.network, &frozen.state, stage)?;
    let learned = network_part(&trained.state);
    let params = start.params.merged(&learned.params.filter(|name| !network.in_head(name)));
    let state = State { params, buffers: start.buffers.merged(&learned.buffers) };
    let tune = FineTune::pretrained(network, state);
    let cost = LearningCost::PerImage(upper_cost(&tune, activations, sample, ledger)?);
    let name = format!("{}, then fine-tune", trained.method.info().title);
    Ok(after_meta_training(name, trained, frozen, Box::new(tune), activations.clone(), cost))
}

fn after_meta_training(
    name: String,
    trained: &MetaTrained,
    frozen: &Frozen,
    learner: Box<dyn Adapt>,
    inputs: Arc<dyn Inputs>,
    cost: LearningCost,
) -> Row {
    Row {
        name,
        kind: Kind::Meta,
        approach: Approach::MetaLearning,
        head: None,
        start: LabelStart::WeightsAndMeta,
        trained_on: format!("{}, {}", frozen.name, trained.on),
        train_seconds: trained.seconds,
        learner,
        inputs,
        cost,
    }
}

/// Seconds that training takes per labeled image, from one pass over a few.
fn seconds_of_fine_tuning(tune: &FineTune, inputs: &dyn Inputs, sample: &Labeled) -> Result<f64> {
    let once = FineTune { epochs: 1, batch: Some(sample.images.len()), ..tune.clone() };
    let support = sample.batch(inputs)?;
    let mut seconds = f64::INFINITY;
    for _ in 0..2 {
        let start = Instant::now();
        once.adapt(&support, 0)?;
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok(seconds * tune.epochs as f64 / sample.images.len() as f64)
}
