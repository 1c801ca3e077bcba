//! What maps features to logits.

use crate::layers::{self, Pass};
use crate::trace::{Operation, record};
use crate::{Backbone, Buffers, Matching, Mode, ParamSpec, Params, Result, Start, param_spec};
use candle_core::Tensor;

/// What maps features `(n, d)` to logits `(n, outputs)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// None: the features are the output.
    Identity,
    /// One linear layer.
    Linear {
        /// Number of classes.
        outputs: usize,
    },
    /// Linear to `hidden`, ReLU, dropout 0.5, linear to `outputs`: the seed recipe's.
    Mlp {
        /// Hidden units.
        hidden: usize,
        /// Number of classes.
        outputs: usize,
    },
    /// Dense matching against the support images of a task, whose features it keeps. Without
    /// any, the features are the output.
    Matching {
        /// Support images kept.
        images: usize,
        /// Number of classes.
        outputs: usize,
    },
}

impl Head {
    /// Number of classes; 0 if there is no head.
    pub fn outputs(&self) -> usize {
        match *self {
            Self::Identity => 0,
            Self::Linear { outputs } | Self::Mlp { outputs, .. } | Self::Matching { outputs, .. } => outputs,
        }
    }

    /// The same head for another number of classes.
    pub fn with_outputs(self, outputs: usize) -> Self {
        match self {
            Self::Identity => Self::Identity,
            Self::Linear { .. } => Self::Linear { outputs },
            Self::Mlp { hidden, .. } => Self::Mlp { hidden, outputs },
            Self::Matching { images, .. } => Self::Matching { images, outputs },
        }
    }

    /// Names and widths of the layers, input and output.
    fn layers(&self, name: &str, width: usize) -> Vec<(String, usize, usize)> {
        match *self {
            Self::Identity | Self::Matching { .. } => Vec::new(),
            Self::Linear { outputs } => vec![(name.to_string(), width, outputs)],
            Self::Mlp { hidden, outputs } => {
                vec![(format!("{name}.0"), width, hidden), (format!("{name}.3"), hidden, outputs)]
            }
        }
    }

    /// The layer whose outputs are the logits, if its name is `name`; `None` if the head has no layer.
    pub(crate) fn output_layer(&self, name: &str) -> Option<String> {
        self.layers(name, 0).pop().map(|(layer, ..)| layer)
    }

    /// Its parameters under `name`, without values, for features of `width`.
    pub fn param_specs(&self, name: &str, width: usize) -> Vec<ParamSpec> {
        let layers = self.layers(name, width).into_iter();
        let mut param_specs: Vec<ParamSpec> =
            layers.flat_map(|(layer, inputs, outputs)| ParamSpec::torch_default(&layer, &[outputs, inputs])).collect();
        if let Self::Matching { images, outputs } = *self {
            param_specs.extend(Matching::param_specs(name));
            if images > 0 {
                param_specs.push(ParamSpec::param(format!("{name}.support"), &[images, width], Start::Zeros));
                param_specs.push(ParamSpec::param(format!("{name}.members"), &[outputs, images], Start::Zeros));
            }
        }
        param_specs
    }

    /// Fresh parameters under `name` with PyTorch's default, for features of `width`.
    pub fn init(&self, name: &str, width: usize, seed: u64) -> Result<Params> {
        Ok(param_spec::draw(&self.param_specs(name, width), seed)?.params)
    }

    /// Logits `(n, outputs)` of `features (n, d)` of a backbone.
    pub fn logits(
        &self,
        params: &Params,
        backbone: &dyn Backbone,
        features: &Tensor,
        mode: &mut Mode,
    ) -> Result<Tensor> {
        let name = backbone.head_name();
        match self {
            Self::Identity | Self::Matching { images: 0, .. } => Ok(features.clone()),
            Self::Matching { .. } => {
                let (support, members) =
                    (params.get(&format!("{name}.support"))?, params.get(&format!("{name}.members"))?);
                let logits = Matching::new(params, name, backbone.layout()).logits(features, support, members)?;
                record(&mode.trace, Operation::Matching, &[features], logits)
            }
            Self::Linear { .. } => Pass::new(params, &Buffers::default(), mode).linear(name, features),
            Self::Mlp { .. } => {
                let buffers = Buffers::default();
                let pass = Pass::new(params, &buffers, mode);
                let hidden = pass.relu(&pass.linear(&format!("{name}.0"), features)?)?;
                let hidden = layers::dropout(&hidden, 0.5, layers::Drop::Elements, mode)?;
                pass.linear(&format!("{name}.3"), &hidden)
            }
        }
    }
}
