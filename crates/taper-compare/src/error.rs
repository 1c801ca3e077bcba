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
    /// A method that has no place among those that learn from a data set's own labels.
    #[error(
        "{method} can't learn from labels of all classes: compare heads, fine-tune, methods that learn from episodes, pixels or scratch"
    )]
    NotOnOwnTask {
        /// The method's name.
        method: String,
    },
    /// A data set without two classes that have images to label and images to score.
    #[error("{dataset}: {classes} of its classes have {least} or more images to label, but two are needed: add images")]
    NothingToTellApart {
        /// The data set.
        dataset: String,
        /// Classes with enough images.
        classes: usize,
        /// Images that a class needs.
        least: usize,
    },
    /// More labels than any class has.
    #[error("no class has {wanted} images to label: ask for {most} labels per class at most")]
    TooFewLabels {
        /// Labels asked for.
        wanted: usize,
        /// Most that a class has.
        most: usize,
    },
    /// A time budget that does not pay for the features of a few images.
    #[error(
        "the time budget of {budget:.0} s is too short: the features of {images} images alone take about {needed:.0} s"
    )]
    BudgetTooShort {
        /// Seconds given.
        budget: f64,
        /// Seconds that the features take.
        needed: f64,
        /// Images that are needed at the least.
        images: usize,
    },
    /// Drawings to learn photographs from, or the other way round.
    #[error(
        "{meta} holds {looks} and {dataset} does not, so what is learned from it would be of little use: use {wanted}"
    )]
    UnlikeMetaData {
        /// The meta-training data.
        meta: String,
        /// What they look like.
        looks: &'static str,
        /// The data set.
        dataset: String,
        /// What would be of use.
        wanted: &'static str,
    },
    /// A learner that was meta-trained from other weights, or from none.
    #[error("this {method} learner was not meta-trained from {weights}: compare with the weights that it started from")]
    OtherWeights {
        /// Its method.
        method: String,
        /// The weights.
        weights: String,
    },
    /// A learner that has learned from images that are compared on.
    #[error(
        "{learner} was trained on {images} of the images of {dataset}, so its scores would not be fair: leave it out"
    )]
    SeenByLearner {
        /// What the learner is called.
        learner: String,
        /// How many images.
        images: usize,
        /// The data set.
        dataset: String,
    },
    /// A run whose data set was changed meanwhile.
    #[error("{dataset}: has changed since this run began, so its scores can't be used: begin a new run")]
    DataChanged {
        /// The data set.
        dataset: String,
    },
    /// Meta-training data without two classes of enough images.
    #[error(
        "{meta}: {classes} of its classes have the 6 images that an episode takes, but two are needed: use other images"
    )]
    TooLittleMetaData {
        /// The meta-training data.
        meta: String,
        /// Classes with enough images.
        classes: usize,
        /// Images that the data set holds too.
        shared: usize,
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Learning failed.
    #[error(transparent)]
    Learn(#[from] taper_learn::LearnError),
    /// Transfer learning failed.
    #[error(transparent)]
    Transfer(#[from] taper_transfer::TransferError),
    /// Data failed.
    #[error(transparent)]
    Data(#[from] taper_data::DataError),
    /// A network failed.
    #[error(transparent)]
    Model(#[from] taper_models::ModelError),
}
