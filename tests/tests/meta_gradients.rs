//! Meta-losses and meta-gradients of MAML and ProtoNet against PyTorch's, on weights and a task that
//! both sides compute (`golden/meta.py` wrote the numbers); and the same bits on any threads.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use candle_core::{DType, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use taper_data::{Batch, Episode};
use taper_learn::{Draw, Gradient, Method, NoopObserver, Plan, Progress, Setup, TaskNorm, Training, fit};
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
    Episode { support: batch("support", 1), query: batch("query", 3), classes, source: "formula".into() }
}

fn setup(method: &Method, norm: TaskNorm) -> Setup {
    let backbone = "conv4-16".parse::<Architecture>().unwrap().backbone((1, 28, 28)).unwrap();
    let network = method.network(&Network::new(backbone, Head::Identity), 5);
    Setup { network, norm, settings: method.settings(&BTreeMap::new()).unwrap(), steps: 0 }
}

fn gradient(method: &Method) -> Gradient {
    let Training::Episodes(episodic) = method.training else { panic!("{} learns from no tasks", method.name) };
    let setup = setup(method, TaskNorm::Batch);
    let state = formula::state(&setup.network).unwrap();
    let objective = (episodic.objective)(&setup).unwrap();
    objective.gradient(&state, &task(), Draw { seed: 0, step: 0, number: 0 }).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/meta.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for method in [&MAML, &FIRST_ORDER_MAML, &PROTONET] {
        let (ours, theirs) = (gradient(method), &golden[method.name]);
        let loss = theirs["loss"].as_f64().unwrap();
        assert!((ours.loss / loss - 1.0).abs() < 1e-4, "{}: loss {}, PyTorch's {loss}", method.name, ours.loss);
        let gradients = theirs["gradients"].as_object().unwrap();
        assert_eq!(gradients.len(), ours.params.len(), "{}", method.name);
        for (name, summary) in gradients {
            let slope = values(ours.params.get(name).unwrap());
            let norm = slope.iter().map(|value| value * value).sum::<f64>().sqrt();
            let expected = summary["norm"].as_f64().unwrap();
            assert!((norm / expected - 1.0).abs() < 1e-4, "{} {name}: norm {norm}, {expected}", method.name);
            // single entries are small sums of large terms: to the scale of the tensor
            let scale = expected / (slope.len() as f64).sqrt();
            for (value, theirs) in slope.iter().zip(summary["first"].as_array().unwrap()) {
                let theirs = theirs.as_f64().unwrap();
                let error = (value - theirs).abs() / (scale + theirs.abs());
                assert!(error < 1e-4, "{} {name}: {value}, PyTorch's {theirs}", method.name);
            }
        }
    }
}

#[test]
fn one_thread_and_two_train_the_same_bits() {
    for method in [&PROTONET, &MAML, &MAML_PLUS_PLUS, &META_OPT_NET] {
        let Training::Episodes(episodic) = method.training else { panic!("{} learns from no tasks", method.name) };
        let trained = |threads| -> Params {
            let setup = Setup { steps: 2, ..setup(method, method.norm) };
            let objective = (episodic.objective)(&setup).unwrap();
            let start = Progress::new(setup.begin(&episodic, None, 1).unwrap());
            let plan = Plan { steps: 2, items: 3, ..Plan::default() };
            let items = |_| Ok(task());
            let run = || fit(start, &plan, objective.as_ref(), items, |_| Ok(0.0), &mut NoopObserver).unwrap();
            taper_ops::in_pool(threads, run).unwrap().progress.state.params
        };
        let (one, two) = (trained(1), trained(2));
        for (name, tensor) in one.iter() {
            assert_eq!(values(tensor), values(two.get(name).unwrap()), "{} {name}", method.name);
        }
    }
}
