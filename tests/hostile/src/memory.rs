//! The memory that this process holds.

use std::{fs, io, path::Path};

/// The most memory that this process has held since [`reset_peak`], in bytes; 0 where the system
/// does not say.
pub fn peak() -> u64 {
    field("VmHWM:")
}

/// The memory that this process holds, in bytes; 0 where the system does not say.
pub fn held() -> u64 {
    field("VmRSS:")
}

/// Starts counting [`peak`] anew. Returns the memory that the process holds now, in bytes.
pub fn reset_peak() -> u64 {
    // Linux: 5 resets the peak of resident memory
    let _ = fs::write("/proc/self/clear_refs", "5");
    held()
}

fn field(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// A temporary folder, in memory where the system has one there: many small files are written to it.
///
/// # Errors
/// Returns an error if no folder can be made.
pub fn scratch_folder() -> io::Result<tempfile::TempDir> {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir()
        && let Ok(folder) = tempfile::tempdir_in(in_memory)
    {
        return Ok(folder);
    }
    tempfile::tempdir()
}
