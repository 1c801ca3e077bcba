//! A backbone with a head.

use crate::{
    Backbone, BatchStatistics, Buffers, Head, Mode, ModelError, ParamSpec, Params, Result, State, Trace, TracedPass,
};
use candle_core::{DType, Device, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The output of a network.
#[derive(Debug, Clone)]
pub struct Forward {
    /// Logits `(n, outputs)`.
    pub output: Tensor,
    /// Features `(n, d)`.
    pub features: Tensor,
    /// With batch statistics, those of this batch, tracked; otherwise empty.
    pub statistics: BatchStatistics,
}

/// A backbone with a head: arithmetic only; the [`State`] holds the values.
#[derive(Debug, Clone)]
pub struct Network {
    backbone: Arc<dyn Backbone>,
    head: Head,
}

impl Network {
    /// A backbone with a head.
    pub fn new(backbone: Arc<dyn Backbone>, head: Head) -> Self {
        Self { backbone, head }
    }

    /// The feature extractor.
    pub fn backbone(&self) -> &Arc<dyn Backbone> {
        &self.backbone
    }

    /// The head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The same backbone with another head.
    pub fn with_head(&self, head: Head) -> Self {
        Self { backbone: self.backbone.clone(), head }
    }

    /// Whether the parameter of this name belongs to the head.
    pub fn in_head(&self, name: &str) -> bool {
        name.strip_prefix(self.backbone.head_name()).is_some_and(|rest| rest.starts_with('.'))
    }

    /// The layer whose outputs are the logits; `None` if the head has no layer.
    pub fn output_layer(&self) -> Option<String> {
        self.head.output_layer(self.backbone.head_name())
    }

    /// Its parameters and statistics, without values: the backbone's, then the head's.
    pub fn param_specs(&self) -> Vec<ParamSpec> {
        let mut param_specs = self.backbone.param_specs();
        param_specs.extend(self.head.param_specs(self.backbone.head_name(), self.backbone.width()));
        param_specs
    }

    /// Fresh parameters of the head only.
    pub fn init_head(&self, seed: u64) -> Result<Params> {
        self.head.init(self.backbone.head_name(), self.backbone.width(), seed)
    }

    /// Fresh parameters and statistics from a seed.
    pub fn init(&self, seed: u64) -> Result<State> {
        let state = self.backbone.init(seed)?;
        Ok(State { params: state.params.merged(&self.init_head(seed)?), buffers: state.buffers })
    }

    /// The state with a fresh head of this network's kind in place of any other.
    pub fn replace_head(&self, state: &State, seed: u64) -> Result<State> {
        let backbone = state.params.filter(|name| !self.in_head(name));
        Ok(State { params: backbone.merged(&self.init_head(seed)?), buffers: state.buffers.clone() })
    }

    /// Logits and features of `inputs (n, c, h, w)`; or, for inputs `(n, d)`, which are already
    /// features, only the head.
    pub fn forward(&self, params: &Params, buffers: &Buffers, inputs: &Tensor, mut mode: Mode) -> Result<Forward> {
        let (features, statistics) = match inputs.rank() {
            2 => (inputs.clone(), BatchStatistics::default()),
            _ => {
                let made = self.backbone.features(params, buffers, inputs, &mut mode)?;
                (made.features, made.statistics)
            }
        };
        let output = self.head.logits(params, self.backbone.as_ref(), &features, &mut mode)?;
        Ok(Forward { output, features, statistics })
    }

    /// Logits of `inputs`, for inference.
    pub fn logits(&self, state: &State, inputs: &Tensor) -> Result<Tensor> {
        Ok(self.forward(&state.params, &state.buffers, inputs, Mode::evaluate())?.output)
    }

    /// The steps from images `(n, c, h, w)` to logits, with stored statistics.
    ///
    /// # Errors
    ///
    /// Returns an error if the state does not fit, or the network has a step that is not recorded.
    pub fn trace(&self, state: &State) -> Result<TracedPass> {
        let (channels, height, width) = self.backbone.input();
        let images = Tensor::zeros((1, channels, height, width), DType::F32, &Device::Cpu)?;
        let trace = Arc::new(Trace::new(&images));
        let mode = Mode { trace: Some(trace.clone()), ..Mode::evaluate() };
        let Forward { features, output, .. } = self.forward(&state.params, &state.buffers, &images, mode)?;
        trace.pass(&features, &output)
    }

    /// Checks that the state has exactly this network's keys and shapes.
    ///
    /// # Errors
    ///
    /// Returns an error that lists the keys that are missing, misshapen or unexpected.
    pub fn check(&self, state: &State) -> Result<()> {
        self.check_tensors(state.params.iter().chain(state.buffers.iter()))
    }

    /// The same for named tensors.
    pub(crate) fn check_tensors<'a>(&self, found: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
        let problems = compare(&self.param_specs(), found.collect());
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ModelError::Misfit { network: self.backbone.name(), problems: listed(problems) }),
        }
    }
}

/// The first dozen problems, and the number of the others.
pub(crate) fn listed(mut problems: Vec<String>) -> String {
    let count = problems.len();
    if count > 12 {
        problems.truncate(12);
        problems.push(format!("and {} more", count - 12));
    }
    problems.join(", ")
}

/// Every key that is missing, misshapen or unexpected.
pub(crate) fn compare(expected: &[ParamSpec], found: BTreeMap<&str, &Tensor>) -> Vec<String> {
    let mut problems = Vec::new();
    for slot in expected {
        let (name, shape) = (&slot.name, &slot.shape);
        match found.get(name.as_str()) {
            None => problems.push(format!("missing `{name}` {shape:?}")),
            Some(other) if other.dims() != shape => {
                problems.push(format!("`{name}` is {:?} and should be {shape:?}", other.dims()));
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = expected.iter().map(|slot| slot.name.as_str()).collect();
    let unknown = found.keys().filter(|name| !known.contains(*name));
    problems.extend(unknown.map(|name| format!("unexpected `{name}`")));
    problems
}
