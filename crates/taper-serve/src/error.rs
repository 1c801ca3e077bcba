//! Why a server can't start.

use std::path::PathBuf;

/// A result of starting a server.
pub type Result<T> = std::result::Result<T, ServeError>;

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The folder can't be used.
    #[error("{folder}: {problem}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The address or port can't be used.
    #[error("can't listen on {address} ({reason}): use another address or port")]
    Listen {
        /// The address with its port.
        address: std::net::SocketAddr,
        /// The system's error.
        reason: std::io::Error,
    },
    /// The system can't start the server.
    #[error("can't start the server")]
    System(#[from] std::io::Error),
}
