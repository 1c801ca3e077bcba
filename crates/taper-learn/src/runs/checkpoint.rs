//! A stage's progress as a safetensors file: tensors by part, and the rest in its metadata.

use crate::{
    LearnError, Progress, Result,
    training::{Best, OptimizerState},
};
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use taper_models::{Buffers, Params, State};

/// What a checkpoint holds besides its tensors.
#[derive(Serialize, Deserialize)]
struct Header {
    config: String,
    step: u64,
    optimizer_step: u64,
    since_best: u64,
    best: Option<(f64, u64)>,
}

const METADATA: &str = "taper";

/// The file of a stage's progress, in a run of this configuration.
pub(crate) fn to_bytes(progress: &Progress, config: &str) -> Result<Vec<u8>> {
    let header = Header {
        config: config.to_string(),
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
    let metadata = HashMap::from([(METADATA.to_string(), header)]);
    safetensors::serialize(tensors.iter().map(|(name, tensor)| (name, tensor)), Some(metadata))
        .map_err(|error| LearnError::Invalid(error.to_string()))
}

/// Reads a stage's progress; `path` is for errors.
///
/// Fails if the file is damaged, or of another configuration than `config`.
pub(crate) fn from_bytes(bytes: &[u8], config: &str, path: &Path) -> Result<Progress> {
    let broken = |problem: String| LearnError::Checkpoint { path: path.to_path_buf(), problem };
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| broken(format!("is a damaged checkpoint ({error})")))?;
    let header = metadata.metadata().as_ref().and_then(|all| all.get(METADATA)).map(String::as_str).unwrap_or("");
    let header: Header =
        serde_json::from_str(header).map_err(|error| broken(format!("is not a Taper checkpoint ({error})")))?;
    if header.config != config {
        return Err(broken("belongs to another configuration than the run's config.toml".into()));
    }
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)
        .map_err(|error| broken(format!("is a damaged checkpoint ({error})")))?;
    let mut parts: HashMap<String, Vec<(String, Tensor)>> = HashMap::new();
    for (name, tensor) in tensors {
        if let Some((part, name)) = name.split_once('/') {
            parts.entry(part.to_string()).or_default().push((name.to_string(), tensor));
        }
    }
    let mut take = |part: &str| parts.remove(part).unwrap_or_default();
    let state = State { params: take("params").into_iter().collect(), buffers: take("buffers").into_iter().collect() };
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
    Ok(Progress { step: header.step, state, moments, average, best, since_best: header.since_best })
}

/// Whether the file is a checkpoint that Taper wrote, whole or damaged behind its metadata.
pub(crate) fn is_checkpoint(path: &Path) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    SafeTensors::read_metadata(&bytes).is_ok_and(|(_, metadata)| {
        metadata
            .metadata()
            .as_ref()
            .and_then(|all| all.get(METADATA))
            .is_some_and(|header| serde_json::from_str::<Header>(header).is_ok())
    })
}
