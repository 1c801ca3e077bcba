//! Which parameters of a network are trained.

use std::collections::BTreeSet;
use taper_learn::{LearnError, Result};
use taper_models::{Network, State};

/// Which parameters are trained; the head always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All parameters.
    All,
    /// The head only.
    Head,
    /// The parameters of these stages, or with these name prefixes (`"layer4"`, `"layer3.0.conv1"`), and the head.
    Named(Vec<String>),
    /// The weights and biases of the norms, and the head (Frankle et al. 2021).
    Norms,
    /// All biases, including the norms', and the head (Ben Zaken et al. 2022).
    Biases,
}

impl Part {
    /// The names of the trained parameters of `network` with `state`.
    ///
    /// # Errors
    /// Returns an error, listing the stages, if a name is neither a stage nor a prefix of a parameter's name.
    pub fn of(&self, network: &Network, state: &State) -> Result<BTreeSet<String>> {
        let under = |name: &str, start: &str| {
            name.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if let Self::Named(starts) = self
            && let Some(start) = starts.iter().find(|start| !state.params.iter().any(|(name, _)| under(name, start)))
        {
            let stages = network.backbone().stages().join(", ");
            let head = network.backbone().head_name();
            return Err(LearnError::Invalid(format!("`{start}` names no part of the network: use {stages} or {head}")));
        }
        let norms = network.backbone().norms();
        let holds = |name: &str| match self {
            _ if network.in_head(name) => true,
            Self::All => true,
            Self::Head => false,
            Self::Named(starts) => starts.iter().any(|start| under(name, start)),
            Self::Norms => state.buffers.normalize(name) || norms.iter().any(|norm| under(name, norm)),
            Self::Biases => name.ends_with(".bias"),
        };
        Ok(state.params.iter().map(|(name, _)| name.to_string()).filter(|name| holds(name)).collect())
    }
}

/// The uppermost split point with all `trained` parameters above it; `None`
/// if there is none.
pub fn lowest_cut(network: &Network, trained: &BTreeSet<String>) -> Option<String> {
    let backbone = network.backbone();
    let in_stage =
        |stage: &str, name: &str| name.strip_prefix(stage).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let mut cut = None;
    for stage in backbone.stages() {
        if backbone.split_points().contains(&stage) {
            cut = Some(stage.clone());
        }
        if trained.iter().any(|name| in_stage(&stage, name)) {
            break;
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_models::{Architecture, Head};

    #[test]
    fn parts_are_named_by_stages_or_beginnings_of_names_and_cut_as_high_as_they_allow() {
        let whole = "cifar-resnet20".parse::<Architecture>().unwrap().backbone((3, 8, 8)).unwrap();
        let network = Network::new(whole, Head::Linear { outputs: 2 });
        let state = network.init(0).unwrap();
        let named = |names: &[&str]| Part::Named(names.iter().map(ToString::to_string).collect());
        let cut = |part: &Part| lowest_cut(&network, &part.of(&network, &state).unwrap());
        let trained = named(&["layer3.1", "layer3.2.conv1"]).of(&network, &state).unwrap();
        assert!(trained.contains("layer3.1.conv2.weight") && trained.contains("layer3.2.conv1.weight"));
        assert!(!trained.contains("layer3.2.conv2.weight") && trained.iter().any(|name| network.in_head(name)));
        assert_eq!(cut(&named(&["layer3.1"])), Some("layer3".into()));
        assert_eq!(cut(&named(&["layer3", "layer2.0"])), Some("layer2".into()));
        assert_eq!((cut(&Part::All), cut(&Part::Norms)), (None, None));
        let error = named(&["layer1", "layer"]).of(&network, &state).unwrap_err().to_string();
        assert!(error.starts_with("`layer` names no part") && error.contains("layer2, layer3"), "{error}");
    }
    #[test]
    fn norms_of_a_transformer_are_its_layer_norms_and_its_blocks_are_cuts() {
        let whole = "dinov2-small".parse::<Architecture>().unwrap().backbone((3, 28, 28)).unwrap();
        let network = Network::new(whole, Head::Linear { outputs: 2 });
        let state = network.init(0).unwrap();
        let named = |name: &str| Part::Named(vec![name.into()]);
        let norms = Part::Norms.of(&network, &state).unwrap();
        assert_eq!(norms.len(), 2 * (2 * 12 + 1) + 2, "weight and bias of each norm and of the head");
        assert!(norms.contains("blocks.0.norm1.weight") && norms.contains("norm.bias"));
        let cut = |part: &Part| lowest_cut(&network, &part.of(&network, &state).unwrap());
        assert_eq!(cut(&Part::Norms), Some("blocks.0".into()));
        assert_eq!(cut(&named("blocks.11")), Some("blocks.11".into()));
        assert_eq!((cut(&named("cls_token")), cut(&Part::All)), (None, None));
    }
}
