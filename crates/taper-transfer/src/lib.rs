//! Learning from pretrained weights: fine-tuning, and features computed once.

mod activations;
mod balanced_order;
mod feature_cache;
mod features;
mod fine_tune;
mod gradual;
mod mixing;
mod partial_fine_tune;

pub use activations::Activations;
pub use balanced_order::balanced_order;
pub use feature_cache::{CachedFeatures, FeatureCache};
pub use features::{Features, fingerprint};
pub use fine_tune::{FINE_TUNE, FineTune, FineTuned, MULTITASK, SCRATCH};
pub use gradual::{Gradual, UnfreezePhase};
pub use mixing::{Mixing, Targeted};
pub use partial_fine_tune::{FineTuning, Init, Part, PartialFineTune, lowest_cut};
