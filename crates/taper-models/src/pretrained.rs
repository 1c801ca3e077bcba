//! Published weights in our networks: which network they fit, and exactly how.

use crate::{Architecture, ModelError, Network, ResNetDepth, Result, State, VisionNetworkKind, names};
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;

/// What becomes of the head when weights are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadPolicy {
    /// The weights bring it, and it must fit.
    Exact,
    /// The network's own, fresh from a seed, takes the place of whatever the weights have.
    Replace {
        /// Where the fresh head's chance comes from.
        seed: u64,
    },
}

impl Network {
    /// The state that published weights give, f32; their names may be torchvision's, timm's or
    /// transformers'.
    ///
    /// Errs, listing every key that is missing, unexpected or misshapen, unless they fit exactly.
    pub fn load(&self, weights: BTreeMap<String, Tensor>, head: HeadPolicy) -> Result<State> {
        let mut weights = names::canonical(weights);
        if let HeadPolicy::Replace { seed } = head {
            weights.retain(|name, _| !self.in_head(name));
            weights.extend(self.init_head(seed)?.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())));
        }
        self.check_tensors(weights.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        let mut state = State::default();
        for slot in self.param_specs() {
            let tensor = weights.get(&slot.name).ok_or_else(|| ModelError::Missing(slot.name.clone()))?;
            if !tensor.dtype().is_float() {
                return Err(ModelError::Misfit {
                    network: self.backbone().name(),
                    problems: format!("`{}` holds integers ({:?})", slot.name, tensor.dtype()),
                });
            }
            state.insert(&slot, tensor.to_dtype(DType::F32)?);
        }
        Ok(state)
    }
}

/// The architecture whose backbone these weights fit, and the number of their head's outputs, 0
/// where they have no head.
pub fn identify(weights: &BTreeMap<String, Tensor>) -> Option<(Architecture, usize)> {
    let weights = &names::canonical(weights.clone());
    candidates(weights).into_iter().find_map(|architecture| Some((architecture, outputs(architecture, weights)?)))
}

/// Every architecture that could have these weights, by name, to be looked at closely.
fn candidates(weights: &BTreeMap<String, Tensor>) -> Vec<Architecture> {
    let width = weights.get("block0.conv.weight").and_then(|weight| weight.dims().first().copied());
    let conv4 = width.filter(|&width| width > 0).map(Architecture::Conv4);
    let resnets = ResNetDepth::ALL.map(Architecture::ResNet);
    let others = [Architecture::SmallCnn, Architecture::EfficientNetLite0];
    let published = VisionNetworkKind::ALL.map(Architecture::VisionNetwork);
    conv4.into_iter().chain(others).chain(resnets).chain(published).collect()
}

/// The head's outputs if the weights are this architecture's.
fn outputs(architecture: Architecture, weights: &BTreeMap<String, Tensor>) -> Option<usize> {
    let side = architecture.default_side();
    // those that see in color alone say so at once
    let trial = architecture.backbone((1, side, side)).or_else(|_| architecture.backbone((3, side, side))).ok()?;
    let first = trial.param_specs().into_iter().find(|slot| slot.shape.len() == 4)?;
    let &[_, channels, _, _] = weights.get(&first.name)?.dims() else { return None };
    let backbone = architecture.backbone((channels, side, side)).ok()?;
    let param_specs = backbone.param_specs();
    // the seed recipe's hidden layer grows with the image, which the weights don't tell
    let any_size = |name: &str| architecture == Architecture::SmallCnn && name == "fc1.weight";
    let fits = |tensor: &Tensor, shape: &[usize], name: &str| tensor.dims() == shape || any_size(name);
    let all = param_specs.iter().all(|slot| weights.get(&slot.name).is_some_and(|t| fits(t, &slot.shape, &slot.name)));
    let head = format!("{}.", backbone.head_name());
    let others = weights.keys().filter(|name| !name.starts_with(&head)).count();
    let last = weights.iter().rfind(|(name, tensor)| name.starts_with(&head) && tensor.rank() == 2);
    (all && others == param_specs.len()).then(|| last.map_or(0, |(_, weight)| weight.dims()[0]))
}
