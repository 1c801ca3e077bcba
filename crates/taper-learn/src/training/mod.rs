//! The one training loop, [`fit`], with all that it takes: objectives, optimizers, schedules, weight averaging,
//! mini-batches, deadlines, and stages that a run resumes.

mod average;
mod deadline;
mod finite;
mod fit;
mod hold_out;
mod mean_gradient;
mod mini_batches;
mod objective;
mod optimizer;
mod rates;
mod schedule;
mod stage;
mod supervised;

pub use average::Average;
pub use deadline::Deadline;
pub use fit::{Best, Fit, Outcome, Plan, Progress, fit};
pub use hold_out::{HoldOut, hold_out};
pub use mini_batches::MiniBatches;
pub use objective::{Draw, Gradient, Objective};
pub use optimizer::{Optimizer, OptimizerState};
pub use rates::Rates;
pub use schedule::Schedule;
pub use stage::{Stage, StageOutcome};
pub use supervised::{Supervised, Targeted, Trainable};
