//! Damaged and malicious files of every kind that Taper reads.
//!
//! Three programs share them: `tests/tests/hostile_files.rs` (20,000 files within `cargo test`),
//! `cargo xtask mutate` (as many as wanted) and the fuzz targets in `fuzz/`. All read a file with
//! [`Kind::read`], as the program does, down to the last image.

mod archives;
mod bombs;
mod campaign;
mod kind;
mod memory;
mod seeds;

pub use campaign::{Fault, Outcomes, Report, run};
pub use kind::Kind;
pub use memory::{held, peak, reset_peak, scratch_folder};
pub use seeds::{Seed, seeds};

/// The most bytes of memory that reading one file may take: [`taper_data::limits::MEMORY`] to decode
/// a picture, and the file itself.
pub const MEMORY: u64 = taper_data::limits::MEMORY + (64 << 20);
/// The most seconds that reading one of these files may take.
pub const SECONDS: f64 = 20.0;
