//! R2-D2 (Bertinetto, Henriques, Torr and Vedaldi 2019, "Meta-learning with differentiable
//! closed-form solvers", section 3.2): ridge regression in closed form as the head, differentiated
//! through. And MetaOptNet's ridge head (Lee et al. 2019), which is the same with λ fixed.

use crate::embedded::Embedded;
use crate::with_context::WithContext;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use taper_data::{Batch, Episode};
use taper_learn::heads::{FeatureHead, LinearOnFeatures, TaskEmbedding};
use taper_learn::{
    Adapt, Classifier, Context, Draw, LearnError, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, MethodSettings, OWN, Registered, Training, own_params},
    training::{Gradient, Objective},
};
use taper_models::{Buffers, Head, Params, State};
use taper_ops::{inverse, linear, matmul, matmul_nt, matmul_tn, one_hot};

/// R2-D2 in a registry.
pub const R2D2: Registered<R2d2> = Registered::new();

/// MetaOptNet with a ridge regression head in a registry.
pub const META_OPT_NET_RIDGE: Registered<MetaOptNetRidge> = Registered::new();

method_settings! {
    /// Learns features on which ridge regression classifies, and its penalty.
    pub struct R2d2 {
        /// The penalty λ, or its initial value if it is learned (R2-D2).
        pub penalty: f64 = 1.0;
    }
}

/// MetaOptNet's ridge head: [`R2d2`] with its penalty fixed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MetaOptNetRidge(pub R2d2);

impl MethodSettings for MetaOptNetRidge {
    const FIELDS: &'static [(&'static str, &'static str)] = R2d2::FIELDS;
}

impl TypedMethod for R2d2 {
    const INFO: MethodInfo = MethodInfo {
        name: "r2d2",
        title: "R2-D2",
        kind: Kind::Meta,
        paper: "Bertinetto et al. 2019",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    fn check(&self) -> Result<()> {
        match self.penalty > 0.0 {
            true => Ok(()),
            false => Err(LearnError::Invalid(format!("the ridge penalty is {}: it must be above 0", self.penalty))),
        }
    }

    /// log α and β, the scale and shift of predictions, and log λ.
    fn own(&self, _context: &Context, _seed: u64) -> Result<State> {
        own([("scale", 10f64.ln()), ("shift", 0.0), ("penalty", self.penalty.ln())])
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        let head = RidgeHead { penalty: self.penalty, own: own_params(&state.params) };
        Ok(context.on_features(head, &state))
    }
}

impl TypedMethod for MetaOptNetRidge {
    const INFO: MethodInfo =
        MethodInfo { name: "meta-opt-net-ridge", title: "MetaOptNet, ridge", paper: "Lee et al. 2019", ..R2d2::INFO };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    fn check(&self) -> Result<()> {
        self.0.check()
    }

    /// log α and β, the scale and shift of predictions.
    fn own(&self, _context: &Context, _seed: u64) -> Result<State> {
        own([("scale", 10f64.ln()), ("shift", 0.0)])
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        self.0.objective(context)
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        self.0.learner(context, state)
    }
}

/// The method's own scalars.
fn own<const N: usize>(values: [(&str, f64); N]) -> Result<State> {
    let scalar =
        |(name, value): (&str, f64)| Ok((format!("{OWN}.{name}"), Tensor::full(value as f32, (), &Device::Cpu)?));
    let params: Params = values.into_iter().map(scalar).collect::<Result<_>>()?;
    Ok(State { params, buffers: Buffers::default() })
}

/// Ridge regression with its learned parameters, and a learned or fixed penalty.
struct RidgeHead {
    penalty: f64,
    own: Params,
}

impl RidgeHead {
    /// Weight `(ways, d)` and bias `(ways)` of the calibrated predictions α X W + β (eq. 5), with
    /// W = Xᵀ (X Xᵀ + λ)⁻¹ Y (eq. 4): an inverse of n x n for n support images. Features are
    /// divided by √d, so that λ = 1 means the same at any width.
    fn solve(&self, features: &Tensor, support: &Batch) -> Result<(Tensor, Tensor)> {
        let (n, d) = features.dims2()?;
        let x = (features / (d as f64).sqrt())?;
        let y = one_hot(&support.labels, support.ways, x.dtype())?;
        let eye = Tensor::eye(n, x.dtype(), x.device())?;
        let ridge = match self.own.get("penalty") {
            Ok(log) => eye.broadcast_mul(&log.exp()?)?,
            Err(_) => (eye * self.penalty)?,
        };
        let gram = (matmul_nt(&x, &x)? + ridge)?;
        let dual = matmul(&inverse(&gram)?, &y)?;
        let weight = matmul_tn(&dual, &x)?.broadcast_mul(&self.own.get("scale")?.exp()?)?;
        let bias = self.own.get("shift")?.broadcast_as(support.ways)?;
        Ok(((weight / (d as f64).sqrt())?, bias.contiguous()?))
    }
}

impl Objective for WithContext<R2d2> {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.context, state, episode, at)?;
        let head = RidgeHead { penalty: self.method.penalty, own: own_params(&embedded.params) };
        let (weight, bias) = head.solve(&embedded.support, &episode.support)?;
        embedded.cross_entropy(&linear(&embedded.query, &weight, &bias)?, episode)
    }
}

impl FeatureHead for RidgeHead {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (weight, bias) = self.solve(features, support)?;
        Ok(Box::new(LinearOnFeatures::new(task, weight.detach(), bias.detach())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, start};

    fn error(method: &impl TypedMethod) -> f64 {
        let (context, state) = start(method, TaskNorm::Support, 1);
        largest_error(method.objective(&context).unwrap().as_ref(), &state)
    }

    #[test]
    fn the_gradient_equals_finite_differences_penalty_and_scale_included() {
        let (learned, fixed) = (R2d2 { penalty: 0.5 }, MetaOptNetRidge(R2d2 { penalty: 0.5 }));
        for (name, error) in [("learned", error(&learned)), ("fixed", error(&fixed))] {
            assert!(error < 1e-7, "{name} penalty: relative error {error:e}");
        }
    }

    #[test]
    fn the_normal_equations_hold() {
        let (_, state) = start(&R2d2 { penalty: 0.3 }, TaskNorm::Support, 1);
        let head = RidgeHead { penalty: 0.3, own: own_params(&state.params) };
        let d = 4;
        let x = uniform_f64((6, d));
        let support = Batch::new(x.clone(), &[0, 0, 1, 1, 2, 2], 3).unwrap();
        let (weight, _) = head.solve(&x, &support).unwrap();
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
