//! What a run leaves: `config.toml` (enough to run it again), `metrics.jsonl` (one event per line),
//! `checkpoint/` (the latest complete one of each stage, with its best state), `model/`, and
//! `taper-run.json`, which marks all of these as Taper's.

use crate::models::MODEL_FILES;
use crate::runs::checkpoint;
use crate::runs::run_lock::{LOCK_FILE, RunLock};
use crate::runs::run_manifest::{CHECKPOINTS, CONFIG, MANIFEST, METRICS, MODEL, Manifest};
use crate::runs::storage::{name_of, read_if_there, unfinished};
use crate::runs::whole_directory::recover;
use crate::{LearnError, Progress, Result, runs::write_atomically};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What to do with an earlier run or model in the place of a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Keep it, and return an error.
    Refuse,
    /// Remove its files, and nothing else.
    Replace,
}

/// A run directory for reading, which is possible at any time, even during the run.
#[derive(Debug, Clone)]
pub struct RunRecord {
    path: PathBuf,
    config: String,
}

/// A run directory that only this process writes to, until the value is dropped.
#[derive(Debug)]
pub struct RunDirectory {
    record: RunRecord,
    lock: RunLock,
    manifest: Mutex<Manifest>,
}

impl RunRecord {
    /// Whether the directory is a run that Taper wrote. A `config.toml` of anything else is not
    /// enough.
    pub fn is_run(path: &Path) -> bool {
        matches!(Manifest::read(path), Ok(Some(_)))
    }

