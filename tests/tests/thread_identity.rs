//! Methods give the same bits on 1, 2, 3 and 8 threads, at sizes at which operations split their work.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use candle_core::{DType, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{
    DISCRIMINANT, LINEAR_HEAD, LINEAR_PROBE, NEAREST_MEAN, NEIGHBORS, REGULARIZED_DISCRIMINANT, RFS, RIDGE, SIMPLE_SHOT,
};
use taper_learn::{Context, Method, NoopObserver, Plan, Progress, fit, methods::SettingValues};
use taper_meta::{
    ANIL, DENSE_MATCHING, FIRST_ORDER_MAML, LAPLACIAN_SHOT, MAML, MAML_PLUS_PLUS, MATCHING, META_BASELINE,
    META_OPT_NET, META_OPT_NET_RIDGE, META_SGD, PROTO_MAML, PROTONET, PT_MAP, R2D2, RELATION, REPTILE, TIM_GD,
};
use taper_models::{Architecture, Head, Network};
use taper_ops::{rng, uniform};

const WAYS: usize = 5;

fn batch(name: &str, each: usize, side: usize) -> Batch {
    let images = uniform(&mut rng(0, name, 0), (WAYS * each, 1, side, side), 0.0, 1.0).unwrap();
    let labels: Vec<u32> = (0..WAYS * each).map(|image| (image / each) as u32).collect();
    Batch::new(images, &labels, WAYS).unwrap()
}

/// Every bit of the parameters after one step of three tasks, on some number of threads.
fn trained(
    method: &dyn Method,
    architecture: &str,
    side: usize,
    shots: usize,
    threads: usize,
) -> Vec<(String, Vec<u32>)> {
    let backbone = architecture.parse::<Architecture>().unwrap().backbone((1, side, side)).unwrap();
    let network = method.network(&Network::new(backbone, Head::Identity), WAYS);
    let context = Context { network, norm: method.info().norm, steps: 1 };
    let configured = method.configure(&SettingValues::new(), context).unwrap();
    let objective = configured.objective().unwrap();
    let start = Progress::new(configured.start(None, 1).unwrap());
    let plan = Plan { steps: 1, items: 3, ..Plan::default() };
    let items = |_| {
        let (support, query) = (batch("support", shots, side), batch("query", 2, side));
        let query_images = (0..query.len()).collect();
        Ok(Episode { support, query, query_images, classes: (0..WAYS as u32).collect(), source: "noise".into() })
    };
    let run = || fit(start, &plan, objective.as_ref(), items, |_| Ok(0.0), &mut NoopObserver).unwrap();
    let params = taper_ops::in_pool(threads, run).unwrap().progress.state.params;
    let bits = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits);
    params.iter().map(|(name, tensor)| (name.to_string(), bits(tensor).collect())).collect()
}

fn check(method: &dyn Method, architecture: &str, side: usize, shots: usize) {
    let alone = trained(method, architecture, side, shots, 1);
    for threads in [2, 3, 8] {
        let others = trained(method, architecture, side, shots, threads);
        assert!(others == alone, "{} on {architecture}: {threads} threads differ from one", method.info().name);
    }
}

#[test]
fn every_method_trains_the_same_bits_on_any_number_of_threads() {
    let methods: [&dyn Method; 15] = [
        &PROTONET,
        &MATCHING,
        &RELATION,
        &R2D2,
        &META_OPT_NET,
        &META_OPT_NET_RIDGE,
        &META_BASELINE,
        &DENSE_MATCHING,
        &MAML,
        &FIRST_ORDER_MAML,
        &MAML_PLUS_PLUS,
        &META_SGD,
        &PROTO_MAML,
        &ANIL,
        &REPTILE,
    ];
    for method in methods {
        check(method, "conv4-16", 28, 1);
    }
}

/// Every bit of the logits of 10 queries after adapting to 25 images, on some number of threads.
fn adapted(method: &dyn Method, threads: usize) -> Vec<u32> {
    let backbone = "conv4-64".parse::<Architecture>().unwrap().backbone((1, 84, 84)).unwrap();
    let network = method.network(&Network::new(backbone, Head::Identity), WAYS);
    let context = Context { network: network.clone(), norm: method.info().norm, steps: 1 };
    let learner = method.configure(&SettingValues::new(), context).unwrap().learner(network.init(1).unwrap()).unwrap();
    let (support, query) = (batch("support", 5, 84), batch("query", 2, 84));
    let run = || learner.adapt(&support, 0).unwrap().logits(&query.inputs).unwrap();
    let logits = taper_ops::in_pool(threads, run).unwrap();
    let logits = logits.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
    logits.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn every_head_on_features_of_large_images_has_the_same_bits_on_any_number_of_threads() {
    let methods: [&dyn Method; 12] = [
        &NEAREST_MEAN,
        &SIMPLE_SHOT,
        &NEIGHBORS,
        &RIDGE,
        &DISCRIMINANT,
        &REGULARIZED_DISCRIMINANT,
        &LINEAR_PROBE,
        &RFS,
        &LINEAR_HEAD,
        &TIM_GD,
        &LAPLACIAN_SHOT,
        &PT_MAP,
    ];
    for method in methods {
        let alone = adapted(method, 1);
        for threads in [2, 3, 8] {
            assert!(adapted(method, threads) == alone, "{}: {threads} threads differ from one", method.info().name);
        }
    }
}

/// Features of 1,600 values: matrix products that candle would split over threads inside a task.
#[test]
fn large_images_train_the_same_bits_on_any_number_of_threads() {
    for method in [&R2D2 as &dyn Method, &META_OPT_NET] {
        check(method, "conv4-64", 84, 5);
    }
}
