//! Learning from pretrained weights: fine-tuning, and features computed once.

mod feature_cache;
mod features;
mod fine_tune;

pub use feature_cache::FeatureCache;
pub use features::{Features, fingerprint};
pub use fine_tune::{FINE_TUNE, FineTune, FineTuned, MULTITASK, SCRATCH};
