//! How good a learner is: [`evaluate`] over tasks, cross-validation over a support set, confusion matrices.

mod accuracy;
mod confusion;
mod cross_validation;
mod evaluate;

pub use accuracy::accuracy;
pub use confusion::{ClassScore, Confusion};
pub use cross_validation::{Labeled, Right, cross_validate, held_out_logits};
pub use evaluate::{Cost, Evaluation, evaluate};
