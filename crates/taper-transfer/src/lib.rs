#![doc = include_str!("../README.md")]
//!
//! A [`Problem`] is a data set in parts with a network to start from. [`search`] tries heads and partial
//! fine-tuning and keeps the best; [`train`] trains as [`TrainingOptions`] say; [`survey`] scores many methods
//! over problems.
//!
//! ```
//! use std::sync::Arc;
//! use taper_data::{Glyphs, GlyphsSize};
//! use taper_learn::NoopObserver;
//! use taper_transfer::{Problem, ProblemOptions, SearchOptions, search};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let images = Arc::new(Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 3, drawings: 10 })?);
//! let options = ProblemOptions { backbone: Some("conv4-8".parse()?), ..ProblemOptions::default() };
//! let problem = Problem::new(images, None, &options, &mut NoopObserver)?;
//! let fitted = search(&problem, &SearchOptions { budget: 60.0, ..SearchOptions::default() }, None, &mut NoopObserver)?;
//! for candidate in &fitted.candidates {
//!     let accuracy = candidate.accuracy.map_or(0.0, |accuracy| accuracy.mean);
//!     println!("{}: {:.1}%", candidate.name, accuracy * 100.0);
//! }
//! println!("{} classifies {:.1}% correctly", fitted.name, fitted.report.accuracy.mean * 100.0);
//! fitted.model.save(&std::env::temp_dir().join("taper-search-example"))?;
//! # Ok(())
//! # }
//! ```

mod activations;
mod balanced_order;
pub mod calibration;
mod candidate;
mod error;
mod extract;
mod feature_cache;
mod features;
mod fine_tune;
mod fitted;
mod gradual;
mod labeled_support;
mod methods;
mod mixing;
mod part;
mod problem;
mod report;
mod run_list;
mod search;
mod survey;
#[cfg(test)]
mod toy;
mod training;

pub use activations::Activations;
pub use balanced_order::balanced_order;
pub use calibration::calibrated_by;
pub use candidate::{Approach, CandidateSpec, CropPolicy, HEADS, InputVariant, Scale, Views, upper_part};
pub use error::{Result, TransferError};
pub use extract::{extract, fill_cache};
pub use feature_cache::{CachedFeatures, FeatureCache};
pub use features::{Features, fingerprint};
pub use fine_tune::{FineTune, Init, Statistics};
pub use fitted::Fitted;
pub use gradual::{Gradual, UnfreezePhase};
pub use labeled_support::{LabeledSupport, calibrated};
pub use methods::{FINE_TUNE, FineTunePretrained, FineTuneShared, FromScratch, MULTITASK, SCRATCH};
pub use mixing::Mixing;
pub use part::{Part, lowest_cut};
pub use problem::{HeadShape, Problem, ProblemOptions, input_transform};
pub use report::{ClassReport, ValidationReport, WorstError};
pub use run_list::RunList;
pub use search::{Expectation, SearchOptions, TriedCandidate, search};
pub use survey::{Cell, FineTuneFrom, LabelCount, SurveyOptions, check_survey, survey, survey_part};
pub use training::{
    Balance, Freeze, RatePoint, RateTest, ScheduleShape, TrainedPart, TrainingOptions, check as check_training,
    find_learning_rate, train,
};
