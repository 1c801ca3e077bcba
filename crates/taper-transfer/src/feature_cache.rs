//! Features kept on disk, keyed by weights, transform and image content.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use taper_data::Hash;
use taper_learn::{LearnError, Result};

/// A directory of features, one file for each network with its transform.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    folder: PathBuf,
}

/// The features of one network and transform.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    file: File,
    width: usize,
    rows: HashMap<Hash, Vec<f32>>,
}

impl FeatureCache {
    /// A cache in `folder`, which need not exist yet.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// Opens the features of one key, rows of `width`. Records that are damaged or cut off are
    /// passed over, and so computed again.
    pub(crate) fn open(&self, key: &str, width: usize) -> Result<Store> {
        let path = self.folder.join(format!("{}.features", Hash::of(key.as_bytes())));
        let failed = |source| LearnError::File { path: path.clone(), source };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.lock().map_err(failed)?;
        file.read_to_end(&mut bytes).map_err(failed)?;
        let whole = bytes.len() - bytes.len() % record_length(width);
        if whole < bytes.len() {
            file.set_len(whole as u64).map_err(failed)?;
        }
        file.unlock().map_err(failed)?;
        let rows = bytes.chunks_exact(record_length(width)).filter_map(read_record).collect();
        Ok(Store { path, file, width, rows })
    }
}

/// Content hash, features, checksum of both.
fn record_length(width: usize) -> usize {
    32 + 4 * width + 8
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut short = [0; 8];
    short.copy_from_slice(&Hash::of(bytes).0[..8]);
    short
}

fn read_record(record: &[u8]) -> Option<(Hash, Vec<f32>)> {
    let (body, sum) = record.split_at(record.len() - 8);
    if checksum(body) != sum {
        return None;
    }
    let (hash, values) = body.split_at(32);
    let values = values.chunks_exact(4).map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect();
    Some((Hash(hash.try_into().ok()?), values))
}

impl Store {
    pub(crate) fn get(&self, hash: &Hash) -> Option<&[f32]> {
        self.rows.get(hash).map(Vec::as_slice)
    }

    /// Appends rows in one write, under a lock: safe beside another process.
    pub(crate) fn add<'a>(&mut self, rows: impl Iterator<Item = (Hash, &'a [f32])>) -> Result<()> {
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
            self.rows.insert(hash, row.to_vec());
        }
        let mut write = || -> std::io::Result<()> {
            self.file.lock()?;
            let written = self.file.write_all(&bytes);
            self.file.unlock()?;
            written
        };
        write().map_err(|source| LearnError::File { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_and_damaged_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(folder.path());
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        let mut store = cache.open("key", 2).unwrap();
        store.add([(a, [1.0f32, 2.0].as_slice()), (b, [3.0f32, 4.0].as_slice())].into_iter()).unwrap();
        let path = store.path.clone();
        drop(store);
        assert_eq!(cache.open("key", 2).unwrap().get(&b), Some([3.0f32, 4.0].as_slice()));
        assert!(cache.open("other key", 2).unwrap().get(&b).is_none());
        let mut bytes = fs::read(&path).unwrap();
        bytes[34] ^= 1;
        bytes.extend([7; 5]);
        fs::write(&path, bytes).unwrap();
        let store = cache.open("key", 2).unwrap();
        assert!(store.get(&a).is_none() && store.get(&b).is_some());
        assert_eq!(fs::metadata(&path).unwrap().len(), 2 * record_length(2) as u64);
    }
}
