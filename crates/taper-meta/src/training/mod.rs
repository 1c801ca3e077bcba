//! Meta-training: the sources of tasks, and the training of a learner.

mod meta_train;
mod multitask;
mod pretrain;
mod tasks;

pub use meta_train::{Learned, MetaTraining, meta_train, with_symmetries};
pub use multitask::{MultitaskOutcome, MultitaskTraining, multitask};
pub use pretrain::pretrain;
pub use tasks::{Auxiliary, TaskSource, TrainingTasks};
