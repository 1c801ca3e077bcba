//! Published weights in our networks: which network they fit, and exactly how.

use crate::{Architecture, Backbone, ModelError, Network, ParamSpec, ResNetDepth, Result, State, names, weights};
use candle_core::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of the head when weights are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadPolicy {
    /// It comes from the weights, and must fit.
    Exact,
    /// A fresh head from a seed replaces any head of the weights.
    Replace {
        /// The seed of the fresh head.
        seed: u64,
    },
}

impl Network {
    /// The state that published weights give, f32. Names may be torchvision's, timm's or
    /// transformers'; position embeddings of another image size are interpolated.
    ///
    /// # Errors
    ///
    /// Returns an error that lists every key that is missing, unexpected or misshapen unless the
    /// weights fit exactly, or names the tensors that hold NaN or infinity.
    ///
    /// # Examples
    ///
    /// ```
    /// # use taper_models::{Architecture, Head, HeadPolicy, Network};
    /// let network = |outputs| -> taper_models::Result<Network> {
    ///     let backbone = "cifar-resnet20".parse::<Architecture>()?.backbone((3, 32, 32))?;
    ///     Ok(Network::new(backbone, Head::Linear { outputs }))
    /// };
    /// let state = network(10)?.init(0)?;
    /// let weights = state.params.iter().chain(state.buffers.iter());
    /// let weights = weights.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    /// // a fresh head for 7 classes takes the place of the one for 10
    /// let loaded = network(7)?.load(weights, HeadPolicy::Replace { seed: 0 })?;
    /// assert_eq!(loaded.params.get("linear.weight")?.dims(), [7, 64]);
    /// # Ok::<(), taper_models::ModelError>(())
    /// ```
    pub fn load(&self, weights: BTreeMap<String, Tensor>, head: HeadPolicy) -> Result<State> {
        let backbone = self.backbone().as_ref();
        let mut weights = aligned(backbone, &backbone.param_specs(), names::canonical(weights));
        if let HeadPolicy::Replace { seed } = head {
            weights.retain(|name, _| !self.in_head(name));
            weights.extend(self.init_head(seed)?.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())));
        }
        for (name, tensor) in &mut weights {
            *tensor = backbone.resized(name, tensor.clone())?;
        }
        self.check_tensors(weights.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        self.check_finite(&weights)?;
        let mut state = State::default();
        for spec in self.param_specs() {
            let tensor = weights.get(&spec.name).ok_or_else(|| ModelError::Missing(spec.name.clone()))?;
            if !tensor.dtype().is_float() {
                return Err(ModelError::Misfit {
                    network: backbone.name(),
                    problems: format!("`{}` holds integers ({:?})", spec.name, tensor.dtype()),
                });
            }
            state.insert(&spec, tensor.to_dtype(DType::F32)?);
        }
        Ok(state)
    }

    /// Fails with the names of tensors that hold NaN or infinity.
    fn check_finite(&self, weights: &BTreeMap<String, Tensor>) -> Result<()> {
        let mut broken = Vec::new();
        for (name, tensor) in weights {
            let count = weights::finite::exceptions(tensor)?;
            if count > 0 {
                broken.push(format!("`{name}` ({count} of {} values)", tensor.elem_count()));
            }
        }
        let more = match broken.len() {
            0 => return Ok(()),
            count if count > 5 => format!(" and {} more tensors", count - 5),
            _ => String::new(),
        };
        broken.truncate(5);
        Err(ModelError::NotFinite { network: self.backbone().name(), tensors: broken.join(", ") + &more })
    }
}

/// The architecture whose backbone these weights fit, and the number of their head's outputs; 0 if
/// they have no head.
///
/// # Examples
///
/// ```
/// # use taper_models::{Architecture, Head, Network, identify};
/// let backbone = "resnet18".parse::<Architecture>()?.backbone((3, 64, 64))?;
/// let state = Network::new(backbone, Head::Linear { outputs: 20 }).init(0)?;
/// let weights = state.params.iter().chain(state.buffers.iter());
/// let weights = weights.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
/// assert_eq!(identify(&weights), Some(("resnet18".parse()?, 20)));
/// # Ok::<(), taper_models::ModelError>(())
/// ```
pub fn identify(weights: &BTreeMap<String, Tensor>) -> Option<(Architecture, usize)> {
    let weights = &names::canonical(weights.clone());
    candidates(weights).into_iter().find_map(|architecture| Some((architecture, outputs(architecture, weights)?)))
}

