//! `mutate`: files of every kind that Taper reads, damaged by a seed, through the readers.

use crate::args::{Mutate, in_workspace};
use anyhow::{Result, bail};
use hostile_files::{Fault, MEMORY, Outcomes, Report};
use std::{fs, time::Instant};

/// Files with which a reader failed that are kept.
const KEPT: usize = 20;

/// Reads `asked.inputs` damaged files and prints what became of them, by kind.
///
/// Fails if a reader panicked, gave no message of one line, or took more memory or time than its bound.
pub(crate) fn run(asked: &Mutate) -> Result<()> {
    let start = Instant::now();
    let Report { kinds, faults } = hostile_files::run(asked.first..asked.first + asked.inputs, asked.seed)?;
    println!("{:14} {:>8} {:>8} {:>9} {:>11} {:>9}", "kind", "read", "refused", "seconds", "memory, MiB", "kept, MiB");
    for (kind, Outcomes { read, refused, seconds, memory, kept }) in &kinds {
        println!("{kind:14} {read:8} {refused:8} {seconds:9.1} {:11} {:9}", memory >> 20, kept >> 20);
    }
    let most = kinds.values().map(|outcomes| outcomes.memory).max().unwrap_or(0);
    let seconds = start.elapsed().as_secs_f64();
    println!("{} inputs in {seconds:.0} s, one of them took at most {} MiB of memory", asked.inputs, most >> 20);
    let folder = in_workspace("target/mutate");
    for Fault { input, kind, what, content } in faults.iter().take(KEPT) {
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}-{input}", asked.seed));
        fs::write(&file, content)?;
        println!("{kind} {input}: {what}: {}", file.display());
    }
    if !faults.is_empty() {
        bail!("{} files were not read as they must be, with {} MiB of memory at most", faults.len(), MEMORY >> 20);
    }
    Ok(())
}
