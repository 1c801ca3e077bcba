//! The registry: every method, one line each. A new one is a file with its `Method` in `taper-meta`,
//! `taper-transfer` or `taper-learn`, and a line here.

use crate::builtin::BUILT_IN;
use crate::{CompareError, Result};
use taper_learn::heads::{
    DISCRIMINANT, Embedding, LINEAR_HEAD, LINEAR_PROBE, MLP_HEAD, NEAREST_MEAN, NEIGHBORS, NearestMean, OnFeatures,
    PIXELS, REGULARIZED_DISCRIMINANT, RFS, RIDGE, SIMPLE_SHOT,
};
use taper_learn::{Adapt, Context, Method, Model, models::CLASSIFIER};
use taper_meta::{
    ANIL, DENSE_MATCHING, FIRST_ORDER_MAML, LAPLACIAN_SHOT, MAML, MAML_PLUS_PLUS, MATCHING, META_BASELINE,
    META_OPT_NET, META_OPT_NET_RIDGE, META_SGD, PROTO_MAML, PROTONET, PT_MAP, R2D2, RELATION, REPTILE, TIM_GD,
};
use taper_transfer::{FINE_TUNE, MULTITASK, SCRATCH};

/// All methods that are trained, in the order that tables show them.
#[rustfmt::skip] // a line each
pub static METHODS: &[&dyn Method] = &[
    &PIXELS,
    &SCRATCH,
    &NEAREST_MEAN,
    &SIMPLE_SHOT,
    &NEIGHBORS,
    &RIDGE,
    &DISCRIMINANT,
    &REGULARIZED_DISCRIMINANT,
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

/// Everything that a comparison can score: the methods, and the built-in learner.
pub fn comparable() -> impl Iterator<Item = &'static dyn Method> {
    METHODS.iter().copied().chain([BUILT_IN])
}

/// The method of that name.
///
/// # Errors
/// Returns an error that lists all methods if there is none of that name.
///
/// ```
/// let info = taper_compare::method("maml")?.info();
/// assert_eq!((info.title, info.kind), ("MAML", taper_learn::methods::Kind::Meta));
/// assert!(taper_compare::method("mamel").is_err());
/// # Ok::<(), taper_compare::CompareError>(())
/// ```
pub fn method(name: &str) -> Result<&'static dyn Method> {
    comparable().find(|method| method.info().name == name).ok_or_else(|| CompareError::UnknownMethod {
        name: name.to_string(),
        known: comparable().map(|method| method.info().name).collect::<Vec<_>>().join(", "),
    })
}

/// The learner that a model is; a classifier becomes nearest mean on its features.
///
/// # Errors
/// Returns an error if the model was trained by a method that this version lacks.
pub fn learner(model: &Model) -> Result<Box<dyn Adapt>> {
    let norm = model.origin.norm.parse()?;
    if model.origin.method == CLASSIFIER {
        let embedding = Embedding::new(model.network.clone(), model.state.clone(), norm);
        return Ok(Box::new(OnFeatures::new(NearestMean {}, embedding)));
    }
    let context = Context::new(model.network.clone(), norm);
    let method = method(&model.origin.method)?.configure(&model.origin.settings, context)?;
    Ok(method.learner(model.state.clone())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use taper_data::Batch;
    use taper_learn::methods::{SettingValues, Training};
    use taper_models::{Architecture, Head, Network};

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = METHODS.iter().map(|method| method.info().name).collect();
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
            let info = method.info();
            let context = Context { network: method.network(&plain, 4), norm: info.norm, steps: 10 };
            let configured = method.configure(&SettingValues::new(), context).unwrap();
            let state = match info.training {
                Training::Episodes { .. } => {
                    let state = configured.start(None, 1).unwrap();
                    let episode = taper_data::Episode {
                        support: batch(&[0, 0, 1, 2], 3),
                        query: batch(&[2, 1, 0, 1, 2], 3),
                        classes: vec![0, 1, 2],
                        query_images: (0..5).collect(),
                        source: "noise".into(),
                    };
                    let objective = configured.objective().unwrap();
                    let at = taper_learn::Draw { seed: 0, step: 0, number: 0 };
                    let gradient = objective.gradient(&state, &episode, at).unwrap();
                    assert!(gradient.loss.is_finite() && gradient.params.norm().unwrap() > 0.0, "{}", info.name);
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
                _ => configured.context().network.init(1).unwrap(),
            };
            let learner = configured.learner(state).unwrap();
            let classifier = learner.adapt(&batch(&[0, 0, 1, 2, 3], 4), 0).unwrap();
            let logits = classifier.logits(&images(6)).unwrap();
            assert_eq!(logits.dims(), [6, 4], "{}", info.name);
            assert!(logits.to_vec2::<f32>().unwrap().iter().flatten().all(|v| !v.is_nan()), "{}", info.name);
            assert_eq!(learner.transductive(), info.transductive, "{}", info.name);
        }
    }
}
