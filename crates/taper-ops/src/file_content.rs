//! A file's bytes in memory.

use std::fs::File;
use std::io;
use std::ops::Deref;

/// Bytes above which the allocator is asked before a file is read.
const LARGE: usize = 1 << 30;

/// The content of a file at the time of the call.
///
/// The bytes are a copy: whatever another process does to the file afterwards, such as shortening
/// it, they do not change. (A memory map would change with the file, and reading it beyond the
/// end of a shortened file would kill the process.)
///
/// ```
/// # use std::io::Write;
/// # let mut path = std::env::temp_dir();
/// # path.push(format!("taper-file-content-{}", std::process::id()));
/// std::fs::write(&path, b"bytes")?;
/// let content = taper_ops::FileContent::new(&std::fs::File::open(&path)?)?;
/// std::fs::write(&path, b"")?;
/// assert_eq!(&content[..], b"bytes");
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FileContent(Vec<u8>);

impl FileContent {
    /// Reads `file` from its beginning, wherever its cursor is.
    ///
    /// # Errors
    /// Returns an error if it is not a regular file, if it does not fit in memory, if it is shortened
    /// while it is read, or if the system cannot read it.
    pub fn new(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
        }
        let too_large = || io::Error::new(io::ErrorKind::OutOfMemory, "the file does not fit in memory");
        let length = usize::try_from(metadata.len()).map_err(|_| too_large())?;
        if length > LARGE {
            Vec::<u8>::new().try_reserve_exact(length).map_err(|_| too_large())?;
        }
        let mut bytes = vec![0; length];
        read_exact_at(file, &mut bytes).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => io::Error::new(source.kind(), "the file was shortened while it was read"),
            _ => source,
        })?;
        Ok(Self(bytes))
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, 0)
}

#[cfg(not(unix))]
fn read_exact_at(mut file: &File, bytes: &mut [u8]) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let before = file.stream_position()?;
    file.seek(SeekFrom::Start(0))?;
    let read = file.read_exact(bytes);
    file.seek(SeekFrom::Start(before))?;
    read
}

impl Deref for FileContent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, SeekFrom};
    use std::path::PathBuf;

    /// A temporary file, removed at the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("taper-ops-{name}-{}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn the_content_outlives_a_file_that_another_process_shortens() {
        let bytes: Vec<u8> = (0..if cfg!(miri) { 2_000u32 } else { 100_000 }).map(|at| (at % 251) as u8).collect();
        let scratch = Scratch::new("shortened", &bytes);
        let mut file = File::options().read(true).write(true).open(&scratch.0).unwrap();
        file.seek(SeekFrom::Start(7)).unwrap();
        let content = FileContent::new(&file).unwrap();
        let mut next = [0];
        file.read_exact(&mut next).unwrap();
        assert_eq!(next[0], 7, "the cursor did not move");
        file.set_len(0).unwrap();
        assert!(content[..] == bytes[..]);
    }

    #[test]
    fn an_empty_file_is_empty_and_a_device_is_an_error() {
        let scratch = Scratch::new("empty", b"");
        assert!(FileContent::new(&File::open(&scratch.0).unwrap()).unwrap().is_empty());
        if let Ok(device) = File::open("/dev/zero") {
            assert!(FileContent::new(&device).unwrap_err().to_string().contains("regular file"));
        }
    }
}
