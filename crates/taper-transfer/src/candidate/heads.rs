//! Heads on the features of a frozen network, by name.

use crate::{Problem, Result, TransferError};
use taper_learn::heads::{
    DISCRIMINANT, LINEAR_HEAD, LINEAR_PROBE, LinearProbe, LogisticRegression, MLP_HEAD, NEAREST_MEAN, NEIGHBORS,
    Penalty, RFS, RIDGE, SIMPLE_SHOT,
};
use taper_learn::{Adapt, Context, Deadline, Method, SettingValues, TaskNorm, TypedMethod};

/// The heads that classify by frozen features.
pub static HEADS: [&dyn Method; 9] =
    [&NEAREST_MEAN, &SIMPLE_SHOT, &NEIGHBORS, &RIDGE, &DISCRIMINANT, &LINEAR_PROBE, &RFS, &LINEAR_HEAD, &MLP_HEAD];

/// The head of that name among `heads`, on the features of the problem's network. The penalty of the
/// linear probe is chosen only on the labeled images that the head is fitted to.
///
/// # Errors
/// Returns an error if there is no head of that name.
pub(crate) fn head_learner(
    name: &str,
    heads: &[&dyn Method],
    problem: &Problem,
    until: Deadline,
) -> Result<Box<dyn Adapt>> {
    let Some(method) = heads.iter().find(|method| method.info().name == name) else {
        let known = heads.iter().map(|method| method.info().name).collect::<Vec<_>>().join(", ");
        return Err(TransferError::UnknownHead { name: name.to_string(), known });
    };
    let context = Context::new(problem.network().clone(), TaskNorm::Stored);
    if name == LinearProbe::INFO.name {
        let probe = LogisticRegression::new(Penalty::CrossValidated).until(until);
        return Ok(context.on_features(probe, problem.state()));
    }
    Ok(method.configure(&SettingValues::new(), context)?.learner(problem.state().clone())?)
}
