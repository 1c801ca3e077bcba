//! The catalog of known weights: what a weight file is, from its hash, from the files next to it, or from
//! the caller.

mod hub;
mod known;
mod preprocessing;
mod pretrained;

pub use known::KnownWeights;
pub use preprocessing::{Preparation, Preprocessing};
pub use pretrained::{Pretrained, WeightHints};
