//! A network's forward pass as a list of operations: what a program that runs it elsewhere needs to know.
//!
//! The list is recorded while the network runs once, so it is what the network does. A layer that every network
//! uses is recorded in one place, `layers.rs`.

use crate::{ModelError, Result};
use candle_core::{Tensor, TensorId};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use taper_ops::{Convolution, Gelu, Window};

/// One operation of a forward pass. Activations are described as `(n, c, h, w)`, tokens as `(n, t, d)`, whatever their
/// layout in memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// One of the eight symmetries of the square, of images `(n, c, s, s)`: mirrored left to right from the fifth
    /// on, then rotated clockwise by this number modulo 4 quarter turns.
    Symmetry(usize),
    /// All inputs, one after the other along the batch.
    Stack,
    /// Features `(views · n, d)`, those of one view after those of another, as `(n, views · d)`.
    SideBySide {
        /// Parts of the batch.
        views: usize,
    },
    /// A convolution, and what is fused with it.
    Convolution {
        /// The weight is the parameter `name.weight`.
        name: String,
        /// Stride, padding and groups.
        how: Convolution,
        /// What is added to the convolution's output.
        shift: Shift,
        /// What follows.
        then: Then,
    },
    /// ReLU.
    Relu,
    /// ReLU with this slope below 0.
    LeakyRelu(f64),
    /// The sum of two inputs.
    Add,
    /// Max pooling.
    MaxPool(Window),
    /// The mean over rows and columns, or over tokens: `(n, c)`.
    GlobalAveragePool,
    /// Every pixel whose row and column are multiples of this stride.
    EveryOther(usize),
    /// Zeros before and after the rows, the columns and the channels.
    Pad([(usize, usize); 3]),
    /// `(n, c · h · w)`.
    Flatten,
    /// `(n, h · w · c)`: pixel by pixel.
    FlattenByPixel,
    /// A fully connected layer with the parameters `name.weight` and `name.bias`.
    Linear {
        /// Of the layer.
        name: String,
    },
    /// The rows and columns of images in these ranges.
    Part([Range<usize>; 2]),
    /// The mean of the inputs.
    Mean,
    /// The square root of each value's size, with its sign.
    SignedRoot,
    /// The columns of features `(n, d)` in this range.
    Columns(Range<usize>),
    /// Each row `(n, d)` brought to this length.
    Length(f64),
    /// All inputs `(n, …)`, one after the other along the last dimension.
    Concatenate,
    /// The patches of images as tokens: a convolution whose stride is its kernel's side, with the parameters `name.weight`
    /// and, if there is one, `name.bias`.
    Patches {
        /// Of the layer.
        name: String,
        /// Whether there is a bias.
        bias: bool,
    },
    /// The class token before the tokens, then the sum with the position embeddings.
    Tokens {
        /// The parameter with the class token.
        class: String,
        /// The parameter with the position embeddings.
        positions: String,
    },
    /// The class token `(n, 1, d)`, which is the first.
    ClassToken,
    /// Each token normalized, with the parameters `name.weight` and `name.bias`.
    LayerNorm {
        /// Of the norm.
        name: String,
        /// Is added to the variance.
        eps: f64,
    },
    /// A fully connected layer of each token.
    TokenLinear(LinearRows),
    /// Each value of a token times that of this parameter.
    LayerScale(String),
    /// GELU.
    Gelu(Gelu),
    /// Attention of the queries, the first input, to the keys and values side by side, the second.
    Attention {
        /// Parts of equal width.
        heads: usize,
        /// Of the queries.
        width: usize,
    },
    /// Logits of features by dense matching with the support images in the head.
    Matching,
    /// A whole published network, by its name.
    Published(String),
}

/// Rows of the weights of some layers, one layer after the other, and of their biases.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearRows {
    /// Parameters are `name.weight` and `name.bias`.
    pub names: Vec<String>,
    /// The rows.
    pub rows: Range<usize>,
    /// Whether the layers have biases.
    pub bias: bool,
}

/// What is added to a convolution's output.
#[derive(Debug, Clone, PartialEq)]
pub enum Shift {
    /// The parameter `name.bias`.
    Bias,
    /// Batch norm by stored statistics.
    Norm {
        /// Parameters and statistics are `name.weight`, `name.bias`, `name.running_mean` and `name.running_var`.
        name: String,
        /// Is added to the variance.
        eps: f64,
    },
}

/// What follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// ReLU.
    Relu,
    /// ReLU, at most 6.
    Relu6,
    /// The sum with the second input, then ReLU.
    AddRelu,
    /// ReLU, then max pooling.
    ReluPool(Window),
}

/// One step of a forward pass: step k makes value k + 1, value 0 being the images.
#[derive(Debug, Clone, PartialEq)]
pub struct TracedStep {
    /// What it does.
    pub operation: Operation,
    /// The values it takes.
    pub inputs: Vec<usize>,
}

/// A network's forward pass, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct TracedPass {
    /// The steps, of which the last makes the logits.
    pub steps: Vec<TracedStep>,
    /// The value that is the features `(n, d)`, which the head takes.
    pub features: usize,
}

/// The steps of a pass, recorded while it runs.
#[derive(Debug)]
pub struct Trace(Mutex<Recorded>);

#[derive(Debug)]
struct Recorded {
    values: HashMap<TensorId, usize>,
    steps: Vec<TracedStep>,
    /// What was recorded, so that no identity is used again.
    tensors: Vec<Tensor>,
}

