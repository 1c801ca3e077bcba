//! SHA-256 of a file.

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use std::{fs::File, io, path::Path};

/// The SHA-256 of a file's content, as 64 lower-case hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let hash = || -> io::Result<String> {
        let mut hasher = Sha256::new();
        io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    hash().with_context(|| format!("{} can't be read: check the disk", path.display()))
}

/// Whether this looks like a SHA-256. The hub's tags of large files are; those of small ones are git's.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_equals_the_standards_example() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1
        assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
