//! Files that may be replaced because an earlier call wrote them.

use anyhow::{Result, bail};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The first few kilobytes of a file that may be replaced; `None` if there is none.
///
/// # Errors
/// Returns an error if something else is there, or it can't be read.
pub(crate) fn head_of_file(path: &Path) -> Result<Option<Vec<u8>>> {
    const HEAD: u64 = 4096;
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => bail!("{}: {error}", path.display()),
        Ok(_) if !path.is_file() => bail!("{}: is not a regular file: choose another", path.display()),
        Ok(_) => {}
    }
    let mut head = Vec::new();
    match File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head)) {
        Ok(_) => Ok(Some(head)),
        Err(error) => bail!("{}: {error}", path.display()),
    }
}
