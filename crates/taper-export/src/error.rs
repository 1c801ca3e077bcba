//! What can go wrong in an export.

use thiserror::Error;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, ExportError>;

/// Why a model can't be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// A learner has no classes of its own.
    #[error(
        "is a learner ({method}) without classes of its own: adapt it to labeled images first, and export the classifier"
    )]
    Learner {
        /// The method that made it.
        method: String,
    },
    /// Preprocessing of pictures is asked for, and the network takes vectors.
    #[error("{network} takes vectors and not images, so there is no preprocessing to include: export the bare network")]
    Vectors {
        /// The network.
        network: String,
    },
    /// A network whose operations another library holds.
    #[error(
        "the operations of {network} can't be exported yet: use a ResNet, EfficientNet-Lite0, Conv4 or StrokeNet classifier"
    )]
    Network {
        /// The network.
        network: String,
    },
    /// A transform that fits no picture.
    #[error(
        "the transform `{transform}` makes no image of {expected:?} (channels, height, width) of a photograph: export the bare network"
    )]
    Transform {
        /// The model's transform.
        transform: String,
        /// What the network takes.
        expected: (usize, usize, usize),
    },
    /// Weights that are too large for so few bits, infinite, or not numbers.
    #[error(
        "the weight `{weight}` has a value that {bits} bits can't hold: export with 32 bits, or train the classifier again"
    )]
    NotFinite {
        /// The weight's name.
        weight: String,
        /// Bits of a value.
        bits: u8,
    },
    /// The other program has no such model.
    #[error("{program} can't load this classifier ({problem}): export it as ONNX")]
    Foreign {
        /// The other program.
        program: &'static str,
        /// What it lacks.
        problem: String,
    },
    /// From reading or writing.
    #[error(transparent)]
    Learn(#[from] taper_learn::LearnError),
    /// From the network.
    #[error(transparent)]
    Model(#[from] taper_models::ModelError),
    /// From the transform.
    #[error(transparent)]
    Data(#[from] taper_data::DataError),
    /// From a tensor.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// From a tensor's bytes.
    #[error("the weights can't be written: {0}")]
    Weights(#[from] safetensors::SafeTensorError),
    /// From metadata.
    #[error("the metadata can't be written: {0}")]
    Json(#[from] serde_json::Error),
}
