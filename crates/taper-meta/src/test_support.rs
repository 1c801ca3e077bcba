//! A small task and network in f64, and meta-gradients against finite differences.

use taper_data::{Batch, Episode};
use taper_learn::{
    Context, Draw, TaskNorm, TypedMethod,
    training::{Gradient, Objective},
};
use taper_models::{Architecture, Head, Network, Params, State};
use taper_ops::{normal, rng};

use candle_core::DType;

/// A 3-way 2-shot task of noise, in f64.
pub(crate) fn task() -> Episode {
    let batch = |stream, labels: &[u32]| {
        let shape = (labels.len(), 1, 16, 16);
        let images = normal(&mut rng(0, stream, 0), shape, 1.0).unwrap().to_dtype(DType::F64).unwrap();
        Batch::new(images, labels, 3).unwrap()
    };
    Episode {
        support: batch("s", &[0, 0, 1, 1, 2, 2]),
        query: batch("q", &[0, 0, 1, 1, 2, 2]),
        query_images: (0..6).collect(),
        classes: vec![0, 1, 2],
        source: "noise".into(),
    }
}

/// A narrow Conv4 (batch norm, pooling) with the method's head for three classes, configured for
/// training of `steps`, and its start, moved slightly away from symmetric points, in f64.
pub(crate) fn start<M: TypedMethod>(method: &M, norm: TaskNorm, steps: u64) -> (Context, State) {
    let backbone = "conv4-4".parse::<Architecture>().unwrap().backbone((1, 16, 16)).unwrap();
    let network = M::network(&Network::new(backbone, Head::Identity), 3);
    let context = Context { network, norm, steps };
    let state = method.start(&context, None, 1).unwrap();
    (context, state.to_dtype(DType::F64).unwrap())
}

/// The gradient over the task, at step 0.
pub(crate) fn gradient(objective: &dyn Objective<Item = Episode>, state: &State) -> Gradient {
    objective.gradient(state, &task(), Draw { seed: 0, step: 0, number: 0 }).unwrap()
}

/// Largest relative error, over tensors, of a gradient along a random direction.
pub(crate) fn largest_error(objective: &dyn Objective<Item = Episode>, state: &State) -> f64 {
    let mut worst = 0.0f64;
    for (index, (name, slope)) in gradient(objective, state).params.iter().enumerate() {
        let direction = normal(&mut rng(5, "direction", index as u64), slope.shape().clone(), 1.0)
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap();
        let loss_at = |h: f64| {
            let moved = (state.params.get(name).unwrap() + (&direction * h).unwrap()).unwrap();
            let moved: Params = [(name.to_string(), moved)].into_iter().collect();
            let state = State { params: state.params.merged(&moved), buffers: state.buffers.clone() };
            gradient(objective, &state).loss
        };
        let exact = (slope * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
        let error_at = |h: f64| {
            let numeric = (loss_at(h) - loss_at(-h)) / (2.0 * h);
            (exact - numeric).abs() / numeric.abs().max(1e-2)
        };
        let mut error = error_at(1e-6);
        if error > 1e-7 {
            // a difference across a tie of ReLU or pooling is meaningless: a smaller step then decides
            error = error.min(error_at(1e-7));
        }
        worst = worst.max(error);
    }
    worst
}
