//! A comparison on a data set's own classes: every task holds all of them, and what changes is the number of
//! labels. All methods start from the same pretrained weights: heads on frozen features, fine-tuning, and
//! methods that were meta-trained on other images.

mod answers;
mod conclude;
mod crossing;
mod curve;
mod draws;
mod forecast;
mod keep;
mod ledger;
mod meta_classes;
mod meta_data;
mod options;
mod planned;
mod pool;
mod report;
mod row;
mod rows;
mod run;
mod scores;
mod session;
mod words;

pub use crossing::Crossing;
pub use curve::CurvePoint;
pub use forecast::Forecast;
pub use options::{OWN_TASK_METHODS, OwnTask};
pub use report::{Chosen, Curve, KeptAnswers, MetaSummary, OwnTaskReport, OwnTaskSummary};
pub use row::{Approach, LabelStart, LeftOut};
pub use run::OwnTaskData;
