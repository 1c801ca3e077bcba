//! A checked download: a file gets its final name only after its length and hash have been checked.

use crate::{
    args::Patience,
    digest,
    fault::{Fault, in_time, with_patience},
    source::Source,
};
use anyhow::{Context, Error, Result, anyhow};
use futures::StreamExt;
use indicatif::ProgressBar;
use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

/// What a file must be, as far as known.
#[derive(Debug, Default, Clone)]
pub(crate) struct Expected {
    /// Its length.
    pub(crate) bytes: Option<u64>,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub(crate) sha256: Option<String>,
}

impl Expected {
    /// The SHA-256 of the file at `path`, or what is wrong with it.
    ///
    /// Fails if the file can't be read.
    pub(crate) fn check(&self, path: &Path) -> Result<Result<String, Error>> {
        let bytes = fs::metadata(path).with_context(|| unreadable(path))?.len();
        if let Some(expected) = self.bytes.filter(|&expected| expected != bytes) {
            let page = if is_page(path)? { ", and begin a web page" } else { "" };
            return Ok(Err(anyhow!("{bytes} bytes came{page}, where {expected} were expected")));
        }
        let sha256 = digest::sha256(path)?;
        match &self.sha256 {
            Some(expected) if *expected != sha256 => Ok(Err(anyhow!("its sha256 is {sha256}, not {expected}"))),
            _ => Ok(Ok(sha256)),
        }
    }
}

/// Downloads `source` to `target`, resuming what an earlier attempt left in
/// `target.incomplete`. Returns the SHA-256.
///
/// Fails if the server can't be reached in the time that `patience` gives, if the disk is full,
/// or if length or hash are wrong; then the file is kept as `target.rejected`.
pub(crate) async fn fetch(
    source: &impl Source,
    expected: &Expected,
    target: &Path,
    patience: Patience,
    bar: &ProgressBar,
) -> Result<String, Fault> {
    let partial = with_suffix(target, ".incomplete");
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(|problem| unwritable(folder, &problem))?;
    }
    loop {
        let resumed = with_patience(patience, || transfer(source, expected, &partial, patience, bar)).await?;
        match expected.check(&partial)? {
            Ok(sha256) => {
                settle(&partial, target).map_err(|problem| unwritable(target, &problem))?;
                return Ok(sha256);
            }
            // the first part may be outdated: once more, from the beginning
            Err(_) if resumed => fs::remove_file(&partial).map_err(|problem| unwritable(&partial, &problem))?,
            Err(wrong) => {
                let aside = with_suffix(target, ".rejected");
                settle(&partial, &aside).map_err(|problem| unwritable(&aside, &problem))?;
                return Err(Fault::Lasting(anyhow!(
                    "{}: {wrong}; the file is kept as {}: check the address, the proxy and the hash",
                    source.address(),
                    aside.display()
                )));
            }
        }
    }
}

/// One attempt. Returns whether the file begins with bytes of an earlier one.
async fn transfer(
    source: &impl Source,
    expected: &Expected,
    partial: &Path,
    patience: Patience,
    bar: &ProgressBar,
) -> Result<bool, Fault> {
    let have = match (fs::metadata(partial).map(|file| file.len()), expected.bytes) {
        (Ok(have), Some(bytes)) if have == bytes => return Ok(true),
        (Ok(have), Some(bytes)) if have < bytes => have,
        _ => 0,
    };
    let rest = in_time(patience, source.address(), source.open(have)).await?;
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(rest.offset == 0)
        .open(partial)
        .map_err(|problem| unwritable(partial, &problem))?;
    if rest.offset > 0 {
        file.seek(SeekFrom::Start(rest.offset)).map_err(|problem| unwritable(partial, &problem))?;
    }

    let mut position = rest.offset;
    if let Some(length) = expected.bytes.or(rest.length.map(|length| rest.offset + length)) {
        bar.set_length(length);
    }
    bar.set_position(position);
    bar.reset_eta();
    let mut bytes = rest.bytes;
    while let Some(chunk) = in_time(patience, source.address(), async { bytes.next().await.transpose() }).await? {
        file.write_all(&chunk).map_err(|problem| unwritable(partial, &problem))?;
        position += chunk.len() as u64;
        bar.set_position(position);
        if expected.bytes.is_some_and(|expected| position > expected) {
            break;
        }
    }
    file.sync_all().or_else(ignore_devices).map_err(|problem| unwritable(partial, &problem))?;
    Ok(rest.offset > 0)
}

/// Gives a complete file its name, so that after any crash there is either all of it or nothing.
pub(crate) fn settle(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    match to.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Holds a lock file until dropped, as `huggingface_hub` does: one process at a time fetches a file.
pub(crate) async fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|problem| unwritable(folder, &problem))?;
    }
    let file = File::create(path).map_err(|problem| unwritable(path, &problem))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(TryLockError::Error(problem)) => return Err(unwritable(path, &problem)),
        }
    }
}

/// `path` with more at the end of its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Why a path can't be written.
pub(crate) fn unwritable(path: &Path, problem: &io::Error) -> Error {
    let remedy = match problem.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room on the disk and run it again",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "choose a folder that you may write to",
        _ => "check the disk",
    };
    anyhow!("{} can't be written ({problem}), {remedy}", path.display())
}

fn unreadable(path: &Path) -> String {
    format!("{} can't be read: check the disk", path.display())
}

/// Devices and pipes can't be synced; this loses nothing.
fn ignore_devices(problem: io::Error) -> io::Result<()> {
    if problem.kind() == ErrorKind::InvalidInput { Ok(()) } else { Err(problem) }
}

fn is_page(path: &Path) -> Result<bool> {
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(64).read_to_end(&mut start)).with_context(|| unreadable(path))?;
    Ok(start.trim_ascii_start().starts_with(b"<"))
}
