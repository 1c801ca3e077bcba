//! Heads that can be made anew from the features that a classifier keeps.

use crate::{Result, method};
use taper_learn::heads::{LogisticRegression, Penalty};
use taper_learn::{Adapt, Context, Method, TaskNorm, methods::SettingValues, models::CLASSIFIER};
use taper_models::{Head, Network, State};
use taper_transfer::HEADS;

/// The method that makes the head of a classifier that the method `learner` has adapted, from features alone; `None` if
/// adapting changes the network.
pub(crate) fn head_of(learner: &str) -> Option<&'static str> {
    match learner {
        // their classifiers are the nearest class means of the features
        "protonet" | CLASSIFIER => Some("nearest-mean"),
        "dense-matching" => Some("dense-matching"),
        other => HEADS.iter().map(|head| head.info().name).find(|name| *name == other),
    }
}

/// The learner of that name, with its default settings, on features by `network` with `state`.
///
/// # Errors
/// Returns an error if this version lacks the method.
pub(crate) fn learner_on_features(name: &str, network: &Network, state: &State) -> Result<Box<dyn Adapt>> {
    let head = match network.head() {
        Head::Matching { .. } => Head::Matching { images: 0, outputs: 0 },
        _ => Head::Identity,
    };
    let context = Context::new(network.with_head(head), TaskNorm::Stored);
    fitted_to_labels(method(name)?, &SettingValues::new(), context, state)
}

/// The learner of a head with these settings. A linear probe without any chooses its penalty inside the labels that it is
/// given.
///
/// # Errors
/// Returns an error if the method has no such setting.
pub(crate) fn fitted_to_labels(
    method: &dyn Method,
    settings: &SettingValues,
    context: Context,
    state: &State,
) -> Result<Box<dyn Adapt>> {
    if method.info().name == "linear-probe" && settings.is_empty() {
        return Ok(context.on_features(LogisticRegression::new(Penalty::CrossValidated), state));
    }
    Ok(method.configure(settings, context)?.learner(state.clone())?)
}
