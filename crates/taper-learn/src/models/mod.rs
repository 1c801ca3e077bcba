//! A model on disk, in the layout of the Hugging Face hub: network, classes, preprocessing and where it comes from.

mod model_directory;
mod open_model;
mod origin;
mod preprocessing;
mod published_form;

pub(crate) use model_directory::MODEL_FILES;
pub use model_directory::Model;
pub use origin::Origin;
pub use preprocessing::default_transform;
pub use published_form::PublishedPreprocessing;

/// What a model directory calls a network whose head names the classes itself.
pub const CLASSIFIER: &str = "classifier";
