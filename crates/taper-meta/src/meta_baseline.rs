//! Meta-Baseline (Chen, Liu, Xu, Darrell and Wang 2021, "Meta-Baseline: Exploring Simple
//! Meta-Learning for Few-Shot Learning"): an ordinary classifier is trained first, then its features
//! are meta-trained with nearest class mean by cosine, scaled by a learned τ.

use crate::embedded::{Embedded, unit};
use candle_core::{Device, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{Embedding, TaskEmbedding, class_means};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, OWN, Objective, Result, TaskNorm, Training, own_params,
};
use taper_models::{Buffers, Head, Network, Params, State};

/// Meta-Baseline in the registry.
pub const META_BASELINE: Method = Method {
    name: "meta-baseline",
    title: "Meta-Baseline",
    kind: Kind::Meta,
    paper: "Chen et al. 2021",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[],
    training: Training::Episodes(Episodic {
        pretrained: true,
        head: |_| Head::Identity,
        own: |_, _| {
            let params: Params =
                [(format!("{OWN}.scale"), Tensor::full(10f32, (), &Device::Cpu)?)].into_iter().collect();
            Ok(State { params, buffers: Buffers::default() })
        },
        objective: |setup| Ok(Box::new(MetaBaseline { network: setup.network.clone(), norm: setup.norm })),
    }),
    learner: |setup, state| {
        let own = own_params(&state.params);
        Ok(Box::new(AdaptedMetaBaseline { own, embedding: Embedding::of(setup, state) }))
    },
};

/// Meta-trains features for nearest class mean by cosine.
#[derive(Debug, Clone)]
pub struct MetaBaseline {
    network: Network,
    norm: TaskNorm,
}

/// Eq. 2: τ · cos(f(x), w_c), `(m, ways)`.
fn cosines(own: &Params, query: &Tensor, means: &Tensor) -> Result<Tensor> {
    let cosines = unit(query)?.matmul(&unit(means)?.t()?.contiguous()?)?;
    Ok(cosines.broadcast_mul(own.get("scale")?)?)
}

impl Objective for MetaBaseline {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.network, self.norm, state, episode, at)?;
        let means = class_means(&embedded.support, &episode.support.labels, episode.support.ways)?;
        embedded.cross_entropy(&cosines(&own_params(&embedded.params), &embedded.query, &means)?, episode)
    }
}

struct AdaptedMetaBaseline {
    own: Params,
    embedding: Embedding,
}

impl Adapt for AdaptedMetaBaseline {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let means = class_means(&features, &support.labels, support.ways)?;
        Ok(Box::new(CosineMeans { own: self.own.clone(), means, task }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

struct CosineMeans {
    own: Params,
    means: Tensor,
    task: TaskEmbedding,
}

impl Classifier for CosineMeans {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        Ok(cosines(&self.own, &self.task.query(inputs)?, &self.means)?.detach())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, objective, start};

    #[test]
    fn the_gradient_equals_finite_differences_scale_included() {
        let (setup, state) = start(&META_BASELINE, TaskNorm::Support, &[], 1);
        let error = largest_error(objective(&META_BASELINE, &setup).as_ref(), &state);
        assert!(error < 1e-7, "relative error {error:e}");
    }
}
