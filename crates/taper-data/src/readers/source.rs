//! Where the bytes of image files come from: a folder, or a zip that stays packed.

use super::archive::too_large;
use super::limits::FILE;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zip::ZipArchive;

/// An image file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    /// Its path inside the data set, parts joined by `/`.
    pub(super) name: String,
    /// Its place in the source.
    pub(super) place: usize,
    /// Its length.
    pub(super) bytes: u64,
}

/// What gives the bytes of listed files; many threads may ask at once.
pub(super) enum Source {
    /// Paths of files.
    Folder(Vec<PathBuf>),
    /// Entries of a zip, with the most bytes that each may unpack to.
    Archive(ZipArchive<SharedFile>, Vec<u64>),
    /// Stretches of files, as in a tar: the file of each, and where it starts.
    Stretches(Vec<PathBuf>, Vec<(usize, u64)>),
    /// Rows of Parquet files.
    #[cfg(feature = "parquet")]
    Rows(super::parquet::Rows),
}

impl Source {
    /// The most bytes that are read of a file.
    fn most(&self, file: &Listed) -> u64 {
        match self {
            Self::Folder(_) => FILE,
            Self::Archive(_, most) => most.get(file.place).copied().unwrap_or(0),
            Self::Stretches(..) => file.bytes.min(FILE),
            #[cfg(feature = "parquet")]
            Self::Rows(_) => FILE,
        }
    }

    /// Gives `f` the file's bytes to read from, no more than the limit of one file.
    pub(super) fn reading<T>(&self, file: &Listed, f: impl FnOnce(&mut dyn Read) -> T) -> io::Result<T> {
        let most = self.most(file) + 1;
        match self {
            Self::Folder(paths) => Ok(f(&mut regular(&paths[file.place])?.take(most))),
            Self::Archive(archive, _) => {
                let mut archive = archive.clone();
                let entry = archive.by_index(file.place).map_err(io::Error::from)?;
                Ok(f(&mut entry.take(most)))
            }
            Self::Stretches(paths, starts) => {
                let (path, start) = starts[file.place];
                let mut shard = regular(&paths[path])?;
                shard.seek(SeekFrom::Start(start))?;
                Ok(f(&mut shard.take(file.bytes.min(most))))
            }
            #[cfg(feature = "parquet")]
            Self::Rows(rows) => Ok(f(&mut rows.bytes(file.place).map_err(io::Error::other)?.as_ref().take(most))),
        }
    }

    /// The file's bytes. The error says what is wrong and what to do; a file of another length
    /// than listed is one.
    pub(super) fn bytes(&self, file: &Listed) -> Result<Vec<u8>, String> {
        #[cfg(feature = "parquet")]
        if let Self::Rows(rows) = self {
            return rows.bytes(file.place).map(Vec::from);
        }
        if file.bytes > FILE {
            return Err(format!("is larger than {} MiB: scale it down", FILE >> 20));
        }
        if file.bytes > self.most(file) {
            return Err(too_large(self.most(file)));
        }
        let mut bytes = Vec::new();
        self.reading(file, |source| source.take(file.bytes + 1).read_to_end(&mut bytes))
            .and_then(|read| read)
            .map_err(|error| unread(&error))?;
        if bytes.len() as u64 != file.bytes {
            return Err("has another length than it was listed with: open the data set again".to_string());
        }
        Ok(bytes)
    }
}

/// Opens a file if it is a regular one: a pipe would wait for ever, a device never end.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

/// A reading error, and what to do.
pub(super) fn unread(error: &io::Error) -> String {
    format!("can't be read ({error}): copy it again or remove it")
}

/// An open file that many readers share, each at its own place.
#[derive(Clone)]
pub(super) struct SharedFile {
    file: Arc<Mutex<File>>,
    at: u64,
}

impl SharedFile {
    pub(super) fn new(file: File) -> Self {
        Self { file: Arc::new(Mutex::new(file)), at: 0 }
    }
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => {
                let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
                file.metadata()?.len().checked_add_signed(by)
            }
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
