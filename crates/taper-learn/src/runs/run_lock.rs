//! Only one process at a time writes to a run directory.

use crate::{LearnError, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The lock's file in a run directory. It stays after the lock is released.
pub(crate) const LOCK_FILE: &str = ".taper-lock";

/// The right to write to a run directory, until it is dropped. The system releases it when its process
/// ends in any way.
#[derive(Debug)]
pub(crate) struct RunLock {
    file: File,
    warning: Option<String>,
}

/// Who holds a lock.
#[derive(Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    /// Seconds since 1970.
    since: u64,
}

impl RunLock {
    /// Locks an existing directory.
    ///
    /// Fails if another process holds the lock, or the lock's file can't be written.
    pub(crate) fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_FILE);
        let failed = |source| LearnError::File { path: path.clone(), source };
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        let warning = match try_twice(&file) {
            Ok(()) => None,
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Holder>(&bytes).ok());
                let holder = holder.map_or("another process".to_string(), |holder| holder.describe());
                return Err(LearnError::InUse { path: folder.to_path_buf(), holder });
            }
            Err(TryLockError::Error(error)) => Some(format!(
                "{}: can't be locked ({error}): make sure that no other process writes to it",
                folder.display()
            )),
        };
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.write_all(&serde_json::to_vec(&Holder::own())?)
        };
        write(&mut file).map_err(failed)?;
        Ok(Self { file, warning })
    }

    /// Whether a living process holds the lock of a directory; `None` if that can't be told.
    pub(crate) fn is_held(folder: &Path) -> Option<bool> {
        let file = match File::open(folder.join(LOCK_FILE)) {
            Ok(file) => file,
            Err(error) => return (error.kind() == ErrorKind::NotFound).then_some(false),
        };
        match file.try_lock_shared() {
            Ok(()) => {
                let _ = file.unlock();
                Some(false)
            }
            Err(TryLockError::WouldBlock) => Some(true),
            Err(TryLockError::Error(_)) => None,
        }
    }

    /// What the user should know, if the file system has no locks.
    pub(crate) fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }
}

/// Once more a moment later: [`RunLock::is_held`] locks the file to find out.
fn try_twice(file: &File) -> std::result::Result<(), TryLockError> {
    const MOMENT: Duration = Duration::from_millis(20);
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            std::thread::sleep(MOMENT);
            file.try_lock()
        }
        other => other,
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // closing is not enough: a process that another thread is starting may hold a copy
        let _ = self.file.unlock();
    }
}

impl Holder {
    fn own() -> Self {
        Self {
            pid: std::process::id(),
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            since: now().as_secs(),
        }
    }

    fn describe(&self) -> String {
        let minutes = now().as_secs().saturating_sub(self.since) / 60;
        let ago = match (minutes / 60, minutes % 60) {
            (0, 0) => "less than a minute ago".to_string(),
            (0, minutes) => format!("{minutes} min ago"),
            (hours, minutes) => format!("{hours} h {minutes} min ago"),
        };
        format!("process {} on {}, started {ago}", self.pid, self.host)
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
