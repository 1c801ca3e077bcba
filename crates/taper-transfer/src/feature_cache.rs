//! Features kept on disk, keyed by weights, transform, image content and the version of the code
//! that computes them.
//!
//! One file per key, which only grows: a header that names the key, then records of equal length. Processes
//! can share it. A record that is damaged or truncated is skipped, so that it is recomputed
//! and added again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use taper_data::Hash;
use taper_learn::{LearnError, Result};

const MAGIC: &[u8; 16] = b"taper features 1";
const ENDING: &str = "features";

/// The default bound, in bytes.
const BOUND: u64 = 4 << 30;

/// A directory of features, one file for each network with its transform.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    folder: PathBuf,
    bound: u64,
}

/// One file of a cache.
#[derive(Debug, Clone)]
pub struct CachedFeatures {
    /// Network and transform in words.
    pub key: String,
    /// The number of images whose features it holds.
    pub images: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
    path: PathBuf,
}

/// The features of one network and transform.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    file: File,
    head: u64,
    width: usize,
    /// Where in the file each image's record begins.
    places: HashMap<Hash, u64>,
}

impl FeatureCache {
    /// A cache of at most 4 GiB in `folder`, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf(), bound: BOUND }
    }

    /// The same cache, of at most `bytes`: the least recently used files are evicted.
    pub fn with_bound(self, bytes: u64) -> Self {
        Self { bound: bytes, ..self }
    }

    /// The bound, in bytes.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// The files of the cache, the most recently used first. A folder that does not exist has none.
    ///
    /// # Errors
    /// Returns an error if the folder can't be read.
    pub fn list(&self) -> Result<Vec<CachedFeatures>> {
        let mut found = Vec::new();
        for path in self.files()? {
            let failed = |source| LearnError::File { path: path.clone(), source };
            // another process may have removed it in the meantime
            let Ok(mut file) = File::open(&path) else { continue };
            let metadata = file.metadata().map_err(failed)?;
            let used = metadata.modified().map_err(failed)?;
            let bytes = metadata.len();
            let (key, images) = match Head::read(&mut file) {
                Ok(head) => {
                    let images = bytes.saturating_sub(head.length()) / record_length(head.width) as u64;
                    (head.key, images)
                }
                Err(_) => ("damaged".to_string(), 0),
            };
            found.push(CachedFeatures { key, images, bytes, used, path });
        }
        found.sort_by_key(|features| std::cmp::Reverse(features.used));
        Ok(found)
    }

    /// Removes all files of the cache and returns how many bytes they had.
    ///
    /// # Errors
    /// Returns an error if a file can't be removed.
    pub fn clear(&self) -> Result<u64> {
        self.list()?.iter().map(|features| remove(features).map(|()| features.bytes)).sum()
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let failed = |source| LearnError::File { path: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>>>()?;
        Ok(paths.into_iter().filter(|path| is_ours(path)).collect())
    }

    /// Opens the features of one key, rows of `width`.
    pub(crate) fn open(&self, key: &str, width: usize) -> Result<Store> {
        let path = self.folder.join(format!("{}.{ENDING}", Hash::of(key.as_bytes())));
        let failed = |source| LearnError::File { path: path.clone(), source };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let head = Head { width, key: key.to_string() };
        let file = open(&path, &head).map_err(failed)?;
        self.make_room(&path, 0)?;
        let places = places(&file, head.length(), width).map_err(failed)?;
        Ok(Store { path, file, head: head.length(), width, places })
    }

    /// Evicts the least recently used files, except `kept`, until `more` bytes fit; returns whether
    /// they do.
    pub(crate) fn make_room(&self, kept: &Path, more: u64) -> Result<bool> {
        let all = self.list()?;
        let mut sum: u64 = all.iter().map(|features| features.bytes).sum::<u64>() + more;
        for features in all.iter().rev().filter(|features| features.path != kept) {
            if sum <= self.bound {
                break;
            }
            remove(features)?;
            sum -= features.bytes;
        }
        Ok(sum <= self.bound)
    }
}

/// Whether a file is named as those of a cache are, after a hash. Others that lie there are nobody's to delete.
fn is_ours(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_hash = name.len() == 64 && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hash && path.extension().is_some_and(|ending| ending == ENDING)
}

/// Deletes the file; one that another process has deleted is not an error.
fn remove(features: &CachedFeatures) -> Result<()> {
    match fs::remove_file(&features.path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(LearnError::File { path: features.path.clone(), source })
        }
        _ => Ok(()),
    }
}

/// Opens a file for appending, with its header written and no incomplete record at its end. A file with
/// another header, or none, is replaced: processes that have it open keep the old one.
fn open(path: &Path, head: &Head) -> io::Result<File> {
    loop {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        file.lock()?;
        let length = file.metadata()?.len();
        if length == 0 {
            file.write_all(&head.bytes())?;
        } else if Head::read(&mut file).ok().as_ref() != Some(head) {
            fs::remove_file(path)?;
            continue;
        } else {
            cut(&file, head.length(), head.width)?;
        }
        file.set_modified(SystemTime::now())?;
        file.unlock()?;
        return Ok(file);
    }
}

