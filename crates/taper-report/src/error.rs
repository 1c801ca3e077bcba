//! What can go wrong.

/// Why a page can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A figure's values can't be shown.
    #[error("the page can't be rendered ({0}): report this with the run's report.json")]
    Render(#[from] askama::Error),
    /// Values that JSON can't hold.
    #[error("the report can't be read ({0}): resume the run to write it again")]
    Value(#[from] serde_json::Error),
    /// An image that can't become a thumbnail.
    #[error("an image of {width}x{height} pixels with {channels} channels and {samples} samples can't be shown")]
    Image {
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// Channels per pixel.
        channels: usize,
        /// Samples given.
        samples: usize,
    },
    /// A thumbnail that can't be encoded.
    #[error("a thumbnail can't be encoded ({0})")]
    Encode(#[from] image::ImageError),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, ReportError>;