impl Recorded {
    fn value(&self, tensor: &Tensor) -> Result<usize> {
        self.values.get(&tensor.id()).copied().ok_or_else(|| {
            ModelError::Invalid("a step of this network is not recorded, so it can't be described: use another".into())
        })
    }
}

impl Trace {
    /// A trace of a pass that starts with these images.
    pub(crate) fn new(images: &Tensor) -> Self {
        let values = HashMap::from([(images.id(), 0)]);
        Self(Mutex::new(Recorded { values, steps: Vec::new(), tensors: vec![images.clone()] }))
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, Recorded> {
        // a panic elsewhere leaves only complete steps
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, operation: Operation, inputs: &[&Tensor], output: &Tensor) -> Result<()> {
        let mut recorded = self.recorded();
        let inputs = inputs.iter().map(|input| recorded.value(input)).collect::<Result<_>>()?;
        recorded.steps.push(TracedStep { operation, inputs });
        let value = recorded.steps.len();
        recorded.values.insert(output.id(), value);
        recorded.tensors.push(output.clone());
        Ok(())
    }

    /// The pass whose last step makes `output` of `features`.
    pub(crate) fn pass(&self, features: &Tensor, output: &Tensor) -> Result<TracedPass> {
        let recorded = self.recorded();
        let steps = recorded.steps[..recorded.value(output)?].to_vec();
        Ok(TracedPass { steps, features: recorded.value(features)? })
    }
}

/// `output` of an operation, recorded if the pass is traced.
pub(crate) fn record(
    trace: &Option<Arc<Trace>>,
    operation: Operation,
    inputs: &[&Tensor],
    output: Tensor,
) -> Result<Tensor> {
    if let Some(trace) = trace {
        trace.add(operation, inputs, &output)?;
    }
    Ok(output)
}

/// `output`, the same value as `input` in another layout.
pub(crate) fn same_value(trace: &Option<Arc<Trace>>, input: &Tensor, output: Tensor) -> Result<Tensor> {
    if let Some(trace) = trace {
        let mut recorded = trace.recorded();
        let value = recorded.value(input)?;
        recorded.values.insert(output.id(), value);
        recorded.tensors.push(output.clone());
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Head, Network, named_backbone};

    #[test]
    fn every_network_describes_all_of_its_steps() {
        let cases = [
            ("small-cnn", (1, 14, 14)),
            ("conv4-8", (3, 20, 24)),
            ("resnet12", (3, 20, 20)),
            ("cifar-resnet20", (3, 16, 16)),
            ("resnet18", (3, 33, 33)),
            ("resnet50", (1, 32, 32)),
            ("efficientnet-lite0", (3, 33, 33)),
            ("stroke-net-6", (1, 35, 35)),
            ("turned-stroke-net-6", (1, 35, 35)),
            ("four-view-staged-resnet18", (3, 33, 35)),
            ("staged-efficientnet-lite0", (3, 33, 33)),
            ("stage-means-cifar-resnet20", (3, 16, 16)),
            ("staged-conv4-8", (1, 16, 16)),
            ("adapter-4", (7, 1, 1)),
            ("dinov2-small", (3, 28, 28)),
            ("two-view-staged-dinov2-small", (3, 28, 28)),
        ];
        for (name, input) in cases {
            let backbone = named_backbone(name, input).unwrap();
            let matching = Head::Matching { images: 3, outputs: 2 };
            for head in [Head::Linear { outputs: 2 }, Head::Mlp { hidden: 3, outputs: 2 }, matching] {
                let network = Network::new(backbone.clone(), head);
                let TracedPass { steps, features } = network.trace(&network.init(0).unwrap()).unwrap();
                let layers = if matches!(head, Head::Mlp { .. }) { 3 } else { 1 };
                assert_eq!(features + layers, steps.len(), "{name}: the head's layers follow the features");
                let used: std::collections::BTreeSet<usize> =
                    steps.iter().flat_map(|step| step.inputs.iter().copied()).collect();
                assert_eq!(used.len(), steps.len(), "{name}: a value is not used");
                assert!(steps.iter().enumerate().all(|(at, step)| step.inputs.iter().all(|&input| input <= at)));
            }
        }
    }

    #[test]
    fn convolutions_are_told_with_what_is_fused_with_them() {
        let backbone = named_backbone("conv4-8", (1, 16, 16)).unwrap();
        let network = Network::new(backbone, Head::Linear { outputs: 2 });
        let steps = network.trace(&network.init(0).unwrap()).unwrap().steps;
        let norm = Shift::Norm { name: "block0.norm".into(), eps: 1e-5 };
        let how = Convolution { padding: 1, ..Convolution::default() };
        let (name, then) = ("block0.conv".into(), Then::ReluPool(Window::tiled(2)));
        let first = Operation::Convolution { name, how, shift: norm, then };
        assert_eq!(steps[0], TracedStep { operation: first, inputs: vec![0] });
        assert_eq!(steps[4], TracedStep { operation: Operation::Flatten, inputs: vec![4] });
        assert_eq!(steps[5], TracedStep { operation: Operation::Linear { name: "fc".into() }, inputs: vec![5] });
        assert_eq!(steps.len(), 6);
    }

    #[test]
    fn an_unrecorded_step_is_an_error() {
        let images = Tensor::zeros((1, 1, 2, 2), candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let trace = Some(Arc::new(Trace::new(&images)));
        let unrecorded = (&images + 1.0).unwrap();
        let error = record(&trace, Operation::Relu, &[&unrecorded], unrecorded.relu().unwrap()).unwrap_err();
        assert!(error.to_string().contains("not recorded"), "{error}");
    }
}
