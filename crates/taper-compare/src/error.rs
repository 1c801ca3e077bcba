//! What can go wrong with a comparison.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, CompareError>;

/// What can go wrong with a comparison.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A method that is not in the registry.
    #[error("this version of taper has no method `{name}`: use one of {known}")]
    UnknownMethod {
        /// The name given.
        name: String,
        /// All names there are.
        known: String,
    },
    /// An image without anything drawn on it.
    #[error("{image}: is blank: draw something or remove it")]
    Blank {
        /// The image.
        image: String,
    },
    /// Images that the built-in learner does not know.
    #[error(
        "{count} of {images} images, such as {example}, are not line drawings, and the built-in learner supports nothing else"
    )]
    NotDrawings {
        /// How many are not.
        count: usize,
        /// How many images there are.
        images: usize,
        /// One of them.
        example: String,
    },
    /// A data set with fewer classes than a task has.
    #[error("{dataset} has {classes} classes and tasks want {ways}: ask for {classes} at most")]
    TooFewClasses {
        /// The data set.
        dataset: String,
        /// Its number of classes.
        classes: usize,
        /// Classes per task.
        ways: String,
    },
    /// Images of classes that a classifier does not have.
    #[error(
        "{dataset}: the model has no class {unknown} (it has {known}): use images of its classes, or adapt a learner to these"
    )]
    UnknownClasses {
        /// The data set.
        dataset: String,
        /// The first few classes that the model lacks.
        unknown: String,
        /// The first few that it has.
        known: String,
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Learning failed.
    #[error(transparent)]
    Learn(#[from] taper_learn::LearnError),
    /// Data failed.
    #[error(transparent)]
    Data(#[from] taper_data::DataError),
    /// A network failed.
    #[error(transparent)]
    Model(#[from] taper_models::ModelError),
}
