//! Statistics of accuracies: 95% intervals that account for all sources of variation, and claims that hold
//! together. One method per file.

mod accuracy;
mod blame;
mod estimate;
mod fixed_classes;
mod holm;
mod interval;
mod mean;
mod new_classes;
mod repeated_folds;
mod runs;
mod scored_task;
mod selection;
mod student;
mod variance;
mod wilson;

pub use accuracy::{accuracy_estimate, difference_estimate, weighted_estimate};
pub use estimate::{Estimate, Population};
pub use holm::holm;
pub use interval::Interval;
pub use mean::{mean_interval, paired_difference};
pub use repeated_folds::repeated_folds_interval;
pub use scored_task::{Decision, ScoredTask};
pub use selection::selection_bias;
pub use student::{student_quantile, student_two_sided};
pub use wilson::wilson_interval;
