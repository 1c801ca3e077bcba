//! Classifiers made of a network or of other classifiers, and how they are asked for many images.

mod averaged;
mod classify;

pub use averaged::{Averaged, mean_logits};
pub use classify::{classify, predict};
