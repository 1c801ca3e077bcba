//! Where a checkpoint has its weights.

use super::tensor::Strided;
use super::value::{Object, Pickle, Value};
use super::{Read, module};
use crate::weights::{branches, limits};

/// The state dict that was chosen among those of a checkpoint.
pub(super) struct StateDict<'p, 'a> {
    /// Its tensors by name, in the order of the file.
    pub(super) tensors: Vec<(String, &'p Strided<'a>)>,
    /// The keys that lead to it; empty for the root.
    pub(super) path: Vec<String>,
    /// Whether it holds an average of the weights over training (EMA, SWA, a teacher).
    pub(super) averaged: bool,
    /// Other containers of weights, which were not used.
    pub(super) others: Vec<String>,
    /// Entries among the tensors that are not tensors.
    pub(super) not_tensors: Vec<String>,
    /// Classes of which the pickle describes objects.
    pub(super) foreign: Vec<String>,
}

/// Keys under which checkpoints hold their weights.
const CONTAINERS: [&str; 19] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model_dict",
    "model",
    "module",
    "modules",
    "net",
    "net_state_dict",
    "network",
    "network_state_dict",
    "params",
    "parameters",
    "weights",
    "state",
    "backbone",
    "encoder",
    "student",
    "classifier",
];

/// A container with tensors.
struct Candidate {
    path: Vec<String>,
    value: Value,
    /// The number of its tensors.
    tensors: usize,
}

impl Candidate {
    fn averaged(&self) -> bool {
        self.path.iter().any(|key| branches::is_average(key))
    }

    /// Lower is better: averages, known keys, the root, unknown keys.
    fn rank(&self) -> usize {
        match self.path.last() {
            _ if self.averaged() => 0,
            Some(key) if CONTAINERS.contains(&key.as_str()) => 1,
            None => 2,
            Some(_) => 3,
        }
    }

    fn name(&self) -> String {
        if self.path.is_empty() { "the root".into() } else { self.path.join(".") }
    }
}

/// The best state dict of a checkpoint: averaged weights if there are any, otherwise those under a
/// known key, otherwise the root, otherwise the largest.
///
/// Fails if it holds none.
pub(super) fn find<'p, 'a>(pickle: &'p Pickle<'a>) -> Read<StateDict<'p, 'a>> {
    let foreign = pickle.foreign_classes();
    let mut candidates = candidates(pickle)?;
    let most = candidates.iter().map(|candidate| candidate.tensors).max().unwrap_or(0);
    // a container with a handful of tensors next to a whole network is not the network
    candidates.retain(|candidate| candidate.tensors * 2 >= most);
    candidates.sort_by_key(|candidate| (candidate.rank(), usize::MAX - candidate.tensors));
    let Some((best, others)) = candidates.split_first() else { return Err(nothing(pickle, &foreign)) };
    let (tensors, not_tensors) = contents(pickle, best.value)?;
    Ok(StateDict {
        tensors,
        path: best.path.clone(),
        averaged: best.averaged(),
        others: others.iter().take(limits::LISTED).map(Candidate::name).collect(),
        not_tensors,
        foreign,
    })
}

/// The error for a pickle without tensors, by what it holds instead.
fn nothing(pickle: &Pickle, foreign: &[String]) -> String {
    let save = "save the weights with torch.save(model.state_dict(), …)";
    match (pickle.object(pickle.root), foreign) {
        (_, [first, ..]) => {
            format!("holds no tensors under names, but Python objects such as `{first}`, which are not run: {save}")
        }
        (Some(Object::Class(class)), _) => format!(
            "holds no tensors, but the Python object `{}.{}`, which is not run: {save}",
            class.module, class.name
        ),
        (Some(Object::Tensor(_)), _) => format!("holds one tensor without a name: {save}"),
        _ => format!("holds no tensors under names: {save}"),
    }
}

/// Every container of tensors that the root leads to, in the order of the file.
fn candidates(pickle: &Pickle) -> Read<Vec<Candidate>> {
    let mut found = Vec::new();
    let mut entries = 0;
    let mut left = vec![(pickle.root, Vec::<String>::new())];
    while let Some((value, path)) = left.pop() {
        if let Some(Object::Foreign(foreign)) = pickle.object(value) {
            let tensors = module::tensors(pickle, foreign)?.len();
            if tensors > 0 {
                entries += tensors;
                found.push(Candidate { path, value, tensors });
                continue;
            }
        }
        let Some(pairs) = pickle.dict(value) else { continue };
        entries += pairs.len() + 1;
        if entries > limits::CONTAINER_ENTRIES {
            return Err("holds too many containers to search for weights: save the state dict by itself".into());
        }
        let (mut tensors, mut inside) = (0, Vec::new());
        for &(key, value) in pairs {
            let Some(key) = pickle.text(key).filter(|key| key.len() <= limits::NAME_BYTES) else { continue };
            match pickle.object(value) {
                Some(Object::Tensor(_)) => tensors += 1,
                Some(Object::Dict(_) | Object::Foreign(_))
                    if path.len() < limits::CONTAINER_NESTING && !branches::is_foreign(key) =>
                {
                    inside.push((value, path.iter().cloned().chain([key.to_string()]).collect()));
                }
                _ => {}
            }
        }
        if tensors > 0 {
            found.push(Candidate { path, value, tensors });
        }
        // the stack gives them back in the order of the file
        left.extend(inside.into_iter().rev());
    }
    Ok(found)
}

/// Named tensors, and the names of entries that are not tensors.
type Entries<'p, 'a> = (Vec<(String, &'p Strided<'a>)>, Vec<String>);

/// What a container holds.
fn contents<'p, 'a>(pickle: &'p Pickle<'a>, container: Value) -> Read<Entries<'p, 'a>> {
    if let Some(Object::Foreign(foreign)) = pickle.object(container) {
        let tensors = module::tensors(pickle, foreign)?;
        if !tensors.is_empty() {
            return Ok((tensors, Vec::new()));
        }
    }
    let (mut tensors, mut not_tensors) = (Vec::new(), Vec::new());
    for &(key, value) in pickle.dict(container).unwrap_or_default() {
        let Some(key) = pickle.text(key).filter(|key| key.len() <= limits::NAME_BYTES) else { continue };
        match pickle.tensor(value) {
            Some(tensor) if tensors.len() < limits::TENSORS => tensors.push((key.to_string(), tensor)),
            Some(_) => return Err(format!("holds more than {} tensors: save the network alone", limits::TENSORS)),
            None if not_tensors.len() < limits::LISTED => not_tensors.push(key.to_string()),
            None => {}
        }
    }
    Ok((tensors, not_tensors))
}
