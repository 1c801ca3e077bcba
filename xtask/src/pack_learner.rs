//! `pack-learner`: a trained learner as the built-in learner's file.

use crate::{args::PackLearner, digest::sha256};
use anyhow::Result;
use taper_learn::{Model, runs::write_atomically};

/// Packs the learner and prints the file's length and hash.
///
/// Fails if the run has no model, or the file can't be written.
pub(crate) fn run(asked: &PackLearner) -> Result<()> {
    let packed = Model::load(&asked.run)?.packed()?;
    write_atomically(&asked.to, &packed)?;
    println!("{}: {} bytes, SHA-256 {}", asked.to.display(), packed.len(), sha256(&asked.to)?);
    Ok(())
}
