//! Meta-losses and meta-gradients of MAML and ProtoNet against PyTorch's, on weights and a task that
//! both sides compute (`golden/meta.py` wrote the numbers); and the same bits on any threads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use candle_core::{DType, Tensor};
use serde_json::Value;
use std::path::Path;
use taper_data::{Batch, Episode};
use taper_learn::{
    Context, Draw, Method, NoopObserver, Plan, Progress, TaskNorm, fit,
    methods::{ConfiguredMethod, SettingValues},
    training::Gradient,
};
use taper_meta::{FIRST_ORDER_MAML, MAML, MAML_PLUS_PLUS, META_OPT_NET, PROTONET};
use taper_models::{Architecture, Head, Network, Params};
use taper_tests::formula;

fn batch(name: &str, each: usize) -> Batch {
    let images = formula::uniform(name, &[5 * each, 1, 28, 28]).unwrap();
    let labels: Vec<u32> = (0..5 * each).map(|image| (image / each) as u32).collect();
    Batch::new(images, &labels, 5).unwrap()
}

fn task() -> Episode {
    let classes = (0..5).collect();
    let (support, query) = (batch("support", 1), batch("query", 3));
    Episode { support, query, query_images: (0..15).collect(), classes, source: "formula".into() }
}

fn configured(method: &dyn Method, norm: TaskNorm, steps: u64) -> Box<dyn ConfiguredMethod> {
    let backbone = "conv4-16".parse::<Architecture>().unwrap().backbone((1, 28, 28)).unwrap();
    let network = method.network(&Network::new(backbone, Head::Identity), 5);
    method.configure(&SettingValues::new(), Context { network, norm, steps }).unwrap()
}

fn gradient(method: &dyn Method) -> Gradient {
    let method = configured(method, TaskNorm::Batch, 0);
    let state = formula::state(&method.context().network).unwrap();
    let objective = method.objective().unwrap();
    objective.gradient(&state, &task(), Draw { seed: 0, step: 0, number: 0 }).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/meta.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let methods: [&dyn Method; 3] = [&MAML, &FIRST_ORDER_MAML, &PROTONET];
    for method in methods {
        let name = method.info().name;
        let (ours, theirs) = (gradient(method), &golden[name]);
        let loss = theirs["loss"].as_f64().unwrap();
        assert!((ours.loss / loss - 1.0).abs() < 1e-4, "{name}: loss {}, PyTorch's {loss}", ours.loss);
        let gradients = theirs["gradients"].as_object().unwrap();
        assert_eq!(gradients.len(), ours.params.len(), "{name}");
        for (tensor, summary) in gradients {
            let slope = values(ours.params.get(tensor).unwrap());
            let norm = slope.iter().map(|value| value * value).sum::<f64>().sqrt();
            let expected = summary["norm"].as_f64().unwrap();
            assert!((norm / expected - 1.0).abs() < 1e-4, "{name} {tensor}: norm {norm}, {expected}");
            // single entries are small sums of large terms: to the scale of the tensor
            let scale = expected / (slope.len() as f64).sqrt();
            for (value, theirs) in slope.iter().zip(summary["first"].as_array().unwrap()) {
                let theirs = theirs.as_f64().unwrap();
                let error = (value - theirs).abs() / (scale + theirs.abs());
                assert!(error < 1e-4, "{name} {tensor}: {value}, PyTorch's {theirs}");
            }
        }
    }
}

#[test]
fn one_thread_and_two_train_the_same_bits() {
    let methods: [&dyn Method; 4] = [&PROTONET, &MAML, &MAML_PLUS_PLUS, &META_OPT_NET];
    for method in methods {
        let trained = |threads| -> Params {
            let configured = configured(method, method.info().norm, 2);
            let objective = configured.objective().unwrap();
            let start = Progress::new(configured.start(None, 1).unwrap());
            let plan = Plan { steps: 2, items: 3, ..Plan::default() };
            let items = |_| Ok(task());
            let run = || fit(start, &plan, objective.as_ref(), items, |_| Ok(0.0), &mut NoopObserver).unwrap();
            taper_ops::in_pool(threads, run).unwrap().progress.state.params
        };
        let (one, two) = (trained(1), trained(2));
        for (name, tensor) in one.iter() {
            assert_eq!(values(tensor), values(two.get(name).unwrap()), "{} {name}", method.info().name);
        }
    }
}
