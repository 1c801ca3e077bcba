//! Every method that the program knows: one line each. A new one is a file with its `Method` in
//! `taper-meta`, `taper-transfer` or `taper-learn`, and a line here.

use crate::drawings::IN_PROGRAM;
use anyhow::{Result, bail};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::fmt;
use taper_learn::heads::{
    DISCRIMINANT, Embedding, LINEAR_HEAD, LINEAR_PROBE, MLP_HEAD, NEAREST_MEAN, NEIGHBORS, NearestMean, PIXELS, RFS,
    RIDGE, SIMPLE_SHOT,
};
use taper_learn::{Adapt, Method, Model, Settings, Setup, Training};
use taper_meta::{
    ANIL, DENSE_MATCHING, FIRST_ORDER_MAML, LAPLACIAN_SHOT, MAML, MAML_PLUS_PLUS, MATCHING, META_BASELINE,
    META_OPT_NET, META_OPT_NET_RIDGE, META_SGD, PROTO_MAML, PROTONET, PT_MAP, R2D2, RELATION, REPTILE, TIM_GD,
};
use taper_transfer::{FINE_TUNE, MULTITASK, SCRATCH};

/// All methods, in the order that tables show them.
#[rustfmt::skip] // a line each
pub(crate) static METHODS: &[&Method] = &[
    &PIXELS,
    &SCRATCH,
    &NEAREST_MEAN,
    &SIMPLE_SHOT,
    &NEIGHBORS,
    &RIDGE,
    &DISCRIMINANT,
    &LINEAR_PROBE,
    &RFS,
    &LINEAR_HEAD,
    &MLP_HEAD,
    &FINE_TUNE,
    &MULTITASK,
    &PROTONET,
    &MATCHING,
    &DENSE_MATCHING,
    &RELATION,
    &R2D2,
    &META_OPT_NET_RIDGE,
    &META_OPT_NET,
    &META_BASELINE,
    &MAML,
    &FIRST_ORDER_MAML,
    &ANIL,
    &META_SGD,
    &MAML_PLUS_PLUS,
    &REPTILE,
    &PROTO_MAML,
    &TIM_GD,
    &LAPLACIAN_SHOT,
    &PT_MAP,
];

/// What a model directory calls a network that names classes itself.
pub(crate) const CLASSIFIER: &str = "classifier";

/// A method, chosen by name on the command line.
#[derive(Clone, Copy)]
pub(crate) struct Named(pub(crate) &'static Method);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// All that `compare` can score: the methods, and the learner in the program.
fn comparable() -> impl Iterator<Item = &'static Method> {
    METHODS.iter().copied().chain([&IN_PROGRAM])
}

/// The method of that name.
///
/// Errs, listing all, when there is none.
pub(crate) fn method(name: &str) -> Result<&'static Method> {
    match comparable().find(|method| method.name == name) {
        Some(method) => Ok(method),
        None => {
            let names: Vec<&str> = comparable().map(|method| method.name).collect();
            bail!("`{name}` is no method of this version of taper, use one of {}", names.join(", "))
        }
    }
}

/// Reads the name of a method.
pub(crate) fn any_method() -> impl TypedValueParser<Value = Named> {
    parser(|_| true)
}

/// Reads the name of a method that is trained.
pub(crate) fn trained_method() -> impl TypedValueParser<Value = Named> {
    parser(|method| !matches!(method.training, Training::Nothing))
}

fn parser(offered: fn(&Method) -> bool) -> impl TypedValueParser<Value = Named> {
    let values = comparable().filter(|method| offered(method)).map(|method| {
        let transductive = if method.transductive { ", transductive" } else { "" };
        PossibleValue::new(method.name).help(format!("{} ({}{transductive})", method.title, method.paper))
    });
    PossibleValuesParser::new(values).try_map(|name| method(&name).map(Named))
}

/// The method that a model directory holds; a classifier counts as its features' nearest mean.
///
/// Errs when the directory is of another version's method.
pub(crate) fn learner(model: &Model) -> Result<Box<dyn Adapt>> {
    let norm = model.trained.norm.parse()?;
    if model.trained.method == CLASSIFIER {
        return Ok(Box::new(NearestMean::new(Embedding::new(model.network.clone(), model.state.clone(), norm))));
    }
    let settings = Settings::written(model.trained.settings.clone());
    let setup = Setup { network: model.network.clone(), norm, settings, steps: 0 };
    Ok((method(&model.trained.method)?.learner)(&setup, model.state.clone())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use taper_data::Batch;
    use taper_models::{Architecture, Head, Network};

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(names.len(), METHODS.len());
    }

    #[test]
    fn every_method_starts_takes_a_step_and_classifies_a_task_of_unequal_shots_and_more_ways() {
        let backbone = "conv4-4".parse::<Architecture>().unwrap().backbone((1, 16, 16)).unwrap();
        let plain = Network::new(backbone, Head::Identity);
        let images = |n: usize| {
            taper_ops::uniform(&mut taper_ops::rng(0, "images", n as u64), (n, 1, 16, 16), 0.0, 1.0).unwrap()
        };
        let batch = |labels: &[u32], ways| Batch::new(images(labels.len()), labels, ways).unwrap();
        for method in METHODS {
            let settings = method.settings(&BTreeMap::new()).unwrap();
            let network = method.network(&plain, 4);
            let setup = Setup { network, norm: method.norm, settings, steps: 10 };
            let state = match &method.training {
                Training::Episodes(episodic) => {
                    let state = setup.begin(episodic, None, 1).unwrap();
                    let episode = taper_data::Episode {
                        support: batch(&[0, 0, 1, 2], 3),
                        query: batch(&[2, 1, 0, 1, 2], 3),
                        classes: vec![0, 1, 2],
                        source: "noise".into(),
                    };
                    let objective = (episodic.objective)(&setup).unwrap();
                    let at = taper_learn::Draw { seed: 0, step: 0, number: 0 };
                    let gradient = objective.gradient(&state, &episode, at).unwrap();
                    assert!(gradient.loss.is_finite() && gradient.params.norm().unwrap() > 0.0, "{}", method.name);
                    taper_models::State {
                        params: state.params.merged(
                            &state
                                .params
                                .filter(|name| gradient.params.get(name).is_ok())
                                .minus(0.01, &gradient.params)
                                .unwrap(),
                        ),
                        buffers: state.buffers.merged(&gradient.buffers),
                    }
                }
                _ => setup.network.init(1).unwrap(),
            };
            let learner = (method.learner)(&setup, state).unwrap();
            let classifier = learner.adapt(&batch(&[0, 0, 1, 2, 3], 4), 0).unwrap();
            let logits = classifier.logits(&images(6)).unwrap();
            assert_eq!(logits.dims(), [6, 4], "{}", method.name);
            assert!(logits.to_vec2::<f32>().unwrap().iter().flatten().all(|v| !v.is_nan()), "{}", method.name);
            assert_eq!(learner.transductive(), method.transductive, "{}", method.name);
        }
    }
}
