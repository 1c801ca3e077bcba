//! What both kinds of learning share: the waist ([`Adapt`]), the one training loop ([`fit`]),
//! optimizers and schedules, the one evaluator ([`evaluate`]), closed-form heads, and what a run
//! leaves on disk.

mod adapt;
mod average;
mod averaged;
mod confusion;
mod cross_validation;
mod deadline;
mod error;
mod evaluation;
mod fit;
pub mod heads;
mod interval;
mod method;
mod model_directory;
mod objective;
mod observer;
mod optimizer;
mod rates;
mod run_directory;
mod schedule;
mod storage;
mod supervised;
mod task_norm;

pub use adapt::{Adapt, Classifier};
pub use average::Average;
pub use averaged::{Averaged, mean_logits};
pub use confusion::{ClassScore, Confusion};
pub use cross_validation::{Labeled, Right, cross_validate, repeated_folds_interval};
pub use deadline::Deadline;
pub use error::{LearnError, Result};
pub use evaluation::{Cost, Evaluation, evaluate};
pub use fit::{Best, Fit, Outcome, Plan, Progress, fit};
pub use interval::{Interval, mean_interval, paired_difference, wilson_interval};
pub use method::{
    Episodic, Kind, Method, OWN, Setting, Settings, Setup, Training, is_own, network_part, nothing_beside, own_params,
};
pub use model_directory::{Model, Trained};
pub use objective::{Draw, Gradient, Objective};
pub use observer::{Event, Flow, NoopObserver, Observer};
pub use optimizer::{Optimizer, OptimizerState};
pub use rates::Rates;
pub use run_directory::RunDirectory;
pub use schedule::Schedule;
pub use storage::{write_atomically, write_directory};
pub use supervised::Supervised;
pub use task_norm::TaskNorm;

use candle_core::{D, Tensor};

/// Share of rows of `logits (n, ways)` whose largest entry is at the label `(n)`.
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> Result<f64> {
    let predicted = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    let labels = labels.to_vec1::<u32>()?;
    if labels.is_empty() {
        return Err(LearnError::Invalid("an empty batch has no accuracy".into()));
    }
    let right = predicted.iter().zip(&labels).filter(|(a, b)| a == b).count();
    Ok(right as f64 / labels.len() as f64)
}
