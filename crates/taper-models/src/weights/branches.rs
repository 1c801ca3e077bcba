//! Which of a checkpoint's tensors are the network's, judged by their names: prefixes that every
//! name has are removed, and branches that belong to training are skipped.

use super::contents::LeftOut;
use std::collections::{BTreeMap, BTreeSet};

/// The network's tensors among all of a file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Network {
    /// Index in the file, and name in the network.
    pub(super) kept: Vec<(usize, String)>,
    /// Removed prefixes, outermost first.
    pub(super) prefixes: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
    /// Whether a branch of averaged weights was preferred to another.
    pub(super) averaged: bool,
}

/// Parts of names that `torch.compile`, FSDP and activation checkpointing insert anywhere.
const INSERTED: [&str; 3] = ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// Names of the attribute under which training code keeps a network.
const WRAPPERS: [&str; 20] = [
    "model",
    "module",
    "backbone",
    "net",
    "network",
    "base_model",
    "base_encoder",
    "encoder_q",
    "online_encoder",
    "online_network",
    "image_encoder",
    "visual_encoder",
    "feature_extractor",
    "student",
    "teacher",
    "ema_model",
    "model_ema",
    "ema",
    "averaged_model",
    "trunk",
];

/// Also a wrapper, but also the name of a part of transformers, so all of its siblings must be known.
const ENCODER: &str = "encoder";

/// First parts of the names of heads.
const HEADS: [&str; 14] = [
    "head",
    "heads",
    "fc",
    "linear",
    "classifier",
    "cls_head",
    "classification_head",
    "last_linear",
    "lin_cls",
    "linear_head",
    "logits",
    "output_layer",
    "out",
    "classif",
];

/// First parts of names that only training uses, compared in lower case.
const TRAINING: [&str; 34] = [
    "optimizer",
    "optimizers",
    "optim",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler",
    "scaler",
    "amp_scaler",
    "grad_scaler",
    "criterion",
    "loss",
    "loss_fn",
    "loss_function",
    "projector",
    "projection",
    "projection_head",
    "proj_head",
    "predictor",
    "prediction_head",
    "prototypes",
    "decoder",
    "discriminator",
    "momentum_encoder",
    "momentum_projector",
    "momentum_backbone",
    "encoder_k",
    "key_encoder",
    "memory_bank",
    "queue",
    "queue_ptr",
    "n_averaged",
    "auxlogits",
    "aux_classifier",
    "neck",
];

/// Beginnings of such names.
const TRAINING_BEGINNINGS: [&str; 6] = ["optimizer_", "decoder_", "momentum_", "aux", "loss_", "target_"];

/// Branches that hold copies of one network, the better one first.
const COPIES: [(&str, &str); 9] = [
    ("teacher", "student"),
    ("target_encoder", "context_encoder"),
    ("target_encoder", "encoder"),
    ("encoder_q", "encoder_k"),
    ("base_encoder", "momentum_encoder"),
    ("online_encoder", "target_encoder"),
    ("online_network", "target_network"),
    ("backbone", "momentum_backbone"),
    ("encoder", "momentum_encoder"),
];

/// Whether a key names an average of weights over training.
pub(super) fn is_average(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let mut words = key.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| matches!(word, "ema" | "swa" | "averaged" | "teacher")) && key != "n_averaged"
        || key == "target_encoder"
}

/// Whether a key names something that only training uses.
pub(super) fn is_foreign(key: &str) -> bool {
    let average = is_average(key);
    let key = key.to_ascii_lowercase();
    TRAINING.contains(&key.as_str()) || (!average && TRAINING_BEGINNINGS.iter().any(|start| key.starts_with(start)))
}

/// Whether a name's first part is that of a head.
pub(crate) fn is_head(part: &str) -> bool {
    HEADS.contains(&part)
}

/// Finds the network among tensors of these names and shapes.
pub(super) fn network(tensors: &[(&str, &[usize])]) -> Network {
    let mut search = Search::new(tensors);
    // each round removes a part of every name or skips tensors
    while search.step() {}
    search.found
}

/// All tensors under their own names.
pub(super) fn all(tensors: &[(&str, &[usize])]) -> Network {
    let kept = tensors.iter().enumerate().map(|(index, (name, _))| (index, name.to_string())).collect();
    Network { kept, ..Network::default() }
}

struct Search<'t> {
    shapes: Vec<&'t [usize]>,
    found: Network,
}

/// The tensors of each first part, by their place among those kept.
type Branches = BTreeMap<String, Vec<usize>>;

