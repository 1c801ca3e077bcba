//! Directories that are complete or absent: written next to the target, then swapped with it.
//!
//! Everything temporary is in a folder `.NAME.RANDOM.taper` next to the target, which belongs to one writer:
//! `lock`, which its writer holds locked for as long as it lives, `new/`, and, if the system
//! can't swap two directories in one step, `old-N/`. A process that finds such a folder without a living
//! writer completes or undoes its work.

use crate::runs::storage::{folder_of, followed, is_random, name_of, sync_folder};
use crate::{LearnError, Result};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Writes a directory of files so that a kill at any time leaves either all of its old files or all of
/// the new ones. Files of other names in an older directory are kept.
///
/// # Errors
/// Returns an error if `path` is not a directory or can't be written; the old directory is kept.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let files = [("weights.bin", vec![1, 2]), ("config.json", b"{}".to_vec())];
/// taper_learn::runs::write_directory(&folder.path().join("model"), &files)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_directory(path: &Path, files: &[(&str, Vec<u8>)]) -> Result<()> {
    write(path, files, Swap::best()).map_err(|source| LearnError::File { path: path.to_path_buf(), source })
}

/// How a new directory takes an old one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swap {
    /// In one step of the system.
    Exchange,
    /// The old one is renamed, then the new one.
    TwoRenames,
}

impl Swap {
    fn best() -> Self {
        if cfg!(any(target_os = "linux", target_os = "android", target_vendor = "apple")) {
            Self::Exchange
        } else {
            Self::TwoRenames
        }
    }
}

