//! What was measured and what it took, kept in the run: whatever depends on time depends on these figures, so
//! that a resumed run decides as the session before it did.

use crate::Result;
use serde::{Deserialize, Serialize};
use taper_learn::RunDirectory;
use taper_transfer::RunList;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    what: String,
    seconds: f64,
}

/// What the names of times since the beginning begin with.
pub(super) const ELAPSED: &str = "elapsed before ";

/// Measured times by name.
pub(super) struct Ledger {
    list: RunList<Entry>,
}

impl Ledger {
    /// With the figures of earlier sessions of the run.
    pub(super) fn open(run: Option<&RunDirectory>) -> Result<Self> {
        Ok(Self { list: RunList::open(run, "times.json")? })
    }

    /// Seconds that earlier sessions had taken when they began their last row.
    pub(super) fn elapsed(&self) -> f64 {
        let elapsed = self.list.iter().filter(|entry| entry.what.starts_with(ELAPSED));
        elapsed.map(|entry| entry.seconds).fold(0.0, f64::max)
    }

    /// The figure with this name from an earlier session, or else the result of `measure`.
    pub(super) fn measured(&mut self, what: &str, measure: impl FnOnce() -> Result<f64>) -> Result<f64> {
        if let Some(entry) = self.list.iter().find(|entry| entry.what == what) {
            return Ok(entry.seconds);
        }
        let seconds = measure()?;
        self.list.push(Entry { what: what.to_string(), seconds })?;
        Ok(seconds)
    }
}
