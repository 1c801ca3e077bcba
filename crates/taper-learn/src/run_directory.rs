//! What a run leaves: `config.toml` (enough to run it again), `metrics.jsonl` (one event a line),
//! `checkpoint/` (the newest whole one of each stage, the best state inside) and `model/`.

use crate::storage::is_unfinished;
use crate::{Best, LearnError, OptimizerState, Progress, Result, write_atomically};
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use taper_models::{Buffers, Params, State};

/// A directory that a run writes to.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    path: PathBuf,
    config: String,
}

/// What a checkpoint says beside its tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    config: String,
    step: u64,
    optimizer_step: u64,
    since_best: u64,
    best: Option<(f64, u64)>,
}

impl RunDirectory {
    /// A new directory for a run of this configuration (TOML). With `force`, an earlier run there
    /// is removed first.
    ///
    /// Errs when something is there: an earlier run without `force`, or anything else at all.
    pub fn create(path: &Path, config: &str, force: bool) -> Result<Self> {
        let problem = |problem: &str| LearnError::Run { path: path.to_path_buf(), problem: problem.into() };
        let failed = |source| LearnError::File { path: path.to_path_buf(), source };
        if path.exists() && (!path.is_dir() || holds_files(path).map_err(failed)?) {
            if !path.join("config.toml").is_file() {
                return Err(problem("exists and holds no run of taper, choose another --out"));
            }
            if !force {
                return Err(problem(
                    "holds a run already, go on with --resume, overwrite with --force, or choose another --out",
                ));
            }
            fs::remove_dir_all(path).map_err(failed)?;
        }
        let run = Self { path: path.to_path_buf(), config: config.into() };
        write_atomically(&path.join("config.toml"), config.as_bytes())?;
        Ok(run)
    }

    /// An earlier run's directory.
    ///
    /// Errs when there is none.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.join("config.toml");
        match fs::read_to_string(&file) {
            Ok(config) => Ok(Self { path: path.to_path_buf(), config }),
            Err(_) => Err(LearnError::Run {
                path: path.to_path_buf(),
                problem: "is no run of taper: it has no config.toml, give the --out directory of an earlier run".into(),
            }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration it was created with.
    pub fn config(&self) -> &str {
        &self.config
    }

    fn checkpoint_path(&self, stage: &str) -> PathBuf {
        self.path.join("checkpoint").join(format!("{stage}.safetensors"))
    }

    /// Saves where a stage stands; at any kill there is either the old checkpoint or this one.
    pub fn save(&self, stage: &str, progress: &Progress) -> Result<()> {
        let header = Header {
            config: self.config.clone(),
            step: progress.step,
            optimizer_step: progress.moments.step,
            since_best: progress.since_best,
            best: progress.best.as_ref().map(|best| (best.score, best.step)),
        };
        let header = serde_json::to_string(&header).map_err(|error| LearnError::Invalid(error.to_string()))?;
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        let mut add = |part: &str, named: &mut dyn Iterator<Item = (&str, &Tensor)>| {
            tensors.extend(named.map(|(name, tensor)| (format!("{part}/{name}"), tensor.clone())));
        };
        add("params", &mut progress.state.params.iter());
        add("buffers", &mut progress.state.buffers.iter());
        add("first", &mut progress.moments.first.iter());
        add("second", &mut progress.moments.second.iter());
        if let Some(average) = &progress.average {
            add("average-params", &mut average.params.iter());
            add("average-buffers", &mut average.buffers.iter());
        }
        if let Some(best) = &progress.best {
            add("best-params", &mut best.state.params.iter());
            add("best-buffers", &mut best.state.buffers.iter());
        }
        let path = self.checkpoint_path(stage);
        let metadata = HashMap::from([("taper".to_string(), header)]);
        let bytes = safetensors::serialize(tensors.iter().map(|(name, tensor)| (name, tensor)), Some(metadata))
            .map_err(|error| LearnError::Run { path: path.clone(), problem: error.to_string() })?;
        write_atomically(&path, &bytes)
    }

    /// Where a stage stands, if it was ever saved.
    ///
    /// Errs when the checkpoint is broken, or another configuration's.
    pub fn load(&self, stage: &str) -> Result<Option<Progress>> {
        let path = self.checkpoint_path(stage);
        if !path.exists() {
            return Ok(None);
        }
        let broken = |problem: String| LearnError::Run { path: path.clone(), problem };
        let bytes = fs::read(&path).map_err(|source| LearnError::File { path: path.clone(), source })?;
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes)
            .map_err(|error| broken(format!("is a broken checkpoint ({error}), start again with --force")))?;
        let header = metadata.metadata().as_ref().and_then(|all| all.get("taper")).map(String::as_str).unwrap_or("");
        let header: Header = serde_json::from_str(header)
            .map_err(|error| broken(format!("is no checkpoint of taper ({error}), start again with --force")))?;
        if header.config != self.config {
            return Err(broken(
                "belongs to another configuration than config.toml beside it, start again with --force".into(),
            ));
        }
        let mut parts: HashMap<String, Vec<(String, Tensor)>> = HashMap::new();
        for (name, tensor) in candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)? {
            if let Some((part, name)) = name.split_once('/') {
                parts.entry(part.to_string()).or_default().push((name.to_string(), tensor));
            }
        }
        let mut take = |part: &str| parts.remove(part).unwrap_or_default();
        let state =
            State { params: take("params").into_iter().collect(), buffers: take("buffers").into_iter().collect() };
        let moments = OptimizerState {
            step: header.optimizer_step,
            first: take("first").into_iter().collect(),
            second: take("second").into_iter().collect(),
        };
        let average: Params = take("average-params").into_iter().collect();
        let average_buffers: Buffers = take("average-buffers").into_iter().collect();
        let average = (!average.is_empty()).then_some(State { params: average, buffers: average_buffers });
        let best = header.best.map(|(score, step)| {
            let params: Params = take("best-params").into_iter().collect();
            let buffers: Buffers = take("best-buffers").into_iter().collect();
            Best { score, step, state: State { params, buffers } }
        });
        Ok(Some(Progress { step: header.step, state, moments, average, best, since_best: header.since_best }))
    }

