//! Exact MAML's meta-gradient against PyTorch's, on weights and images that both sides compute.
//! `golden/maml.py` wrote the numbers.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use candle_core::DType;
use serde_json::Value;
use std::path::Path;
use taper_data::{Batch, Episode};
use taper_learn::{Context, Draw, TaskNorm, TypedMethod, training::Gradient};
use taper_meta::{FirstOrderMaml, Maml};
use taper_models::{Architecture, Head, Network};
use taper_tests::formula;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/maml.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ours(golden: &Value, exact: bool, dtype: DType) -> Gradient {
    let count = |key: &str| golden[key].as_u64().unwrap() as usize;
    let ways = count("ways");
    let backbone = format!("conv4-{}", count("width")).parse::<Architecture>().unwrap().backbone((1, 28, 28)).unwrap();
    let network = Network::new(backbone, Head::Linear { outputs: ways });
    let state = formula::state(&network).unwrap().to_dtype(dtype).unwrap();
    let labels: Vec<u32> = (0..ways as u32).collect();
    let batch = |name: &str| {
        let images = formula::uniform(name, &[ways, 1, 28, 28]).unwrap().to_dtype(dtype).unwrap();
        Batch::new(images, &labels, ways).unwrap()
    };
    let episode = Episode {
        support: batch("support"),
        query: batch("query"),
        query_images: (0..ways).collect(),
        classes: labels.clone(),
        source: "noise".into(),
    };
    let inner_lr = golden["inner_lr"].as_f64().unwrap();
    let maml = Maml { inner_lr, inner_steps: count("steps"), ..Maml::default() };
    let context = Context::new(network, TaskNorm::Batch);
    let objective = if exact { maml.objective(&context) } else { FirstOrderMaml(maml).objective(&context) };
    objective.unwrap().gradient(&state, &episode, Draw { seed: 0, step: 0, number: 0 }).unwrap()
}

/// Largest error of a tensor's norm or first entries, relative to its norm or usual entry.
fn largest_error(golden: &Value, ours: &Gradient) -> f64 {
    let mut worst: f64 = 0.0;
    for (name, theirs) in golden["gradient"].as_object().unwrap() {
        let tensor = ours.params.get(name).unwrap().to_dtype(DType::F64).unwrap().flatten_all().unwrap();
        let values = tensor.to_vec1::<f64>().unwrap();
        let norm = theirs["norm"].as_f64().unwrap();
        worst = worst.max((values.iter().map(|value| value * value).sum::<f64>().sqrt() / norm - 1.0).abs());
        let usual = norm / (values.len() as f64).sqrt();
        for (ours, theirs) in values.iter().zip(theirs["first"].as_array().unwrap()) {
            worst = worst.max((ours - theirs.as_f64().unwrap()).abs() / usual);
        }
    }
    worst
}

#[test]
fn the_exact_meta_gradient_is_pytorchs() {
    let golden = golden();
    let loss = golden["loss"].as_f64().unwrap();
    for (dtype, tolerance) in [(DType::F64, 1e-6), (DType::F32, 2e-2)] {
        let ours = ours(&golden, true, dtype);
        assert!((ours.loss / loss - 1.0).abs() < tolerance, "loss {}, PyTorch's {loss}", ours.loss);
        let error = largest_error(&golden, &ours);
        assert!(error < tolerance, "{dtype:?}: relative error {error:e}");
    }
}

#[test]
fn the_first_order_meta_gradient_is_another() {
    let golden = golden();
    let error = largest_error(&golden, &ours(&golden, false, DType::F64));
    assert!(error > 0.1, "relative error {error:e}");
}