/// An architecture that weights nearly fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearest {
    /// The architecture.
    pub architecture: Architecture,
    /// Every key that is missing, unexpected or misshapen, comma-separated.
    pub problems: String,
}

/// The architecture whose backbone shares most tensors with these weights, at least half of its
/// own, and what does not fit; `None` if there is no such architecture. For the error
/// message if [`identify`] finds none.
///
/// # Examples
///
/// ```
/// # use taper_models::{Architecture, Head, Network, identify, nearest};
/// let backbone = "cifar-resnet20".parse::<Architecture>()?.backbone((3, 32, 32))?;
/// let state = backbone.init(0)?;
/// let weights = state.params.iter().chain(state.buffers.iter());
/// let mut weights: std::collections::BTreeMap<_, _> =
///     weights.map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
/// weights.remove("layer2.1.conv1.weight");
/// assert_eq!(identify(&weights), None);
/// assert_eq!(nearest(&weights).unwrap().problems, "missing `layer2.1.conv1.weight` [32, 32, 3, 3]");
/// # Ok::<(), taper_models::ModelError>(())
/// ```
pub fn nearest(weights: &BTreeMap<String, Tensor>) -> Option<Nearest> {
    let weights = &names::canonical(weights.clone());
    let mut best: Option<(f64, Nearest)> = None;
    for architecture in candidates(weights) {
        let Some(trial) = trial(architecture, weights) else { continue };
        let specs = trial.param_specs();
        let weights = aligned(trial.as_ref(), &specs, weights.clone());
        let shared = specs.iter().filter(|spec| weights.get(&spec.name).is_some_and(|t| fits(architecture, t, spec)));
        let shared = shared.count();
        let head = format!("{}.", trial.head_name());
        let others = weights.keys().filter(|name| !name.starts_with(&head)).count();
        // shared tensors among those of either
        let likeness = shared as f64 / (specs.len() + others - shared).max(1) as f64;
        if shared * 2 < specs.len() || best.as_ref().is_some_and(|(least, _)| *least >= likeness) {
            continue;
        }
        let found = weights.iter().filter(|(name, _)| !name.starts_with(&head));
        let problems = crate::network::compare(&specs, found.map(|(name, tensor)| (name.as_str(), tensor)).collect());
        best = Some((likeness, Nearest { architecture, problems: crate::network::listed(problems) }));
    }
    best.map(|(_, nearest)| nearest)
}

/// Every architecture that could have these weights, by name, to be compared tensor by tensor.
fn candidates(weights: &BTreeMap<String, Tensor>) -> Vec<Architecture> {
    let width = weights.get("block0.conv.weight").and_then(|weight| weight.dims().first().copied());
    let conv4 = width.filter(|&width| width > 0 && width <= 4096).map(Architecture::Conv4);
    let resnets = ResNetDepth::ALL.map(Architecture::ResNet);
    let transformers = crate::VisionTransformerKind::ALL.map(Architecture::VisionTransformer);
    let others = [Architecture::SmallCnn, Architecture::EfficientNetLite0, Architecture::ConvNextTiny];
    let all = conv4.into_iter().chain(others).chain(resnets).chain(transformers);
    #[cfg_attr(not(feature = "vision-networks"), allow(unused_mut))]
    let mut all: Vec<Architecture> = all.collect();
    #[cfg(feature = "vision-networks")]
    all.extend(crate::VisionNetworkKind::ALL.map(Architecture::VisionNetwork));
    all
}

