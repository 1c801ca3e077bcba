//! Training a learner to keep: meta-training or pretraining on a data set's training classes, from nothing or from
//! pretrained weights, and a test on classes that it has not met.

mod divided;
mod from_weights;
mod options;
mod prepared;
mod record;

pub use divided::{LearnerData, MoreData};
pub use options::LearnerTraining;
pub use prepared::{LearnerTest, PreparedTraining, TrainedLearner};
