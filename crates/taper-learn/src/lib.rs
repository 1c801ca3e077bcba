#![doc = include_str!("../README.md")]

mod adapt;
pub mod classifiers;
mod error;
pub mod evaluation;
pub mod heads;
pub mod methods;
pub mod models;
mod observer;
pub mod provenance;
pub mod ranks;
pub mod runs;
pub mod statistics;
pub mod support;
mod task_norm;
pub mod text;
pub mod training;

pub use adapt::{Adapt, Classifier};
pub use error::{LearnError, Result};
pub use evaluation::{Evaluation, evaluate, evaluate_over};
pub use methods::{Context, Method, TypedMethod};
pub use models::Model;
pub use observer::{Event, Flow, NoopObserver, Observer};
pub use runs::RunDirectory;
pub use statistics::Interval;
pub use task_norm::TaskNorm;
pub use training::{Draw, Plan, Progress, fit};