/// The architecture's backbone for images with as many channels as the weights expect.
fn trial(architecture: Architecture, weights: &BTreeMap<String, Tensor>) -> Option<std::sync::Arc<dyn Backbone>> {
    let side = architecture.default_side();
    // networks for color images reject one channel at once
    let trial = architecture.backbone((1, side, side)).or_else(|_| architecture.backbone((3, side, side))).ok()?;
    let specs = trial.param_specs();
    let first = specs.iter().find(|spec| spec.shape.len() == 4)?;
    let bare = first.name.strip_prefix(&common_prefix(&specs)).unwrap_or(&first.name);
    match weights.get(&first.name).or_else(|| weights.get(bare)).map(Tensor::dims) {
        Some(&[_, channels, _, _]) => architecture.backbone((channels, side, side)).ok(),
        Some(_) => None,
        None => architecture.backbone((3, side, side)).ok(),
    }
}

/// The head's outputs if the weights are this architecture's.
fn outputs(architecture: Architecture, weights: &BTreeMap<String, Tensor>) -> Option<usize> {
    let backbone = trial(architecture, weights)?;
    let specs = backbone.param_specs();
    let weights = aligned(backbone.as_ref(), &specs, weights.clone());
    let all = specs.iter().all(|spec| weights.get(&spec.name).is_some_and(|tensor| fits(architecture, tensor, spec)));
    let head = format!("{}.", backbone.head_name());
    let others = weights.keys().filter(|name| !name.starts_with(&head)).count();
    let last = weights.iter().rfind(|(name, tensor)| name.starts_with(&head) && tensor.rank() == 2);
    (all && others == specs.len()).then(|| last.map_or(0, |(_, weight)| weight.dims()[0]))
}

/// Whether a tensor has the shape that an architecture needs, for images of some size.
fn fits(architecture: Architecture, tensor: &Tensor, spec: &ParamSpec) -> bool {
    // the seed recipe's hidden layer grows with the image
    if tensor.dims() == spec.shape || architecture == Architecture::SmallCnn && spec.name == "fc1.weight" {
        return true;
    }
    matches!(architecture, Architecture::VisionTransformer(kind) if kind.has_positions(&spec.name, tensor.dims()))
}

/// Weights with the names of a backbone: adds a prefix of all of the backbone's own names, which reading a
/// file removes, and renames the head.
fn aligned(
    backbone: &dyn Backbone,
    specs: &[ParamSpec],
    mut weights: BTreeMap<String, Tensor>,
) -> BTreeMap<String, Tensor> {
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let prefix = common_prefix(specs);
    if !prefix.is_empty() && !weights.keys().any(|name| known.contains(name.as_str())) {
        let named = |name: String| match known.contains(format!("{prefix}{name}").as_str()) {
            true => format!("{prefix}{name}"),
            false => name,
        };
        weights = weights.into_iter().map(|(name, tensor)| (named(name), tensor)).collect();
    }
    let head = backbone.head_name();
    let own = format!("{head}.");
    if weights.keys().any(|name| name.starts_with(&own)) {
        return weights;
    }
    let other = |name: &str| {
        let first = name.split('.').next().unwrap_or_default();
        weights::is_head(first)
            && !known.contains(name)
            && !known.iter().any(|known| known.split('.').next() == Some(first))
    };
    let heads: Vec<String> = weights.keys().filter(|name| other(name)).cloned().collect();
    let matrices: Vec<&String> = heads.iter().filter(|name| weights[*name].rank() == 2).collect();
    // a single fully connected layer is the head under another name; anything else is dropped, because a
    // missing head is an error if one is needed
    let single = match matrices.as_slice() {
        [weight] if weights[*weight].dims()[1] == backbone.width() => weight.strip_suffix(".weight").map(String::from),
        _ => None,
    };
    for name in heads {
        let Some(tensor) = weights.remove(&name) else { continue };
        let kind = single.as_ref().and_then(|single| name.strip_prefix(single)?.strip_prefix('.'));
        if let Some(kind @ ("weight" | "bias")) = kind {
            weights.insert(format!("{head}.{kind}"), tensor);
        }
    }
    weights
}

/// The parts that all names begin with, each followed by a dot; empty if there are none.
fn common_prefix(specs: &[ParamSpec]) -> String {
    let Some(first) = specs.first() else { return String::new() };
    let mut prefix = String::new();
    for (at, _) in first.name.match_indices('.') {
        let longer = &first.name[..=at];
        if !specs.iter().all(|spec| spec.name.starts_with(longer)) {
            break;
        }
        prefix = longer.to_string();
    }
    prefix
}