/// Truncates an incomplete record that a kill or a full disk left at the end; returns the length. The
/// file must be locked.
fn cut(file: &File, head: u64, width: usize) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let rest = length.saturating_sub(head) % record_length(width) as u64;
    if rest > 0 {
        file.set_len(length - rest)?;
    }
    Ok(length - rest)
}

/// Where each image's record begins, by its content hash. Of a file that is shortened in the meantime, the
/// remaining records are returned.
fn places(mut file: &File, head: u64, width: usize) -> io::Result<HashMap<Hash, u64>> {
    let record = record_length(width) as u64;
    let records = file.metadata()?.len().saturating_sub(head) / record;
    file.seek(SeekFrom::Start(head))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut places = HashMap::new();
    for number in 0..records {
        let mut hash = [0; 32];
        match reader.read_exact(&mut hash).and_then(|()| reader.seek_relative(record as i64 - 32)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        // a later record replaces an earlier one
        places.insert(Hash(hash), head + number * record);
    }
    Ok(places)
}

/// The header of a file.
#[derive(Debug, PartialEq)]
struct Head {
    width: usize,
    key: String,
}

impl Head {
    fn bytes(&self) -> Vec<u8> {
        let numbers = [self.width as u32, self.key.len() as u32].map(u32::to_le_bytes).concat();
        [MAGIC.as_slice(), &numbers, self.key.as_bytes()].concat()
    }

    fn length(&self) -> u64 {
        (MAGIC.len() + 8 + self.key.len()) as u64
    }

    fn read(file: &mut File) -> io::Result<Self> {
        let other = || io::Error::new(io::ErrorKind::InvalidData, "is not a file of features");
        let mut start = [0; 24];
        file.read_exact(&mut start)?;
        let number = |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        let (width, length) = (number(16) as usize, number(20));
        if !start.starts_with(MAGIC) || length > 1 << 16 {
            return Err(other());
        }
        let mut key = vec![0; length as usize];
        file.read_exact(&mut key)?;
        Ok(Self { width, key: String::from_utf8(key).map_err(|_| other())? })
    }
}

/// The length of a record: content hash, features, checksum of both.
fn record_length(width: usize) -> usize {
    32 + 4 * width + 8
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&Hash::of(bytes).0[..8]);
    short
}