impl<'t> Search<'t> {
    fn new(tensors: &[(&str, &'t [usize])]) -> Self {
        let mut found = Network::default();
        for part in INSERTED {
            if tensors.iter().any(|(name, _)| name.split('.').any(|other| other == part)) {
                found.prefixes.push(format!("{part}."));
            }
        }
        let bare = |name: &str| -> String {
            let parts: Vec<&str> = name.split('.').filter(|part| !INSERTED.contains(part)).collect();
            parts.join(".")
        };
        found.kept = tensors.iter().enumerate().map(|(index, (name, _))| (index, bare(name))).collect();
        let names: BTreeSet<&str> = found.kept.iter().map(|(_, name)| name.as_str()).collect();
        if names.len() < found.kept.len() || names.contains("") {
            found = all(tensors);
        }
        Self { shapes: tensors.iter().map(|&(_, shape)| shape).collect(), found }
    }

    fn step(&mut self) -> bool {
        let branches = self.branches();
        self.strip_common(&branches)
            || self.prefer_copies(&branches)
            || self.leave_out_training(&branches)
            || self.unwrap(&branches)
    }

    fn branches(&self) -> Branches {
        let mut branches = Branches::new();
        for (at, (_, name)) in self.found.kept.iter().enumerate() {
            let first = name.split('.').next().unwrap_or_default();
            branches.entry(first.to_string()).or_default().push(at);
        }
        branches
    }

    fn under<'b>(&'b self, branch: &[usize]) -> impl Iterator<Item = (&'b str, &'t [usize])> {
        branch.iter().map(|&at| {
            let (index, name) = &self.found.kept[at];
            (name.split_once('.').map_or("", |(_, rest)| rest), self.shapes[*index])
        })
    }

    /// Removes a part that every name begins with, unless only a single layer would remain.
    fn strip_common(&mut self, branches: &Branches) -> bool {
        let Some((part, all)) = branches.iter().next().filter(|_| branches.len() == 1) else { return false };
        let layers = self.under(all).any(|(rest, _)| rest.contains('.'));
        if !layers || self.under(all).any(|(rest, _)| rest.is_empty()) {
            return false;
        }
        self.strip(part, all);
        true
    }

    fn strip(&mut self, part: &str, branch: &[usize]) {
        for &at in branch {
            let name = &mut self.found.kept[at].1;
            *name = name[part.len() + 1..].to_string();
        }
        self.found.prefixes.push(format!("{part}."));
    }

    /// Of two copies of one network, skips the worse one.
    fn prefer_copies(&mut self, branches: &Branches) -> bool {
        let averages = branches.keys().filter(|name| is_average(name));
        let plain = |name: &String| WRAPPERS.contains(&name.as_str()) || name == ENCODER;
        let averaged =
            averages.flat_map(|better| branches.keys().map(move |lesser| (better.as_str(), lesser.as_str())));
        let averaged = averaged.filter(|(_, lesser)| plain(&lesser.to_string()) && !is_average(lesser));
        let pairs = COPIES.into_iter().chain(averaged);
        for (better, lesser) in pairs {
            let (Some(of_better), Some(of_lesser)) = (branches.get(better), branches.get(lesser)) else { continue };
            let shapes: BTreeMap<&str, &[usize]> = self.under(of_better).collect();
            let same = self.under(of_lesser).filter(|(name, shape)| shapes.get(name) == Some(shape)).count();
            // a copy may lack some tensors of an average, and heads may differ
            if same > 0 && same * 4 >= of_lesser.len() * 3 {
                self.found.averaged |= is_average(better);
                self.leave_out(&[lesser.to_string()], branches);
                return true;
            }
        }
        false
    }

    /// Skips what only training uses, as long as a network remains.
    fn leave_out_training(&mut self, branches: &Branches) -> bool {
        let (training, rest): (Vec<_>, Vec<_>) = branches.keys().cloned().partition(|name| is_foreign(name));
        if training.is_empty() || !rest.iter().any(|name| self.has_weights(&branches[name])) {
            return false;
        }
        self.leave_out(&training, branches);
        true
    }

    /// Removes the wrapper's name if one branch is a whole network with at most a head next to it;
    /// skips other siblings.
    fn unwrap(&mut self, branches: &Branches) -> bool {
        let wrapper = |name: &str| WRAPPERS.contains(&name) || name == ENCODER;
        let wrappers: Vec<&String> = branches.keys().filter(|name| wrapper(name)).collect();
        let &[part] = wrappers.as_slice() else { return false };
        let branch = &branches[part];
        let inside: BTreeSet<&str> =
            self.under(branch).map(|(rest, _)| rest.split('.').next().unwrap_or_default()).collect();
        let head = |name: &str| is_head(name) && !inside.contains(name);
        let others: Vec<String> = branches.keys().filter(|&name| name != part && !head(name)).cloned().collect();
        // a wrapper has layers of its own and most of the tensors
        let most = branch.len() * 5 >= self.found.kept.len() * 3;
        let unclear = part == ENCODER && !others.is_empty();
        if !most || unclear || inside.contains("") || !self.under(branch).any(|(rest, _)| rest.contains('.')) {
            return false;
        }
        self.strip(part, branch);
        self.leave_out(&others, branches);
        true
    }

    /// Whether a branch has a matrix or kernel.
    fn has_weights(&self, branch: &[usize]) -> bool {
        branch.iter().any(|&at| self.shapes[self.found.kept[at].0].len() >= 2)
    }

    fn leave_out(&mut self, names: &[String], branches: &Branches) {
        let mut gone: BTreeSet<usize> = BTreeSet::new();
        for name in names {
            let branch = &branches[name];
            gone.extend(branch.iter().copied());
            self.found.left_out.push(LeftOut { branch: name.clone(), tensors: branch.len() });
        }
        let mut at = 0;
        self.found.kept.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &[usize] = &[8, 3, 3, 3];
    const NET: [&str; 5] =
        ["conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight", "layer2.0.conv1.weight"];

    /// The names that are kept of these, and the skipped branches.
    fn kept(names: &[String]) -> (Vec<String>, Vec<String>, Vec<String>) {
        let tensors: Vec<_> = names.iter().map(|name| (name.as_str(), KERNEL)).collect();
        let found = network(&tensors);
        let names = found.kept.into_iter().map(|(_, name)| name).collect();
        (names, found.prefixes, found.left_out.into_iter().map(|left| left.branch).collect())
    }

    fn under(prefix: &str, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{prefix}{name}")).collect()
    }

    #[test]
    fn prefixes_that_every_name_has_come_off_in_any_nesting() {
        for (prefix, parts) in [
            ("", vec![]),
            ("module.", vec!["module."]),
            ("_orig_mod.", vec!["_orig_mod."]),
            ("model.", vec!["model."]),
            ("encoder.", vec!["encoder."]),
            ("somebodys_name.", vec!["somebodys_name."]),
            ("model._orig_mod.module.backbone.", vec!["_orig_mod.", "model.", "module.", "backbone."]),
        ] {
            let (names, prefixes, left) = kept(&under(prefix, &NET));
            assert_eq!(names, NET, "{prefix}");
            assert_eq!(prefixes, parts, "{prefix}");
            assert!(left.is_empty());
        }
    }

    #[test]
    fn branches_of_training_are_left_out_by_name() {
        let projector = under("projector.", &["0.weight", "2.weight"]);
        for (prefix, others) in [
            ("backbone.", projector.clone()),
            ("model.", under("", &["n_averaged", "criterion.weight"])),
            ("encoder_q.", under("encoder_k.", &NET).into_iter().chain(under("", &["queue", "queue_ptr"])).collect()),
            ("module.base_encoder.", under("module.momentum_encoder.", &NET)),
            ("teacher.", under("student.", &NET)),
            ("model_ema.", under("model.", &NET)),
            ("", under("decoder_blocks.0.", &["attn.weight"])),
        ] {
            let all: Vec<String> = under(prefix, &NET).into_iter().chain(others).collect();
            let (names, _, left) = kept(&all);
            assert_eq!(names, NET, "{prefix}: left out {left:?}");
            assert!(!left.is_empty(), "{prefix}");
        }
    }

    #[test]
    fn a_head_beside_a_wrapped_network_stays() {
        let all = [under("backbone.", &NET), under("fc.", &["weight", "bias"])].concat();
        let (names, prefixes, left) = kept(&all);
        assert_eq!(names, [&NET[..], &["fc.weight", "fc.bias"]].concat());
        assert_eq!((prefixes, left), (vec!["backbone.".to_string()], vec![]));
    }

    #[test]
    fn names_of_whole_networks_stay_as_they_are() {
        let transformer = under("encoder.layer.", &["0.weight", "1.weight", "2.weight", "3.weight"]);
        let transformer = [transformer, under("", &["embeddings.cls_token", "layernorm.weight"])].concat();
        let vit = [under("vit.", &["embeddings.weight", "encoder.layer.0.weight"]), under("classifier.", &["weight"])]
            .concat();
        let layer = under("fc.", &["weight", "bias"]);
        for names in [transformer, vit, layer, under("", &["weight", "bias"]), vec![]] {
            assert_eq!(kept(&names), (names.clone(), vec![], vec![]));
        }
    }
}
