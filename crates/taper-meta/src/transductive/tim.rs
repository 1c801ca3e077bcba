//! TIM-GD (Boudiaf et al. 2020, "Transductive Information Maximization for Few-Shot Learning"):
//! class weights are moved by gradient descent so that the support set is classified correctly and the
//! predicted labels carry much information about the queries.

use super::{AllQueries, TransductiveHead, centered};
use candle_core::Tensor;
use taper_learn::heads::{class_means, squared_distances};
use taper_learn::{
    Adapt, Context, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, Registered, Training},
    training::Optimizer,
};
use taper_models::{Leaves, Params, State};
use taper_ops::{cross_entropy, log_softmax};

/// TIM-GD in a registry.
pub const TIM_GD: Registered<TimGd> = Registered::new();

method_settings! {
    /// Takes gradient steps on the class weights, using the queries' information.
    pub struct TimGd {
        /// Gradient steps on the class weights.
        pub tim_steps: usize = 60;
    }
}

impl TypedMethod for TimGd {
    const INFO: MethodInfo = MethodInfo {
        name: "tim-gd",
        title: "TIM-GD",
        kind: Kind::Transfer,
        paper: "Boudiaf et al. 2020",
        transductive: true,
        norm: TaskNorm::Stored,
        training: Training::Pretraining,
    };

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        Ok(context.on_features(AllQueries(self.clone()), &state))
    }
}

/// The inverse temperature τ, and the weights λ of the support's loss and α of the conditional
/// entropy (section 4).
const TEMPERATURE: f64 = 15.0;
const SUPPORT: f64 = 0.1;
const CONDITIONAL: f64 = 0.1;
/// Adam's rate; larger than the paper's 1e-4, for fewer steps.
const RATE: f64 = 1e-2;

/// Eq. 1: log p(k | x) = log softmax of −τ/2 ‖wₖ − z‖².
fn log_probability(z: &Tensor, w: &Tensor) -> Result<Tensor> {
    Ok(log_softmax(&(squared_distances(z, w)? * (-0.5 * TEMPERATURE))?)?)
}

impl TransductiveHead for TimGd {
    fn logits(&self, support: &Tensor, labels: &Tensor, ways: usize, query: &Tensor) -> Result<Tensor> {
        let (support, query) = centered(support, query)?;
        let mut w: Params = [("w".to_string(), class_means(&support, labels, ways)?)].into_iter().collect();
        let mut moments = taper_learn::training::OptimizerState::default();
        for _ in 0..self.tim_steps {
            let leaves = Leaves::new(&w)?;
            let params = leaves.params();
            let weights = params.get("w")?;
            let known = cross_entropy(&log_probability(&support, weights)?, labels, 0.0)?;
            let log_p = log_probability(&query, weights)?;
            let p = log_p.exp()?;
            let conditional = (&p * &log_p)?.sum(1)?.mean_all()?.neg()?;
            let share = p.mean(0)?;
            let marginal = (&share * (&share + 1e-12)?.log()?)?.sum_all()?.neg()?;
            // eq. 4: λ · CE − Ĥ(Y) + α Ĥ(Y | X)
            let loss = (((known * SUPPORT)? - marginal)? + (conditional * CONDITIONAL)?)?;
            let gradient = leaves.gradient(&loss)?;
            (w, moments) = Optimizer::adam().step(&w, &gradient, &moments, RATE)?;
        }
        log_probability(&query, w.get("w")?)
    }
}
