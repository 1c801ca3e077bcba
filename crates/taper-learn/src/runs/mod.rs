//! Run directories, and files that are written whole or not at all.

mod checkpoint;
mod run_directory;
mod run_lock;
mod run_manifest;
mod shared_progress;
mod storage;
mod whole_directory;

pub use run_directory::{Existing, RunDirectory, RunRecord};
pub(crate) use shared_progress::{same_progress, shared_progress};
pub use storage::{read_if_there, write_atomically};
pub(crate) use whole_directory::readable;
pub use whole_directory::write_directory;
