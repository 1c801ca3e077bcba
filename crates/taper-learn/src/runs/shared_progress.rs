//! The progress of a run that several processes share.

use crate::ranks::{Ranks, agree};
use crate::runs::checkpoint;
use crate::{LearnError, Progress, Result};
use std::path::Path;
use taper_data::Hash;

/// The progress that rank 0 has read, on every process.
pub(crate) fn shared_progress(own: Option<Progress>, ranks: &dyn Ranks) -> Result<Option<Progress>> {
    if ranks.count() == 1 {
        return Ok(own);
    }
    let bytes = match &own {
        Some(progress) if ranks.writes() => checkpoint::to_bytes(progress, "")?,
        _ => Vec::new(),
    };
    let read = ranks.gather(&bytes)?.swap_remove(0);
    match (ranks.writes(), read.is_empty()) {
        (true, _) => Ok(own),
        (false, true) => Ok(None),
        (false, false) => checkpoint::from_bytes(&read, "", Path::new("the checkpoint of rank 0")).map(Some),
    }
}

/// Checks that every process has the same progress, bit for bit.
///
/// # Errors
/// Returns an error that names the first process with another than rank 0.
pub(crate) fn same_progress(progress: &Progress, ranks: &dyn Ranks) -> Result<()> {
    if ranks.count() == 1 {
        return Ok(());
    }
    let own = Hash::of(&checkpoint::to_bytes(progress, "")?).to_string();
    agree(ranks, "parameters", &own).map_err(|error| match error {
        LearnError::RanksDiffer { rank, .. } => LearnError::Rank {
            rank,
            problem: format!(
                "has other parameters than rank 0 after {} steps: use machines of one type, without faults, and resume",
                progress.step
            ),
        },
        other => other,
    })
}