    /// Adds one event, a JSON object, to `metrics.jsonl`.
    pub fn log(&self, event: &serde_json::Value) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(format!("{event}\n").as_bytes())
        };
        write().map_err(|source| LearnError::File { path: path.clone(), source })
    }

    /// Drops the events of a stage after `step`, and half a line that a kill left: they will happen
    /// again.
    pub fn rewind_log(&self, stage: &str, step: u64) -> Result<()> {
        let path = self.path.join("metrics.jsonl");
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

/// Does the folder hold anything but what a kill left unfinished?
fn holds_files(folder: &Path) -> std::io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        if !is_unfinished(&entry?.file_name().to_string_lossy()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let run = RunDirectory::create(&folder.path().join("run"), "seed = 1\n", false).unwrap();
        assert!(run.load("maml").unwrap().is_none());
        run.save("maml", &progress()).unwrap();
        let back = RunDirectory::open(run.path()).unwrap().load("maml").unwrap().unwrap();
        assert_eq!((back.step, back.moments.step, back.since_best), (7, 7, 2));
        assert_eq!(back.best.unwrap().score, 0.5);
        assert_eq!(back.state.params.get("w").unwrap().to_vec1::<f32>().unwrap(), [1.0, -2.5]);
    }

    #[test]
    fn an_existing_run_is_not_overwritten_and_a_strangers_folder_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        RunDirectory::create(&path, "", false).unwrap();
        assert!(RunDirectory::create(&path, "", false).unwrap_err().to_string().contains("--force"));
        RunDirectory::create(&path, "", true).unwrap();
        std::fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        assert!(RunDirectory::create(folder.path(), "", true).is_err());
    }

    #[test]
    fn what_a_kill_left_unfinished_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".config.toml.unfinished"), "se").unwrap();
        RunDirectory::create(folder.path(), "seed = 1\n", false).unwrap();
    }

    #[test]
    fn a_broken_checkpoint_is_an_error_and_so_is_another_configurations() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "a = 1\n", false).unwrap();
        run.save("x", &progress()).unwrap();
        write_atomically(&run.path().join("config.toml"), b"a = 2\n").unwrap();
        let other = RunDirectory::open(run.path()).unwrap();
        assert!(other.load("x").unwrap_err().to_string().contains("another configuration"));
        std::fs::write(run.checkpoint_path("x"), b"half").unwrap();
        assert!(run.load("x").unwrap_err().to_string().contains("broken"));
    }

    #[test]
    fn events_after_the_checkpoint_are_dropped_with_half_lines() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", false).unwrap();
        for step in 1..=5 {
            run.log(&serde_json::json!({"stage": "a", "step": step})).unwrap();
        }
        let path = run.path().join("metrics.jsonl");
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"stage\":").unwrap();
        run.rewind_log("a", 3).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }
}
