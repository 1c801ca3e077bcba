//! The catalog of known weights: what a weight file is, by its hash, by the files beside it, or as
//! the caller says.

mod hub;
mod known;
mod preprocessing;
mod pretrained;

pub use known::KnownWeights;
pub use preprocessing::{Preparation, Preprocessing};
pub use pretrained::{Pretrained, WeightHints};
