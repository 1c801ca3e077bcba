//! A file's bytes, read from the disk only where they are looked at.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A file's content at the time of the call, mapped into memory.
///
/// The file may grow meanwhile, and be removed; nobody may shorten or overwrite it.
#[derive(Debug)]
pub struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps `file`.
    ///
    /// Errs when the system can't, as for an empty file or a device.
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes stay as they are by the contract above, which files that only grow keep.
        // Reading them through slices costs no copy of a cache that is larger than memory.
        #[allow(unsafe_code)]
        let map = unsafe { memmap2::Mmap::map(file) }?;
        Ok(Self(map))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
