//! Our networks against PyTorch's: logits, loss, gradients and running statistics over ten
//! training steps, on weights that both sides compute. `golden/training.py` wrote the numbers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test may fail, and say why it was skipped"
)]

use candle_core::{DType, Tensor};
use serde_json::Value;
use std::path::Path;
use taper_models::{Architecture, Head, Leaves, Mode, Network, Params, State};
use taper_ops::cross_entropy;
use taper_tests::formula;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/training.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Largest difference, relative to the largest expected value.
fn error(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0f64, |largest, value| largest.max(value.abs()));
    ours.iter().zip(theirs).fold(0f64, |worst, (a, b)| worst.max((a - b).abs())) / largest
}

/// Tensors against norms and first values of some of theirs.
fn compare<'a>(what: &str, theirs: &Value, ours: impl Fn(&str) -> &'a Tensor, tolerance: f64) {
    for (name, summary) in theirs.as_object().unwrap() {
        let ours = values(ours(name));
        let norm = ours.iter().map(|value| value * value).sum::<f64>().sqrt();
        let expected = summary["norm"].as_f64().unwrap();
        assert!((norm / expected - 1.0).abs() < tolerance, "{what} {name}: norm {norm}, PyTorch's {expected}");
        let first = numbers(&summary["first"]);
        // single entries are small sums of large terms: to the scale of the tensor
        let scale = expected / (ours.len() as f64).sqrt();
        for (ours, theirs) in ours.iter().zip(&first) {
            let error = (ours - theirs).abs() / (scale + theirs.abs());
            assert!(error < tolerance, "{what} {name}: {ours}, PyTorch's {theirs}");
        }
    }
}

struct Case {
    network: Network,
    images: Tensor,
    labels: Tensor,
    rate: f64,
    golden: Value,
}

impl Case {
    fn new(name: &str) -> Self {
        let golden = golden();
        let count = |key: &str| golden[key].as_u64().unwrap() as usize;
        let (n, outputs) = (count("images"), count("outputs"));
        let theirs = golden["networks"][name].clone();
        let input: Vec<usize> = numbers(&theirs["input"]).iter().map(|&size| size as usize).collect();
        let backbone = name.parse::<Architecture>().unwrap().backbone((input[0], input[1], input[2])).unwrap();
        let images = formula::uniform("images", &[n, input[0], input[1], input[2]]).unwrap();
        let labels: Vec<u32> = (0..n).map(|index| (index % outputs) as u32).collect();
        Self {
            network: Network::new(backbone, Head::Linear { outputs }),
            labels: Tensor::new(labels, images.device()).unwrap(),
            images,
            rate: golden["rate"].as_f64().unwrap(),
            golden: theirs,
        }
    }

    /// Loss, gradient, and the state after one step of gradient descent.
    fn step(&self, state: &State) -> (f64, Params, State) {
        let leaves = Leaves::new(&state.params).unwrap();
        let mode = Mode::batch_statistics();
        let images = self.images.to_dtype(leaves.params().iter().next().unwrap().1.dtype()).unwrap();
        let forward = self.network.forward(&leaves.params(), &state.buffers, &images, mode).unwrap();
        let loss = cross_entropy(&forward.output, &self.labels, 0.0).unwrap();
        let gradient = leaves.gradient(&loss).unwrap();
        let params = state.params.minus(self.rate, &gradient).unwrap().detached();
        let buffers = state.buffers.moved(&forward.statistics).unwrap();
        (values(&loss)[0], gradient, State { params, buffers })
    }

    /// Everything in f32, the type in which networks are trained.
    fn check(&self) {
        self.check_in(DType::F32, 1e-3, 1e-3);
    }

    fn check_in(&self, dtype: DType, of_gradient: f64, of_training: f64) {
        let mut state = formula::state(&self.network).unwrap();
        let logits = self.network.logits(&state, &self.images).unwrap();
        let error = error(&values(&logits), &numbers(&self.golden["logits"]));
        assert!(error < 1e-4, "logits: relative error {error}");
        state = state.to_dtype(dtype).unwrap();
        let losses = numbers(&self.golden["losses"]);
        for (step, &expected) in losses.iter().enumerate() {
            let (loss, gradient, next) = self.step(&state);
            // relative, but a loss that has nearly vanished is compared on the scale of its start
            let error = (loss - expected).abs() / (expected + 0.1 * losses[0]);
            assert!(error < of_training, "loss of step {step}: {loss}, PyTorch's {expected}");
            if step == 0 {
                compare("gradient", &self.golden["gradients"], |name| gradient.get(name).unwrap(), of_gradient);
            }
            state = next;
        }
        compare("statistics", &self.golden["running"], |name| state.buffers.get(name).unwrap(), of_training);
    }
}

#[test]
fn small_cnn_trains_as_in_pytorch() {
    Case::new("small-cnn").check();
}

#[test]
fn conv4_trains_as_in_pytorch() {
    Case::new("conv4-32").check();
}

/// Strictly in f64. In f32 a ReLU whose input is within rounding of zero may go the other way,
/// which moves single entries of a deep network's gradient by up to a hundredth, with direct sums
/// and with Winograd's; the loss hardly changes.
#[test]
fn cifar_resnet20_trains_as_in_pytorch() {
    let case = Case::new("cifar-resnet20");
    case.check_in(DType::F64, 1e-5, 1e-4);
    case.check_in(DType::F32, 2e-2, 1e-3);
}

#[test]
fn resnet18_trains_as_in_pytorch() {
    Case::new("resnet18").check();
}

/// Deep enough that the gradient in f32 is up to a hundredth off that in f64, with direct sums too,
/// and that ten steps diverge; compared in f64.
#[test]
fn resnet34_trains_as_in_pytorch() {
    Case::new("resnet34").check_in(DType::F64, 1e-5, 1e-2);
}

#[test]
fn efficientnet_lite0_trains_as_in_pytorch() {
    Case::new("efficientnet-lite0").check_in(DType::F64, 1e-5, 1e-3);
}

/// Here rounding is amplified: the gradient of `conv1` in f32 is 3% off that in f64 in PyTorch
/// itself, and in f64 the last bit of the start still shows after ten steps.
/// So this one is compared in f64: its gradient strictly, its training loosely.
#[test]
fn resnet50_trains_as_in_pytorch() {
    Case::new("resnet50").check_in(DType::F64, 1e-5, 2e-2);
}