    /// Reads a run directory, without locking or changing it.
    ///
    /// # Errors
    /// Returns an error if the directory is not a run.
    pub fn open(path: &Path) -> Result<Self> {
        let problem = |problem: &str| LearnError::Run { path: path.to_path_buf(), problem: problem.into() };
        if Manifest::read(path)?.is_none() {
            return Err(problem("is not a Taper run directory: give the directory of an earlier run"));
        }
        match fs::read_to_string(path.join(CONFIG)) {
            Ok(config) => Ok(Self { path: path.to_path_buf(), config }),
            Err(_) => Err(problem("is a run that ended before its config.toml was written: start it again")),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration it was created with, as TOML.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Whether a living process writes to it; `None` if that can't be told.
    pub fn is_in_use(&self) -> Option<bool> {
        RunLock::is_held(&self.path)
    }

    /// The progress of a stage, if it was ever saved.
    ///
    /// # Errors
    /// Returns an error if the checkpoint is damaged, or of another configuration.
    pub fn load(&self, stage: &str) -> Result<Option<Progress>> {
        let path = self.path.join(checkpoint_name(stage));
        let bytes = read_if_there(&path)?;
        bytes.map(|bytes| checkpoint::from_bytes(&bytes, &self.config, &path)).transpose()
    }
}

impl RunDirectory {
    /// A new directory for a run of this configuration (TOML). With [`Existing::Replace`], the files
    /// of an earlier run there are removed first; other files stay.
    ///
    /// # Errors
    /// Returns an error if the directory holds an earlier run that must not be replaced or is in
    /// use, or anything that is not a run.
    ///
    /// ```
    /// use taper_learn::{RunDirectory, runs::Existing};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("run");
    /// let run = RunDirectory::create(&path, "seed = 0\n", Existing::Refuse)?;
    /// run.log(&serde_json::json!({"event": "note"}))?;
    /// assert!(RunDirectory::open(&path).is_err(), "one process at a time");
    /// drop(run);
    /// assert_eq!(RunDirectory::open(&path)?.config(), "seed = 0\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(path: &Path, config: &str, existing: Existing) -> Result<Self> {
        check_target(path, existing)?;
        fs::create_dir_all(path).map_err(|source| LearnError::File { path: path.to_path_buf(), source })?;
        let lock = RunLock::acquire(path)?;
        // another process may have interfered
        if let Some(earlier) = check_target(path, existing)? {
            clean(path, &earlier);
            earlier.remove_files(path)?;
        }
        let manifest = Manifest::new(path);
        manifest.write(path)?;
        write_atomically(&path.join(CONFIG), config.as_bytes())?;
        let record = RunRecord { path: path.to_path_buf(), config: config.to_string() };
        Ok(Self { record, lock, manifest: Mutex::new(manifest) })
    }

    /// Fails as [`RunDirectory::create`] would, and changes nothing.
    ///
    /// # Errors
    /// Returns an error if the directory holds files that are not of a run, or a run and `existing` refuses that.
    pub fn check(path: &Path, existing: Existing) -> Result<()> {
        check_target(path, existing).map(|_| ())
    }

    /// An earlier run's directory, to resume it. Unfinished files of a killed process are removed.
    ///
    /// # Errors
    /// Returns an error if the directory is not a run, or in use by another process.
    pub fn open(path: &Path) -> Result<Self> {
        RunRecord::open(path)?;
        let lock = RunLock::acquire(path)?;
        let record = RunRecord::open(path)?;
        let manifest = Manifest::read(path)?.unwrap_or_else(|| Manifest::new(path));
        clean(path, &manifest);
        manifest.write(path)?;
        Ok(Self { record, lock, manifest: Mutex::new(manifest) })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.record.path()
    }

    /// The configuration it was created with, as TOML.
    pub fn config(&self) -> &str {
        self.record.config()
    }

    /// What the user should know about the directory: a file system without locks.
    pub fn warning(&self) -> Option<&str> {
        self.lock.warning()
    }

    /// The path of a file of the run, such as `tried.json`, which is from now on among those that
    /// [`Existing::Replace`] removes. Parts of its name are separated by `/`.
    ///
    /// # Errors
    /// Returns an error if there is a file of that name that the run has not written.
    pub fn file(&self, name: &str) -> Result<PathBuf> {
        let path = self.path().join(name);
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        if !manifest.lists(name) {
            if path.symlink_metadata().is_ok() {
                let problem = "was not written by this run: move it to another directory".into();
                return Err(LearnError::Run { path, problem });
            }
            // listed before it is written, so that a kill leaves no file without an owner
            let listed = manifest.clone().with(name);
            listed.write(self.path())?;
            *manifest = listed;
        }
        Ok(path)
    }

    /// The directory of the run's model, for [`Model::save`](crate::Model::save).
    pub fn model_path(&self) -> PathBuf {
        self.path().join(MODEL)
    }

    /// The directory of another model of the run, called `name`, for [`Model::save`](crate::Model::save).
    ///
    /// # Errors
    /// Returns an error if there are files that the run has not written.
    pub fn other_model_path(&self, name: &str) -> Result<PathBuf> {
        MODEL_FILES.iter().try_for_each(|file| self.file(&format!("{name}/{file}")).map(|_| ()))?;
        Ok(self.path().join(name))
    }

    /// Saves the progress of a stage. If killed at any time, either the old checkpoint or this one remains.
    ///
    /// # Errors
    /// Returns an error if the checkpoint can't be written; the old one is kept.
    pub fn save(&self, stage: &str, progress: &Progress) -> Result<()> {
        let bytes = checkpoint::to_bytes(progress, self.config())?;
        write_atomically(&self.file(&checkpoint_name(stage))?, &bytes)
    }

    /// The progress of a stage, if it was ever saved.
    ///
    /// # Errors
    /// Returns an error if the checkpoint is damaged, or of another configuration.
    pub fn load(&self, stage: &str) -> Result<Option<Progress>> {
        self.record.load(stage)
    }

    /// Adds one event, a JSON object, to `metrics.jsonl`.
    ///
    /// # Errors
    /// Returns an error if the log can't be written.
    pub fn log(&self, event: &serde_json::Value) -> Result<()> {
        let path = self.file(METRICS)?;
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{event}\n").as_bytes())
        };
        write().map_err(|source| LearnError::File { path: path.clone(), source })
    }

