#![doc = include_str!("../README.md")]

mod adaptation;
mod builtin;
mod comparison;
mod contender;
mod error;
mod external;
mod from_weights;
mod head_on_features;
mod lake;
mod learner_training;
mod own_task;
mod registry;
mod report;
mod revision;
mod run;
mod scores;
mod scoring;
mod tasks;
mod training;
mod verdict;

pub use adaptation::adapt;
pub use builtin::{BUILT_IN, BuiltIn, NAME as BUILT_IN_NAME, built_in, drawing_learner};
pub use comparison::{Comparison, DEFAULT_METHODS, METHODS_FROM_WEIGHTS};
pub use error::{CompareError, Result};
pub use lake::{LakeScore, lake_floors};
pub use learner_training::{LearnerData, LearnerTest, LearnerTraining, MoreData, PreparedTraining, TrainedLearner};
pub use own_task::{
    Approach, Chosen, Crossing, Curve, CurvePoint, Forecast, KeptAnswers, LabelStart, LeftOut, MetaSummary,
    OWN_TASK_METHODS, OwnTask, OwnTaskData, OwnTaskReport, OwnTaskSummary,
};
pub use registry::{METHODS, comparable, learner, method};
pub use report::{DataSummary, MethodReport, Report};
pub use revision::{Revised, Revision, revise};
pub use scores::Scores;
pub use scoring::{ClassifierScore, score_classifier, score_learner_tasks, seen_classes};
pub use tasks::{ComparisonData, TEST_SEED};
pub use verdict::{Claim, Outcome, Question, Scored, Start, Verdict};
