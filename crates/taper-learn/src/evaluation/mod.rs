//! How good a learner is: [`evaluate`] over tasks, cross-validation over a support set, confusion matrices.

mod accuracy;
mod answers;
mod confusion;
mod cross_validation;
mod evaluate;
mod temperature;

pub use accuracy::{accuracy, likeliest};
pub use answers::{Answers, ImageFeatures, ReliabilityBin, expected_calibration_error};
pub use confusion::{ClassScore, Confusion};
pub use cross_validation::{Labeled, Right, held_out_logits, hits_of};
pub use evaluate::{Cost, Evaluation, TaskScore, evaluate, evaluate_over, score_tasks};
pub use temperature::{extrapolated_temperature, fitted_temperature, temperature_of_singles};
