//! Almost No Inner Loop (Raghu et al. 2020, "Rapid Learning or Feature Reuse? Towards Understanding
//! the Effectiveness of MAML", section 4): MAML whose inner loop adapts the head alone.
//!
//! The features do not change inside a task, so they are computed once, and the inner loop is a few
//! products of small matrices, written out and differentiated through exactly.

use crate::embedded::Embedded;
use crate::inner_loop::widened;
use crate::maml::INNER;
use candle_core::Tensor;
use taper_data::{Batch, Episode};
use taper_learn::heads::{Embedding, LinearOnFeatures};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, Objective, Result, Setup, TaskNorm, Training,
    nothing_beside,
};
use taper_models::{Head, Network, Params, State};
use taper_ops::{linear, log_softmax, one_hot};

/// ANIL in the registry.
pub const ANIL: Method = Method {
    name: "anil",
    title: "ANIL",
    kind: Kind::Meta,
    paper: "Raghu et al. 2020",
    transductive: false,
    norm: TaskNorm::Support,
    settings: INNER,
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |ways| Head::Linear { outputs: ways },
        own: nothing_beside,
        objective: |setup| Ok(Box::new(Anil::of(setup, "inner-steps")?)),
    }),
    learner: |setup, state| Ok(Box::new(AdaptedAnil { anil: Anil::of(setup, "adapt-steps")?, state })),
};

/// Learns features, and a head from which a few gradient steps on it solve a task.
#[derive(Debug, Clone)]
pub struct Anil {
    network: Network,
    norm: TaskNorm,
    inner_lr: f64,
    inner_steps: usize,
}

impl Anil {
    fn of(setup: &Setup, steps: &str) -> Result<Self> {
        Ok(Self {
            network: setup.network.clone(),
            norm: setup.norm,
            inner_lr: setup.settings.get("inner-lr")?,
            inner_steps: setup.settings.count(steps)?,
        })
    }

    /// The head after the inner loop on features `(n, d)`: weight `(ways, d)` and bias `(ways)`.
    fn head(&self, params: &Params, network: &Network, features: &Tensor, support: &Batch) -> Result<(Tensor, Tensor)> {
        let name = network.backbone().head_name();
        let ways = support.ways;
        let mut weight = params.get(&format!("{name}.weight"))?.narrow(0, 0, ways)?;
        let mut bias = params.get(&format!("{name}.bias"))?.narrow(0, 0, ways)?;
        let target = one_hot(&support.labels, ways, features.dtype())?;
        let share = 1.0 / support.len() as f64;
        for _ in 0..self.inner_steps {
            // the cross-entropy's gradient by the logits is (p − y) / n
            let wrong = ((log_softmax(&linear(features, &weight, &bias)?)?.exp()? - &target)? * share)?;
            weight = (&weight - (wrong.t()?.contiguous()?.matmul(features)? * self.inner_lr)?)?;
            bias = (&bias - (wrong.sum(0)? * self.inner_lr)?)?;
        }
        Ok((weight, bias))
    }
}

impl Objective for Anil {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::with_head(&self.network, self.norm, state, episode, at)?;
        let (weight, bias) = self.head(&embedded.params, &self.network, &embedded.support, &episode.support)?;
        embedded.cross_entropy(&linear(&embedded.query, &weight, &bias)?, episode)
    }
}

struct AdaptedAnil {
    anil: Anil,
    state: State,
}

impl Adapt for AdaptedAnil {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (network, params) = widened(&self.anil.network, &self.state.params, support.ways)?;
        let embedding = Embedding::new(self.anil.network.clone(), self.state.clone(), self.anil.norm);
        let (features, task) = embedding.support(&support.inputs)?;
        let (weight, bias) = self.anil.head(&params, &network, &features, support)?;
        Ok(Box::new(LinearOnFeatures::new(task, weight.detach(), bias.detach())))
    }

    fn transductive(&self) -> bool {
        self.anil.norm.transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{gradient, largest_error, objective, start};
    use crate::{MAML, test_support::task};

    #[test]
    fn the_meta_gradient_equals_finite_differences_in_every_tensor() {
        let (setup, state) = start(&ANIL, TaskNorm::Support, &[("inner-lr", 0.5)], 1);
        let error = largest_error(objective(&ANIL, &setup).as_ref(), &state);
        assert!(error < 1e-6, "relative error {error:e}");
    }

    #[test]
    fn without_inner_steps_it_is_maml_without_inner_steps() {
        let loss = |method| {
            let (setup, state) = start(method, TaskNorm::Support, &[("inner-steps", 0.0)], 1);
            gradient(objective(method, &setup).as_ref(), &state).loss
        };
        assert!((loss(&ANIL) - loss(&MAML)).abs() < 1e-12);
    }

    #[test]
    fn the_adapted_head_fits_its_support_better_with_more_steps() {
        let right = |steps| {
            let (setup, state) = start(&ANIL, TaskNorm::Support, &[("adapt-steps", steps), ("inner-lr", 1.0)], 1);
            let support = task().support;
            let logits = (ANIL.learner)(&setup, state).unwrap().adapt(&support, 0).unwrap().logits(&support.inputs);
            taper_ops::cross_entropy(&logits.unwrap(), &support.labels, 0.0).unwrap().to_scalar::<f64>().unwrap()
        };
        assert!(right(20.0) < right(1.0));
    }
}
