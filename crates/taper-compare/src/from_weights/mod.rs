//! Pretrained weights as what transfer learning and meta-learning both start from: the frozen network computed
//! once, and its uppermost stage trained on activations.

mod frozen;
mod learned;
mod meta_training;
mod source_tasks;

pub(crate) use frozen::{Frozen, Made};
pub(crate) use meta_training::{ITEMS, MetaTasks, MetaTrained, MetaTraining, VALIDATION_EPISODES};

/// Methods whose learners fit a head to features, so that the features are computed once.
const FIT_HEADS: [&str; 6] = ["protonet", "matching", "meta-baseline", "r2d2", "meta-opt-net", "meta-opt-net-ridge"];

/// Whether the learner of a meta-learning method of this name fits a head to features.
pub(crate) fn fits_head(name: &str) -> bool {
    FIT_HEADS.contains(&name)
}
