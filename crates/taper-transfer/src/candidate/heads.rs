//! Heads on the features of a frozen network, by name.

use crate::{Problem, Result, TransferError};
use taper_learn::heads::{
    DISCRIMINANT, LINEAR_HEAD, LINEAR_PROBE, LinearProbe, LogisticRegression, MLP_HEAD, NEAREST_MEAN, NEIGHBORS,
    Penalty, REGULARIZED_DISCRIMINANT, RFS, RIDGE, SIMPLE_SHOT,
};
use taper_learn::{Adapt, Context, Method, TaskNorm, TypedMethod, methods::SettingValues, training::Deadline};

/// The heads that classify by frozen features.
pub static HEADS: [&dyn Method; 10] = [
    &NEAREST_MEAN,
    &SIMPLE_SHOT,
    &NEIGHBORS,
    &RIDGE,
    &DISCRIMINANT,
    &REGULARIZED_DISCRIMINANT,
    &LINEAR_PROBE,
    &RFS,
    &LINEAR_HEAD,
    &MLP_HEAD,
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy::Toy;
    use taper_learn::{NoopObserver, evaluation::Labeled};

    #[test]
    fn the_penalty_of_a_linear_probe_is_chosen_inside_each_fold() {
        let toy = Toy::new(&[8, 8, 8]);
        let images: Vec<usize> = (0..toy.labels.len()).filter(|image| !toy.validation.contains(image)).collect();
        // every fourth image is left out of the fold's training images
        let (left_out, kept): (Vec<usize>, Vec<usize>) = images.into_iter().partition(|image| image % 4 == 0);
        let fitted = |toy: Toy| {
            let labels = kept.iter().map(|&image| toy.labels[image]).collect();
            let kept = Labeled { images: kept.clone(), labels, ways: 3 };
            let problem = toy.problem(0);
            let features = problem.features(&kept.images, &mut NoopObserver).unwrap();
            let batch = kept.batch(&features).unwrap();
            let probe = head_learner("linear-probe", &HEADS, &problem, Deadline::default()).unwrap();
            probe.adapt(&batch, 0).unwrap().logits(&batch.inputs).unwrap().to_vec2::<f32>().unwrap()
        };
        let mut other = toy.clone();
        for image in left_out {
            other.labels[image] = (other.labels[image] + 1) % 3;
        }
        assert_eq!(fitted(toy), fitted(other), "labels outside of the fold have no say");
    }
}