fn write(path: &Path, files: &[(&str, Vec<u8>)], swap: Swap) -> io::Result<()> {
    let path = &followed(path)?;
    let own: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    fs::create_dir_all(folder_of(path))?;
    recover(path, &own);
    if path.exists() && !path.is_dir() {
        return Err(io::Error::new(ErrorKind::NotADirectory, "is a file: choose another directory"));
    }
    let staging = Staging::new(path, &own)?;
    let new = staging.folder.join("new");
    fs::create_dir(&new)?;
    for (name, bytes) in files {
        let mut file = File::create_new(new.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    if let Ok(old) = fs::metadata(path) {
        fs::set_permissions(&new, old.permissions())?;
    }
    sync_folder(&new)?;
    install(&staging, &new, path, swap)?;
    sync_folder(folder_of(path))
}

/// Moves `new` to `path`, and what was there to the staging folder.
fn install(staging: &Staging, new: &Path, path: &Path, swap: Swap) -> io::Result<()> {
    // another writer may act between any two steps; its directory is complete, and is replaced too
    for number in 0.. {
        if swap == Swap::Exchange {
            match exchange(new, path) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if is_unsupported(&error) => return install(staging, new, path, Swap::TwoRenames),
                Err(error) => return Err(error),
            }
        }
        let old = staging.folder.join(format!("{OLD}{number}"));
        let moved = match swap {
            Swap::Exchange => false,
            Swap::TwoRenames => match fs::rename(path, &old) {
                Ok(()) => true,
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            },
        };
        match fs::rename(new, path) {
            Ok(()) => return Ok(()),
            Err(_) if path.exists() => {}
            Err(error) => {
                if moved {
                    fs::rename(&old, path)?;
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn exchange(_one: &Path, _other: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Whether the system, or this file system, does not support the operation.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}

const ENDING: &str = ".taper";
const LOCK: &str = "lock";
const OLD: &str = "old-";

/// The folder of one writer's temporary files.
struct Staging<'a> {
    folder: PathBuf,
    path: PathBuf,
    /// Locked while the writer lives.
    _lock: File,
    own: &'a [&'a str],
}

impl<'a> Staging<'a> {
    fn new(path: &Path, own: &'a [&'a str]) -> io::Result<Self> {
        loop {
            let folder = tempfile::Builder::new()
                .prefix(&format!(".{}.", name_of(path)))
                .suffix(ENDING)
                .tempdir_in(folder_of(path))?
                .keep();
            let lock = match File::create_new(folder.join(LOCK)) {
                Ok(lock) => lock,
                // mistaken for a dead writer's, between the folder and the lock
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            match lock.try_lock() {
                Err(TryLockError::WouldBlock) => continue,
                // a file system without locks: the folder can't be mistaken for a dead writer's
                Ok(()) | Err(TryLockError::Error(_)) => {
                    return Ok(Self { folder, path: path.to_path_buf(), _lock: lock, own });
                }
            }
        }
    }

    /// A dead writer's folder.
    fn of_dead(folder: PathBuf, path: &Path, own: &'a [&'a str]) -> Option<Self> {
        match File::options().read(true).write(true).open(folder.join(LOCK)) {
            Ok(lock) => lock.try_lock().is_ok().then(|| Self { folder, path: path.to_path_buf(), _lock: lock, own }),
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    // it died before its lock or after it: only an empty folder is removed
                    let _ = fs::remove_dir(folder);
                }
                None
            }
        }
    }

    /// Replaced directories, the last one first.
    fn old(&self) -> Vec<PathBuf> {
        old_in(&self.folder)
    }
}

impl Drop for Staging<'_> {
    /// Moves other files back to the new ones, and removes our own and the folder. Files that can't
    /// be moved are not removed.
    fn drop(&mut self) {
        let old = self.old();
        if !self.path.exists() && !old.is_empty() {
            // the only copy: it is read from here, and restored once the folder can be changed
            return;
        }
        for folder in old.into_iter().chain([self.folder.join("new")]) {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if self.own.iter().any(|own| name == **own) {
                    let _ = fs::remove_file(entry.path());
                } else if self.path.is_dir() && !self.path.join(&name).exists() {
                    let _ = fs::rename(entry.path(), self.path.join(&name));
                }
            }
            let _ = fs::remove_dir(folder);
        }
        if fs::read_dir(&self.folder).is_ok_and(|entries| entries.count() == 1) {
            let _ = fs::remove_file(self.folder.join(LOCK));
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

fn old_in(staging: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(staging).into_iter().flatten().flatten();
    let number = |path: &PathBuf| name_of(path).strip_prefix(OLD).and_then(|number| number.parse::<u64>().ok());
    let mut old: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| number(&entry.path()).map(|number| (number, entry.path()))).collect();
    old.sort();
    old.into_iter().rev().map(|(_, path)| path).collect()
}

/// The staging folders of `path`.
fn staging_of(path: &Path) -> Vec<PathBuf> {
    let beginning = format!(".{}.", name_of(path));
    let entries = fs::read_dir(folder_of(path)).into_iter().flatten().flatten();
    let is_ours =
        |name: &str| name.strip_prefix(&beginning).and_then(|rest| rest.strip_suffix(ENDING)).is_some_and(is_random);
    entries.map(|entry| entry.path()).filter(|path| is_ours(&name_of(path))).collect()
}

/// Completes or undoes what killed writers of `path` have begun; `own` names the directory's own
/// files. A folder that can't be changed is left for the next time.
pub(crate) fn recover(path: &Path, own: &[&str]) {
    for folder in staging_of(path) {
        let Some(staging) = Staging::of_dead(folder, path, own) else { continue };
        if !path.exists()
            && let Some(old) = staging.old().first()
        {
            let _ = fs::rename(old, path);
        }
    }
}

/// Where the directory `path` can be read: there, or at the old one's place between the two renames of a
/// living writer, or of a dead one in a folder that can't be changed.
pub(crate) fn readable(path: &Path, own: &[&str]) -> Option<PathBuf> {
    if path.is_dir() {
        return Some(path.to_path_buf());
    }
    recover(path, own);
    if path.is_dir() {
        return Some(path.to_path_buf());
    }
    staging_of(path).iter().find_map(|staging| old_in(staging).into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    const OWN: [&str; 2] = ["config.json", "weights"];

    /// The directory's files with this content.
    fn files(version: u8) -> [(&'static str, Vec<u8>); 2] {
        [("config.json", vec![version; 10]), ("weights", vec![version; 100_000])]
    }

    /// The version that the directory holds, whole.
    fn version(folder: &Path) -> u8 {
        let [config, weights] = OWN.map(|name| fs::read(folder.join(name)).unwrap());
        let version = config[0];
        assert!(files(version) == [("config.json", config), ("weights", weights)], "torn");
        version
    }

    fn leftovers(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| name_of(&entry.unwrap().path()));
        names.filter(|name| name.starts_with('.')).collect()
    }

    #[test]
    fn a_directory_is_replaced_and_files_of_others_stay_in_it() {
        for swap in [Swap::Exchange, Swap::TwoRenames] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model");
            write(&path, &files(1), swap).unwrap();
            fs::write(path.join("notes.txt"), "mine").unwrap();
            fs::create_dir(path.join("plots")).unwrap();
            fs::write(path.join("plots/one.svg"), "mine too").unwrap();
            write(&path, &files(2), swap).unwrap();
            assert_eq!(version(&path), 2);
            assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
            assert_eq!(fs::read_to_string(path.join("plots/one.svg")).unwrap(), "mine too");
            assert_eq!(leftovers(folder.path()), [""; 0]);
            assert!(write(&path.join("notes.txt"), &files(3), swap).is_err(), "a file is not replaced");
            assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
            assert_eq!(leftovers(&path), [""; 0]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_to_a_directory_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, link) = (folder.path().join("disk"), folder.path().join("model"));
        write(&disk, &files(1), Swap::best()).unwrap();
        std::os::unix::fs::symlink(&disk, &link).unwrap();
        write(&link, &files(2), Swap::best()).unwrap();
        assert!(link.is_symlink() && version(&disk) == 2);
    }

    #[test]
    fn every_state_between_the_two_renames_is_recovered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        // killed between the renames, before and after the new directory was whole
        for whole in [true, false] {
            write(&path, &files(1), Swap::TwoRenames).unwrap();
            fs::write(path.join("notes.txt"), "mine").unwrap();
            let staging = folder.path().join(".model.AbC123.taper");
            fs::create_dir_all(staging.join("new")).unwrap();
            fs::write(staging.join(LOCK), "").unwrap();
            for (name, bytes) in files(2).iter().take(if whole { 2 } else { 1 }) {
                fs::write(staging.join("new").join(name), bytes).unwrap();
            }
            fs::rename(&path, staging.join("old-0")).unwrap();
            assert_eq!(readable(&path, &OWN), Some(path.clone()));
            assert_eq!(version(&path), 1);
            assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
            assert_eq!(leftovers(folder.path()), [""; 0]);
        }
        // killed after the second rename: the new one stays, and gets what others had in the old one
        let staging = folder.path().join(".model.AbC123.taper");
        fs::create_dir_all(&staging).unwrap();
        fs::write(staging.join(LOCK), "").unwrap();
        fs::rename(&path, staging.join("old-0")).unwrap();
        fs::create_dir(&path).unwrap();
        files(3).iter().for_each(|(name, bytes)| fs::write(path.join(name), bytes).unwrap());
        recover(&path, &OWN);
        assert_eq!((version(&path), fs::read_to_string(path.join("notes.txt")).unwrap().as_str()), (3, "mine"));
        assert_eq!(leftovers(folder.path()), [""; 0]);
    }

    #[test]
    fn a_living_writer_s_files_and_other_folders_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        write(&path, &files(1), Swap::best()).unwrap();
        let living = Staging::new(&path, &OWN).unwrap();
        fs::create_dir(living.folder.join("new")).unwrap();
        fs::write(living.folder.join("new/weights"), "half").unwrap();
        let others = [".model.mine.taper", ".model.AbC123", ".other.AbC123.taper"];
        for other in others {
            fs::create_dir(folder.path().join(other)).unwrap();
            fs::write(folder.path().join(other).join("weights"), "mine").unwrap();
        }
        write(&path, &files(2), Swap::best()).unwrap();
        assert!(living.folder.join("new/weights").exists());
        assert!(others.iter().all(|other| folder.path().join(other).join("weights").exists()));
        drop(living);
        assert_eq!(leftovers(folder.path()).len(), others.len());
    }

    const FOLDER: &str = "TAPER_TEST_FOLDER";

    /// Writes versions 1, 2, 1 and so on until it is killed.
    fn write_forever(swap: Swap) {
        let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
        for round in 0.. {
            write(&folder.join("model"), &files(1 + round % 2), swap).unwrap();
        }
    }

    #[test]
    #[ignore = "the process that another test kills"]
    fn writer_by_exchange() {
        write_forever(Swap::Exchange);
    }

    #[test]
    #[ignore = "the process that another test kills"]
    fn writer_by_two_renames() {
        write_forever(Swap::TwoRenames);
    }

    #[test]
    fn a_writer_killed_at_random_moments_leaves_the_old_directory_or_the_new_one_whole() {
        let mut rng = taper_ops::rng(u64::from(std::process::id()), "moments", 0);
        for writer in ["writer_by_exchange", "writer_by_two_renames"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model");
            write(&path, &files(1), Swap::best()).unwrap();
            fs::write(path.join("notes.txt"), "mine").unwrap();
            for _ in 0..25 {
                let mut child = Command::new(std::env::current_exe().unwrap())
                    .args(["--ignored", "--exact", &format!("runs::whole_directory::tests::{writer}")])
                    .env(FOLDER, folder.path())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                // it has begun when the directory changes
                let before = fs::metadata(path.join("config.json")).and_then(|file| file.modified()).ok();
                for _ in 0..2000 {
                    let now = fs::metadata(path.join("config.json")).and_then(|file| file.modified()).ok();
                    if now != before {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
                child.kill().unwrap();
                child.wait().unwrap();
                let found = readable(&path, &OWN).unwrap();
                assert!([1, 2].contains(&version(&found)));
                recover(&path, &OWN);
                assert_eq!(fs::read_to_string(path.join("notes.txt")).unwrap(), "mine");
                assert_eq!(leftovers(folder.path()), [""; 0]);
            }
        }
    }
}