    /// Drops the events of a stage after `step`, which will happen again, and an incomplete last
    /// line.
    ///
    /// # Errors
    /// Returns an error if the log can't be written.
    pub fn rewind_log(&self, stage: &str, step: u64) -> Result<()> {
        let path = self.path().join(METRICS);
        let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
        let kept: String = text
            .lines()
            .filter(|line| match serde_json::from_str::<serde_json::Value>(line) {
                Ok(event) => event["stage"] != stage || event["step"].as_u64().is_none_or(|at| at <= step),
                Err(_) => false,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        write_atomically(&path, kept.as_bytes())
    }
}

/// A stage's checkpoint, relative to the run directory.
fn checkpoint_name(stage: &str) -> String {
    format!("{CHECKPOINTS}/{stage}.safetensors")
}

/// The earlier run at `path` to be replaced; `None` if the path is free.
///
/// Fails if there is something that must not be replaced.
fn check_target(path: &Path, existing: Existing) -> Result<Option<Manifest>> {
    let failed = |source| LearnError::File { path: path.to_path_buf(), source };
    if !path.exists() || (path.is_dir() && !holds_files(path).map_err(failed)?) {
        return Ok(None);
    }
    let Some(manifest) = Manifest::read(path)? else {
        let problem = "exists but is not a Taper run directory: choose another directory".into();
        return Err(LearnError::Run { path: path.to_path_buf(), problem });
    };
    if existing == Existing::Refuse && path.join(CONFIG).exists() {
        return Err(LearnError::Exists { path: path.to_path_buf(), what: "run" });
    }
    if let Some(link) = [MODEL, CHECKPOINTS].iter().map(|name| path.join(name)).find(|folder| folder.is_symlink()) {
        let problem = "is a link to a folder elsewhere, which nothing is written to: remove the link".into();
        return Err(LearnError::Run { path: link, problem });
    }
    Ok(Some(manifest))
}

/// Whether the folder holds anything but the beginning of a run that was killed immediately.
fn holds_files(folder: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != LOCK_FILE && unfinished(&name).is_none_or(|target| ![CONFIG, MANIFEST].contains(&target)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes unfinished files that killed processes of the run left. Its lock must be held.
fn clean(folder: &Path, manifest: &Manifest) {
    for (folder, inside) in [(folder.to_path_buf(), ""), (folder.join(CHECKPOINTS), "checkpoint/")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = name_of(&entry.path());
            let Some(target) = unfinished(&name) else { continue };
            if manifest.lists(&format!("{inside}{target}")) || target == MANIFEST {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    recover(&folder.join(MODEL), &MODEL_FILES);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{Best, OptimizerState};
    use candle_core::{Device, Tensor};
    use taper_models::State;

    fn progress() -> Progress {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let state = State {
            params: [("w".to_string(), tensor(&[1.0, -2.5]))].into_iter().collect(),
            buffers: [("bn.running_mean".to_string(), tensor(&[0.25]))].into_iter().collect(),
        };
        let moments = OptimizerState { step: 7, first: state.params.clone(), second: state.params.clone() };
        let best = Some(Best { score: 0.5, step: 3, state: state.clone() });
        Progress { step: 7, average: Some(state.clone()), state, moments, best, since_best: 2 }
    }

    #[test]
    fn a_checkpoint_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "seed = 1\n", Existing::Refuse).unwrap();
        assert!(run.load("maml").unwrap().is_none());
        run.save("maml", &progress()).unwrap();
        let back = RunRecord::open(run.path()).unwrap().load("maml").unwrap().unwrap();
        assert_eq!((back.step, back.moments.step, back.since_best), (7, 7, 2));
        assert_eq!(back.best.unwrap().score, 0.5);
        assert_eq!(back.state.params.get("w").unwrap().to_vec1::<f32>().unwrap(), [1.0, -2.5]);
    }

    #[test]
    fn a_damaged_checkpoint_is_an_error_and_so_is_another_configuration_s() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "a = 1\n", Existing::Refuse).unwrap();
        run.save("x", &progress()).unwrap();
        write_atomically(&run.path().join("config.toml"), b"a = 2\n").unwrap();
        let other = RunRecord::open(run.path()).unwrap();
        assert!(other.load("x").unwrap_err().to_string().contains("another configuration"));
        let path = run.path().join(checkpoint_name("x"));
        let whole = fs::read(&path).unwrap();
        for wrong in [b"half".as_slice(), &whole[..whole.len() - 1]] {
            fs::write(&path, wrong).unwrap();
            assert!(run.load("x").unwrap_err().to_string().contains("damaged"));
        }
    }

    #[test]
    fn events_after_the_checkpoint_are_dropped_with_half_lines() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", Existing::Refuse).unwrap();
        for step in 1..=5 {
            run.log(&serde_json::json!({"stage": "a", "step": step})).unwrap();
        }
        let path = run.path().join("metrics.jsonl");
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"stage\":").unwrap();
        run.rewind_log("a", 3).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }
}
