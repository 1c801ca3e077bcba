//! R2-D2 (Bertinetto, Henriques, Torr and Vedaldi 2019, "Meta-learning with differentiable
//! closed-form solvers", section 3.2): ridge regression in closed form as the head, differentiated
//! through. And MetaOptNet's ridge head (Lee et al. 2019), which is the same with λ fixed.

use crate::embedded::Embedded;
use candle_core::{Device, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{Embedding, LinearOnFeatures};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, OWN, Objective, Result, Setting, Setup, TaskNorm,
    Training, own_params,
};
use taper_models::{Buffers, Head, Network, Params, State};
use taper_ops::{inverse, linear, one_hot};

/// R2-D2 in the registry.
pub const R2D2: Method = Method {
    name: "r2d2",
    title: "R2-D2",
    kind: Kind::Meta,
    paper: "Bertinetto et al. 2019",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[Setting { name: "penalty", default: 1.0, about: "where the learned penalty λ starts" }],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |_| Head::Identity,
        own: |setup, _| own(setup, true),
        objective: |setup| Ok(Box::new(R2d2::of(setup)?)),
    }),
    learner,
};

/// MetaOptNet with a ridge regression head in the registry.
pub const META_OPT_NET_RIDGE: Method = Method {
    name: "meta-opt-net-ridge",
    title: "MetaOptNet, ridge",
    paper: "Lee et al. 2019",
    settings: &[Setting { name: "penalty", default: 1.0, about: "the penalty λ" }],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |_| Head::Identity,
        own: |setup, _| own(setup, false),
        objective: |setup| Ok(Box::new(R2d2::of(setup)?)),
    }),
    ..R2D2
};

/// The scale α and shift β of predictions, and log λ where it is learned.
fn own(setup: &Setup, penalty: bool) -> Result<State> {
    let scalar = |value: f64| Tensor::full(value as f32, (), &Device::Cpu);
    let mut own = vec![("scale".to_string(), scalar(10f64.ln())?), ("shift".to_string(), scalar(0.0)?)];
    if penalty {
        own.push(("penalty".into(), scalar(setup.settings.get("penalty")?.ln())?));
    }
    let params: Params = own.into_iter().collect();
    Ok(State { params: params.prefixed(OWN), buffers: Buffers::default() })
}

fn learner(setup: &Setup, state: State) -> Result<Box<dyn Adapt>> {
    let own = own_params(&state.params);
    Ok(Box::new(AdaptedR2d2 { r2d2: R2d2::of(setup)?, own, embedding: Embedding::of(setup, state) }))
}

/// Learns features on which ridge regression classifies.
#[derive(Debug, Clone)]
pub struct R2d2 {
    network: Network,
    norm: TaskNorm,
    penalty: f64,
}

impl R2d2 {
    fn of(setup: &Setup) -> Result<Self> {
        Ok(Self { network: setup.network.clone(), norm: setup.norm, penalty: setup.settings.get("penalty")? })
    }

    /// Weight `(ways, d)` and bias `(ways)` of the calibrated predictions α X W + β (eq. 5), with
    /// W = Xᵀ (X Xᵀ + λ)⁻¹ Y (eq. 4): an inverse of n x n for n support images. Features are
    /// divided by √d, so that λ = 1 means the same at any width.
    fn head(&self, own: &Params, features: &Tensor, support: &Batch) -> Result<(Tensor, Tensor)> {
        let (n, d) = features.dims2()?;
        let x = (features / (d as f64).sqrt())?;
        let y = one_hot(&support.labels, support.ways, x.dtype())?;
        let eye = Tensor::eye(n, x.dtype(), x.device())?;
        let ridge = match own.get("penalty") {
            Ok(log) => eye.broadcast_mul(&log.exp()?)?,
            Err(_) => (eye * self.penalty)?,
        };
        let gram = (x.matmul(&x.t()?.contiguous()?)? + ridge)?;
        let dual = inverse(&gram)?.matmul(&y)?;
        let weight = dual.t()?.contiguous()?.matmul(&x)?.broadcast_mul(&own.get("scale")?.exp()?)?;
        let bias = own.get("shift")?.broadcast_as(support.ways)?;
        Ok(((weight / (d as f64).sqrt())?, bias.contiguous()?))
    }
}

impl Objective for R2d2 {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.network, self.norm, state, episode, at)?;
        let (weight, bias) = self.head(&own_params(&embedded.params), &embedded.support, &episode.support)?;
        embedded.cross_entropy(&linear(&embedded.query, &weight, &bias)?, episode)
    }
}

struct AdaptedR2d2 {
    r2d2: R2d2,
    own: Params,
    embedding: Embedding,
}

impl Adapt for AdaptedR2d2 {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let (weight, bias) = self.r2d2.head(&self.own, &features, support)?;
        Ok(Box::new(LinearOnFeatures::new(task, weight.detach(), bias.detach())))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, objective, start};

    #[test]
    fn the_gradient_equals_finite_differences_penalty_and_scale_included() {
        for method in [&R2D2, &META_OPT_NET_RIDGE] {
            let (setup, state) = start(method, TaskNorm::Support, &[("penalty", 0.5)], 1);
            let error = largest_error(objective(method, &setup).as_ref(), &state);
            assert!(error < 1e-7, "{}: relative error {error:e}", method.name);
        }
    }

    #[test]
    fn the_normal_equations_hold() {
        let (setup, _) = start(&R2D2, TaskNorm::Support, &[("penalty", 0.3)], 1);
        let r2d2 = R2d2::of(&setup).unwrap();
        let own = own_params(&own(&setup, true).unwrap().to_dtype(candle_core::DType::F64).unwrap().params);
        let d = 4;
        let x = uniform_f64((6, d));
        let support = Batch::new(x.clone(), &[0, 0, 1, 1, 2, 2], 3).unwrap();
        let (weight, _) = r2d2.head(&own, &x, &support).unwrap();
        // (XᵀX + λ d) W = Xᵀ Y for features that are not divided by √d; the scale is 10
        let w = (weight.t().unwrap() / 10.0).unwrap().contiguous().unwrap();
        let xt = x.t().unwrap().contiguous().unwrap();
        let eye = Tensor::eye(d, x.dtype(), x.device()).unwrap();
        let left = (xt.matmul(&x).unwrap() + (eye * (0.3 * d as f64)).unwrap()).unwrap().matmul(&w).unwrap();
        let right = xt.matmul(&one_hot(&support.labels, 3, x.dtype()).unwrap()).unwrap();
        let error = (left - right).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(error < 1e-6, "{error:e}");
    }

    fn uniform_f64(shape: (usize, usize)) -> Tensor {
        let values = taper_ops::uniform(&mut taper_ops::rng(0, "ridge", 0), shape, -1.0, 1.0).unwrap();
        values.to_dtype(candle_core::DType::F64).unwrap()
    }
}