impl Store {
    /// Reads the features of the image with this content into `row`; `false` if there are none, or
    /// they are damaged.
    pub(crate) fn read(&self, hash: &Hash, row: &mut [f32]) -> bool {
        let Some(&place) = self.places.get(hash) else { return false };
        let mut record = vec![0; record_length(self.width)];
        let mut file = &self.file;
        if file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(&mut record)).is_err() {
            return false;
        }
        let (body, sum) = record.split_at(record.len() - 8);
        if !body.starts_with(&hash.0) || checksum(body) != sum {
            return false;
        }
        let values = body[32..].chunks_exact(4).map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]]));
        row.iter_mut().zip(values).for_each(|(to, value)| *to = value);
        true
    }

    /// Appends rows in one write, under a lock, so that other processes may do the same. Rows that
    /// exceed the cache's bound are not kept. Fails if the file can't be written, and then leaves it
    /// unchanged.
    pub(crate) fn add<'a>(
        &mut self,
        cache: &FeatureCache,
        rows: impl Iterator<Item = (Hash, &'a [f32])>,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        for (hash, row) in rows {
            if row.len() != self.width {
                return Err(LearnError::Invalid(format!(
                    "features of width {} in a cache of {}",
                    row.len(),
                    self.width
                )));
            }
            let start = bytes.len();
            bytes.extend(hash.0);
            row.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            let sum = checksum(&bytes[start..]);
            bytes.extend(sum);
        }
        if !cache.make_room(&self.path, bytes.len() as u64)? {
            return Ok(());
        }
        let mut write = || -> io::Result<()> {
            self.file.lock()?;
            let written = cut(&self.file, self.head, self.width).and_then(|length| {
                self.file.write_all(&bytes).inspect_err(|_| {
                    // later records must begin at a record boundary
                    let _ = self.file.set_len(length);
                })
            });
            self.file.unlock()?;
            written
        };
        write().map_err(|source| LearnError::File { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(cache: &FeatureCache, key: &str, rows: &[(&[u8], [f32; 2])]) -> PathBuf {
        let mut store = cache.open(key, 2).unwrap();
        store.add(cache, rows.iter().map(|(content, row)| (Hash::of(content), row.as_slice()))).unwrap();
        store.path
    }

    fn row(cache: &FeatureCache, key: &str, content: &[u8]) -> Option<[f32; 2]> {
        let mut row = [0.0; 2];
        cache.open(key, 2).unwrap().read(&Hash::of(content), &mut row).then_some(row)
    }

    #[test]
    fn rows_come_back_and_damaged_ones_do_not_until_they_are_added_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path());
        let path = filled(&cache, "key", &[(b"a", [1.0, 2.0]), (b"b", [3.0, 4.0])]);
        assert_eq!((row(&cache, "key", b"b"), row(&cache, "other", b"b")), (Some([3.0, 4.0]), None));
        let mut bytes = fs::read(&path).unwrap();
        let whole = bytes.len();
        let first = Head { width: 2, key: "key".into() }.length() as usize;
        bytes[first + 34] ^= 1;
        bytes.extend([7; 5]);
        fs::write(&path, bytes).unwrap();
        assert_eq!((row(&cache, "key", b"a"), row(&cache, "key", b"b")), (None, Some([3.0, 4.0])));
        assert_eq!(fs::metadata(&path).unwrap().len(), whole as u64, "an incomplete record is cut off");
        filled(&cache, "key", &[(b"a", [1.0, 2.0])]);
        assert_eq!(row(&cache, "key", b"a"), Some([1.0, 2.0]));
    }

    #[test]
    fn a_file_cut_off_at_any_byte_gives_whole_records_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path());
        let rows: [(&[u8], [f32; 2]); 2] = [(b"a", [1.0, 2.0]), (b"b", [3.0, 4.0])];
        let path = filled(&cache, "key", &rows);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole).unwrap();
            // shortened while it is open, which must not crash the process
            let store = cache.open("key", 2).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(length as u64).unwrap();
            for (content, row) in rows {
                let mut read = [0.0; 2];
                assert!(!store.read(&Hash::of(content), &mut read) || read == row, "cut off at {length}");
            }
            drop(store);
            filled(&cache, "key", &rows);
            assert_eq!(row(&cache, "key", b"b"), Some([3.0, 4.0]), "cut off at {length}");
        }
    }

    #[test]
    fn an_incomplete_record_of_another_process_does_not_hide_later_ones() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path());
        let mut store = cache.open("key", 2).unwrap();
        let path = filled(&cache, "key", &[(b"a", [1.0, 2.0])]);
        // a disk that was temporarily full
        File::options().append(true).open(&path).unwrap().write_all(&[7; 20]).unwrap();
        store.add(&cache, [(Hash::of(b"b"), [3.0, 4.0].as_slice())].into_iter()).unwrap();
        assert_eq!(row(&cache, "key", b"b"), Some([3.0, 4.0]));
        assert_eq!(cache.list().unwrap()[0].images, 2);
    }

    #[test]
    fn a_file_that_is_not_a_cache_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path());
        let path = filled(&cache, "key", &[(b"a", [1.0, 2.0])]);
        for wrong in [b"half".as_slice(), &[0; 200]] {
            fs::write(&path, wrong).unwrap();
            assert_eq!(cache.list().unwrap()[0].key, "damaged");
            assert_eq!(row(&cache, "key", b"a"), None);
            filled(&cache, "key", &[(b"a", [1.0, 2.0])]);
            assert_eq!(row(&cache, "key", b"a"), Some([1.0, 2.0]));
        }
    }

    #[test]
    fn many_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path());
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                let cache = &cache;
                scope.spawn(move || {
                    for n in 0..50u8 {
                        filled(cache, "key", &[(&[writer, n], [f32::from(writer), f32::from(n)])]);
                    }
                });
            }
        });
        for (writer, n) in (0..4u8).flat_map(|writer| (0..50u8).map(move |n| (writer, n))) {
            assert_eq!(row(&cache, "key", &[writer, n]), Some([f32::from(writer), f32::from(n)]));
        }
        assert_eq!(cache.list().unwrap()[0].images, 200);
    }

    #[test]
    fn the_least_recently_used_makes_room_and_clearing_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path()).with_bound(250);
        let old = filled(&cache, "old", &[(b"a", [1.0, 2.0]), (b"b", [3.0, 4.0])]);
        let hour_ago = SystemTime::now() - std::time::Duration::from_secs(3600);
        File::options().append(true).open(&old).unwrap().set_modified(hour_ago).unwrap();
        let rows = [b"a", b"b", b"c"].map(|content| (content.as_slice(), [1.0, 2.0]));
        filled(&cache, "new", &rows);
        assert!(!old.exists());
        assert_eq!(row(&cache, "new", b"c"), Some([1.0, 2.0]));
        // too large for the bound: rows that do not fit are not kept
        filled(&cache, "new", &rows);
        let listed = cache.list().unwrap();
        assert_eq!((listed.len(), listed[0].key.as_str(), listed[0].images), (1, "new", 3));
        let other = folder.path().join(format!("my.{ENDING}"));
        fs::write(&other, "somebody's").unwrap();
        assert!(cache.clear().unwrap() == listed[0].bytes && cache.list().unwrap().is_empty());
        assert!(other.exists(), "only what the cache has written is removed");
    }
}
