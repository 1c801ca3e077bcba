//! From a model on disk to a method that adapts.

use anyhow::{Result, bail};
use std::collections::BTreeMap;
use taper_learn::heads::{Embedding, LogisticRegression, NearestMean};
use taper_learn::{Adapt, Model, TaskNorm};
use taper_meta::{Maml, Order, ProtoNet};
use taper_transfer::FineTune;

/// A method for networks that name classes themselves.
pub(crate) const CLASSIFIER: &str = "classifier";

/// The penalty of linear probes (see `LogisticRegression`).
pub(crate) const PROBE_C: f64 = 10.0;

/// The method that a model directory holds.
///
/// Errs for a classifier: it knows its classes already.
pub(crate) fn learner(model: &Model) -> Result<Box<dyn Adapt>> {
    let (network, state) = (model.network.clone(), model.state.clone());
    let norm: TaskNorm = model.trained.norm.parse()?;
    let setting = |name: &str| -> Result<f64> {
        match model.trained.settings.get(name) {
            Some(&value) => Ok(value),
            None => bail!("the model's config.json lacks the setting `{name}`: train it again"),
        }
    };
    Ok(match model.trained.method.as_str() {
        "protonet" => Box::new(ProtoNet::new(network, norm).learner(state)),
        "maml" | "first-order-maml" => {
            let steps = setting("adapt-steps")? as usize;
            Box::new(Maml::new(network, setting("inner-lr")?, steps, Order::First, norm)?.learner(state, steps))
        }
        "nearest-mean" => Box::new(NearestMean::new(Embedding::new(network, state, norm))),
        "linear-probe" => Box::new(LogisticRegression::new(Embedding::new(network, state, norm), setting("c")?)),
        "fine-tune" | "multitask" | "scratch" => Box::new(FineTune {
            network,
            state,
            head_only: false,
            steps: setting("steps")? as u64,
            learning_rate: setting("lr")?,
            norm,
        }),
        CLASSIFIER => Box::new(NearestMean::new(Embedding::new(network, state, norm))),
        other => bail!("`{other}` is no method of this version of taper: train the model again"),
    })
}

/// Settings by name.
pub(crate) fn settings<const N: usize>(pairs: [(&str, f64); N]) -> BTreeMap<String, f64> {
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
