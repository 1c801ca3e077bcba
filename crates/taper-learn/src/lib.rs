#![doc = include_str!("../README.md")]

mod adapt;
mod average;
mod averaged;
mod checkpoint;
mod classify;
mod confusion;
mod cross_validation;
mod deadline;
mod error;
mod evaluation;
mod finite;
mod fit;
pub mod heads;
mod hold_out;
mod method;
mod mini_batches;
mod model_directory;
mod objective;
mod observer;
mod open_model;
mod optimizer;
mod origin;
mod overrides;
mod preprocessing;
mod provenance;
mod rates;
mod run_directory;
mod run_lock;
mod run_manifest;
mod schedule;
mod stage;
pub mod statistics;
mod storage;
mod supervised;
mod task_norm;
pub mod text;
mod whole_directory;

pub use adapt::{Adapt, Classifier};
pub use average::Average;
pub use averaged::{Averaged, mean_logits};
pub use classify::{NetworkClassifier, classify, predict};
pub use confusion::{ClassScore, Confusion};
pub use cross_validation::{Labeled, Right, cross_validate, held_out_logits};
pub use deadline::Deadline;
pub use error::{LearnError, Result};
pub use evaluation::{Cost, Evaluation, evaluate};
pub use fit::{Best, Fit, Outcome, Plan, Progress, fit};
pub use hold_out::{HoldOut, hold_out};
pub use method::{
    ConfiguredMethod, Context, Kind, Method, MethodInfo, MethodSettings, OWN, Registered, SettingInfo, SettingValues,
    Training, TypedMethod, is_own, network_part, own_params,
};
pub use mini_batches::MiniBatches;
pub use model_directory::Model;
pub use objective::{Draw, Gradient, Objective};
pub use observer::{Event, Flow, NoopObserver, Observer};
pub use optimizer::{Optimizer, OptimizerState};
pub use origin::Origin;
pub use overrides::SettingOverrides;
pub use preprocessing::default_transform;
pub use provenance::{Overlap, Provenance, SeenClass, UsedData};
pub use rates::Rates;
pub use run_directory::{Existing, RunDirectory, RunRecord};
pub use schedule::Schedule;
pub use stage::{Stage, StageOutcome};

pub use statistics::{Interval, mean_interval, paired_difference, repeated_folds_interval, wilson_interval};
pub use storage::write_atomically;
pub use supervised::{Supervised, Targeted, Trainable};
pub use task_norm::TaskNorm;
pub use whole_directory::write_directory;

use candle_core::{D, Tensor};

/// What a model directory calls a network whose head names the classes itself.
pub const CLASSIFIER: &str = "classifier";

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
