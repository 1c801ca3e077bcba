//! The conformance suite over every method and head.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use taper_learn::Method;
use taper_learn::heads::{
    DISCRIMINANT, Hausdorff, LINEAR_HEAD, LINEAR_PROBE, MLP_HEAD, NEAREST_MEAN, NEIGHBORS, NearestNeighbor, PIXELS,
    RFS, RIDGE, SIMPLE_SHOT,
};
use taper_meta::{
    ANIL, DENSE_MATCHING, FIRST_ORDER_MAML, LAPLACIAN_SHOT, MAML, MAML_PLUS_PLUS, MATCHING, META_BASELINE,
    META_OPT_NET, META_OPT_NET_RIDGE, META_SGD, PROTO_MAML, PROTONET, PT_MAP, R2D2, RELATION, REPTILE, TIM_GD,
};
use taper_tests::conformance::{Allowed, check_learner, check_method};
use taper_transfer::{FINE_TUNE, MULTITASK, SCRATCH};

#[rustfmt::skip] // one per line
const METHODS: &[&dyn Method] = &[
    &PIXELS, &SCRATCH, &NEAREST_MEAN, &SIMPLE_SHOT, &NEIGHBORS, &RIDGE, &DISCRIMINANT, &LINEAR_PROBE, &RFS,
    &LINEAR_HEAD, &MLP_HEAD, &FINE_TUNE, &MULTITASK, &PROTONET, &MATCHING, &DENSE_MATCHING, &RELATION, &R2D2,
    &META_OPT_NET_RIDGE, &META_OPT_NET, &META_BASELINE, &MAML, &FIRST_ORDER_MAML, &ANIL, &META_SGD,
    &MAML_PLUS_PLUS, &REPTILE, &PROTO_MAML, &TIM_GD, &LAPLACIAN_SHOT, &PT_MAP,
];

/// Methods that begin a task with random weights for each class.
const RANDOM_HEAD: &[&str] = &["scratch", "linear-head", "mlp-head", "multitask"];
/// Methods with dropout inside a task.
const DROPOUT: &[&str] = &["mlp-head"];
/// Methods that weigh something against the number of images.
const COUNTS_IMAGES: &[&str] = &[
    "neighbours",
    "ridge",
    "lda",
    "rda",
    "linear-probe",
    "rfs",
    "mlp-head",
    "fine-tune",
    "r2d2",
    "meta-opt-net-ridge",
    "meta-opt-net",
    "pt-map",
];

#[test]
fn every_method_does_what_every_method_must() {
    let allowed = |name: &str| Allowed {
        random_head: RANDOM_HEAD.contains(&name),
        dropout: DROPOUT.contains(&name),
        counts_images: COUNTS_IMAGES.contains(&name),
    };
    let mut wrong = Vec::new();
    for &method in METHODS {
        let name = method.info().name;
        match check_method(method, allowed(name)) {
            Ok(sentences) => wrong.extend(sentences),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn heads_without_a_network_do_too() {
    for (name, learner) in
        [("nearest neighbor", &NearestNeighbor as &dyn taper_learn::Adapt), ("Hausdorff", &Hausdorff)]
    {
        let wrong = check_learner(learner, learner, Allowed::default()).unwrap();
        assert!(wrong.is_empty(), "{name}: {}", wrong.join("\n"));
    }
}
