//! What can go wrong with networks and their weights.

/// A result of this crate.
pub type Result<T> = std::result::Result<T, ModelError>;

/// What can go wrong with networks and their weights.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A parameter that the network needs is missing.
    #[error("parameter `{0}` is missing: these are not the weights of this network")]
    Missing(String),
    /// The loss does not depend on a parameter to be learned.
    #[error("the loss does not depend on `{0}`: freeze it or use it")]
    NoGradient(String),
    /// Weights that don't fit the network; lists every key that is wrong.
    #[error("the weights do not fit {network}: {problems}")]
    Misfit {
        /// The network.
        network: String,
        /// Missing, unexpected and misshapen keys.
        problems: String,
    },
    /// Weights that are NaN or infinite.
    #[error(
        "the weights for {network} hold NaN or infinity in {tensors}: use a checkpoint from before training diverged"
    )]
    NotFinite {
        /// The network.
        network: String,
        /// The tensors, with the number of such values.
        tensors: String,
    },
    /// A file that does not hold weights, or a broken one.
    #[error("{path}: {problem}")]
    BadFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Weights of a network that is unknown, or can't be recognized from its tensors.
    #[error("{path}: fits no known architecture{nearest}")]
    UnknownArchitecture {
        /// The file.
        path: std::path::PathBuf,
        /// The architecture that it nearly fits, and what does not fit.
        nearest: String,
    },
    /// Images of a size that a network can't take.
    #[error("{network} takes {takes}, not {}x{} with {} channel(s)", .given.1, .given.2, .given.0)]
    ImageSize {
        /// The network.
        network: String,
        /// What it takes, such as `images of at least 16x16`.
        takes: String,
        /// A height and width that would fit.
        side: usize,
        /// Channels, height and width of the images.
        given: (usize, usize, usize),
    },
    /// A value that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl ModelError {
    /// For images that are smaller than `least` pixels a side, or have no channel.
    pub(crate) fn too_small(network: &str, least: usize, given: (usize, usize, usize)) -> Self {
        let takes = format!("images of at least {least}x{least}");
        Self::ImageSize { network: network.into(), takes, side: least, given }
    }

    /// For a network that serves only frozen.
    pub(crate) fn never_trained(network: &str) -> Self {
        Self::Invalid(format!(
            "{network} can't be trained: freeze the backbone, or use resnet18, efficientnet-lite0 or dinov2-small"
        ))
    }
}
